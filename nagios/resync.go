package nagios

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"checkbus/checks"
)

const (
	// maxMarks bounds what is known of when results were handed over: the last
	// two minutes under load.
	maxMarks = 120
	// restorePatience is how long the states of a new process wait for the
	// results that it has lost, so that what it forgot is not told as a change.
	restorePatience = 5 * time.Second
	// maxRestored is how many results are handed over again before others have
	// their turn.
	maxRestored = 1000
)

// A History is what the sink needs of the results accepted so far.
type History struct {
	// Last is the newest accepted result of an object; false when there is none.
	Last func(checks.Object) (checks.Result, bool, error)
	// Committed is the Seq up to which this core's results are handed over. It
	// is asked often.
	Committed func() uint64
}

// A resync sees to it that a process of the core gets what those before it took
// with them. After a kill the core goes on from its retention file, which it
// writes every retention_update_interval, 60 minutes by default.
//
// The core is one thread, so a result that was handed over before it began to
// write a status file is in that file, or lost. The file says when an object was
// checked last, which for a result of the gateway is when that was executed. It
// names the second in which it was begun: what was handed over in that second
// counts as later, and is compared with the next file.
type resync struct {
	log       *slog.Logger
	committed func() uint64
	restore   func(ctx context.Context, held []holding, upTo uint64) error

	marks   []mark // oldest first
	due     bool   // the process is yet to be compared
	since   time.Time
	working chan error // of the hand-over that is under way; nil: none
	ended   time.Time  // of the last one: files from before do not have it
	failed  bool       // the last one did, and that was logged
	group   sync.WaitGroup
}

// A mark is how far results were handed over at a time.
type mark struct {
	at  time.Time
	seq uint64
}

// A holding is when the core checked an object last, as it says, in Unix
// seconds; 0 for never.
type holding struct {
	checks.Object
	checked int64
}

// note marks how far results are handed over now; one mark a second will do.
func (r *resync) note(now time.Time) {
	seq := r.committed()
	if n := len(r.marks); n > 0 && (r.marks[n-1].seq == seq || now.Sub(r.marks[n-1].at) < time.Second) {
		return
	}
	r.marks = append(r.marks, mark{now, seq})
	r.marks = r.marks[max(0, len(r.marks)-maxMarks):]
}

// before is the Seq up to which results were handed over before t, as far as
// that is known.
func (r *resync) before(t time.Time) uint64 {
	for _, m := range slices.Backward(r.marks) {
		if m.at.Before(t) {
			return m.seq
		}
	}
	return 0
}

// compare begins to hand over again what is missing in p, which has just taken
// up a status file, the first of its process if isFirst. It compares every file
// up to the first one that was begun after the process was seen: that has all
// that was handed over to another.
func (r *resync) compare(ctx context.Context, p *picture, isFirst bool) {
	if isFirst {
		r.due, r.since = true, time.Now()
	}
	select {
	case err := <-r.working:
		r.worked(ctx, err)
	default:
	}
	created := time.Unix(p.program.created, 0)
	if !r.due || r.working != nil || !created.After(r.ended) {
		return
	}
	r.due = !created.After(r.since)
	if upTo := r.before(created); upTo > 0 {
		held, working := p.held(), make(chan error, 1)
		r.working = working
		r.group.Go(func() { working <- r.restore(ctx, held, upTo) })
	}
}

// await waits until what compare has begun is done, but not for ever.
func (r *resync) await(ctx context.Context) {
	if r.working == nil {
		return
	}
	select {
	case err := <-r.working:
		r.worked(ctx, err)
	case <-time.After(restorePatience):
	case <-ctx.Done():
	}
}

// worked takes up how a hand-over ended. One that failed is due again.
func (r *resync) worked(ctx context.Context, err error) {
	r.working, r.ended = nil, time.Now()
	r.due = r.due || err != nil
	if err != nil && !r.failed && ctx.Err() == nil {
		r.log.Warn("results that the core lost not handed over again yet", "err", err)
	}
	r.failed = err != nil
}

// restore hands over again, in their order, the last results of the objects in
// held that the core has lost, of those up to upTo.
func (s *Sink) restore(ctx context.Context, held []holding, upTo uint64) error {
	lost, err := s.lost(held, upTo)
	if err != nil {
		return err
	}
	before := s.resent.Load()
	for some := range slices.Chunk(lost, maxRestored) {
		if err = s.resend(ctx, some); err != nil {
			break
		}
	}
	if n := s.resent.Load() - before; n > 0 {
		s.log.Info("results handed over again: the core had lost them", "results", n)
	}
	return err
}

// A loss is an object of which the core has lost the result with Seq seq.
type loss struct {
	checks.Object
	seq uint64
}

// lost compares. Where a newer result waits in the spool, that one comes by
// itself.
func (s *Sink) lost(held []holding, upTo uint64) ([]loss, error) {
	var lost []loss
	for _, h := range held {
		r, ok, err := s.history.Last(h.Object)
		if err != nil {
			return nil, err
		}
		if ok && r.Seq <= upTo && h.checked < r.Executed.Unix() {
			lost = append(lost, loss{h.Object, r.Seq})
		}
	}
	slices.SortFunc(lost, func(a, b loss) int { return cmp.Compare(a.seq, b.seq) })
	return lost, nil
}

// resend hands the results in lost over again, but those of which a newer one
// was accepted, which may have been handed over by now, and those that the core
// does not take.
func (s *Sink) resend(ctx context.Context, lost []loss) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.reception.Load()
	var results []checks.Result
	for _, l := range lost {
		r, ok, err := s.history.Last(l.Object)
		if err != nil {
			return err
		}
		if ok && r.Seq == l.seq && taken.check(l.Object) == nil {
			results = append(results, r)
		}
	}
	verdicts := make([]error, len(results))
	s.submit(ctx, results, verdicts, again)
	var failed error
	for _, err := range verdicts {
		switch {
		case err == nil:
			s.resent.Add(1)
		case !errors.Is(err, checks.ErrRejected):
			failed = err
		}
	}
	return failed
}
