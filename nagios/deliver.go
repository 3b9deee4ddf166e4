package nagios

import (
	"context"
	"errors"
	"fmt"
	"time"

	"checkbus/checks"
)

const (
	// firstPatience is how long the core may take over a batch before it is
	// told again: what a dying core had read is lost with it, and Nagios may
	// forget a command over a reload until the next one comes. It doubles up to
	// maxPatience. Telling again is harmless: a file that is gone is one line
	// in the core's log.
	firstPatience = time.Second
	maxPatience   = time.Minute
	// A core counts as unreachable when it takes longer than slow times, and a
	// batch as stuck when longer than stuck times the first patience.
	slow  = 4
	stuck = 16
	// firstPause to maxPause lie between attempts to reach the core.
	firstPause = 20 * time.Millisecond
	maxPause   = 200 * time.Millisecond
)

// errNotTaken is a core that reads its command file and leaves a batch alone.
var errNotTaken = errors.New("the core did not process a batch; can it read and remove files there?")

// deliver tells the core of b until it is processed or ctx ends. The error
// wraps errLost when b has to be handed over anew.
func (s *Sink) deliver(ctx context.Context, b batch) error {
	patience, pause := s.patience, firstPause
	for {
		done, err := s.outbox.taken(b)
		switch {
		case done:
			s.outbox.settled(b)
			s.up()
			return nil
		case errors.Is(err, errLost):
			s.outbox.drop(b)
			return err
		}
		if err == nil {
			if err = s.tell(ctx, b, patience); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errNotTaken) {
			s.slow(err, patience)
			patience = min(2*patience, maxPatience)
			continue
		}
		s.down(err)
		if err := s.outbox.wait(pause); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// tell gives the core the name of b and waits until b is gone, the reader of
// the command file is, or patience ends.
func (s *Sink) tell(ctx context.Context, b batch, patience time.Duration) error {
	p, err := openPipe(s.cfg.CommandFile)
	if err != nil {
		return err
	}
	defer p.close()
	s.outbox.drain()
	line := fmt.Appendf(nil, "[%d] PROCESS_FILE;%s;1\n", time.Now().Unix(), s.outbox.path(b.name(run)))
	if err := p.write(ctx, line, slow*s.patience); err != nil {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		gone := p.wait(ctx, s.outbox.event(), min(tick, patience))
		s.outbox.drain()
		if done, err := s.outbox.taken(b); done || err != nil {
			return err
		}
		if gone != nil {
			return gone
		}
	}
	return fmt.Errorf("%w (%s, waited %v)", errNotTaken, s.outbox.dir, patience)
}

// submitBatches hands results over in files and sets their verdicts.
func (s *Sink) submitBatches(ctx context.Context, results []checks.Result, verdicts []error, kind kind) {
	before, err := s.prepare(ctx, results, kind)
	if err != nil {
		fail(verdicts, err)
		return
	}
	objects := lookup{objects: s.objects}
	var lines []byte
	var members []int // of the file to be, as indexes of results
	for i, r := range results {
		line, err := s.format.append(lines, r)
		if err == nil && !before.has(r.Seq, line[len(lines):]) {
			if err = objects.check(r.Object); err == nil {
				lines, members = line, append(members, i)
			}
		}
		verdicts[i] = err
		if len(lines) < maxBatchBytes && i < len(results)-1 {
			continue
		}
		if err := s.handOver(ctx, results, members, lines, kind); err != nil {
			for _, m := range members {
				verdicts[m] = err
			}
			fail(verdicts[i+1:], err)
			return
		}
		lines, members = lines[:0], members[:0]
	}
}

// prepare settles what was handed over before, and returns what of results was
// processed already; nothing of what is to be processed again.
func (s *Sink) prepare(ctx context.Context, results []checks.Result, kind kind) (handed, error) {
	if err := s.outbox.open(); err != nil {
		s.down(err)
		return nil, err
	}
	for _, b := range s.outbox.pendings() {
		if err := s.deliver(ctx, b); err != nil && !errors.Is(err, errLost) {
			return nil, fmt.Errorf("not confirmed: %w", err)
		}
	}
	if kind == again {
		return nil, nil
	}
	if err := s.outbox.forget(results[0].Seq); err != nil {
		return nil, err
	}
	return s.outbox.handed(results)
}

// handOver makes a batch of lines, which are those of the members of results,
// and returns when the core has processed it.
func (s *Sink) handOver(ctx context.Context, results []checks.Result, members []int, lines []byte, kind kind) error {
	if len(members) == 0 {
		return nil
	}
	b, err := s.outbox.put(batch{kind: kind, first: results[members[0]].Seq, last: results[members[len(members)-1]].Seq}, lines)
	if err != nil {
		s.down(err)
		return err
	}
	h := s.handovers.begin(results, members)
	err = s.deliver(ctx, b)
	s.handovers.end(h, err == nil)
	if kind == again {
		err = errors.Join(err, s.outbox.discard(b))
	}
	if err != nil {
		return fmt.Errorf("not confirmed: %w", err)
	}
	return nil
}

func fail(verdicts []error, err error) {
	for i := range verdicts {
		verdicts[i] = err
	}
}
