package icinga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"checkbus/checks"
)

const (
	// maxRetries bounds how many ignored results are offered again at a time.
	maxRetries = 1000
	// enoughRetries is how many of them in a row are ignored again until it
	// is not worth while to offer more.
	enoughRetries = 50
)

// resync reads which objects there are and what Icinga holds for each, and
// hands over again what it has lost: a 200 is no promise, since a reload drops
// what was acknowledged in the half second before it, and a crash all since
// the state file was last written, 5 minutes at most
// (https://github.com/Icinga/icinga2/issues/9365). Nothing is submitted
// meanwhile.
func (s *Sink) resync(ctx context.Context, c *core) error {
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := s.recall(); err != nil {
		return err
	}
	lost, err := s.list(ctx, c)
	if err != nil {
		return err
	}
	for _, l := range c.lanes {
		l.link.close() // what is open leads to the worker before
		clear(l.doubt)
	}
	before := s.counters.resent.Load()
	err = s.resend(ctx, c, lost)
	if n := s.counters.resent.Load() - before; n > 0 {
		s.log.Info("results sent again", "url", c.url, "results", n)
	}
	return err
}

// recall notes, once, what was handed over before the gateway was started.
func (s *Sink) recall() error {
	if s.recalled {
		return nil
	}
	err := s.history.Each(func(r checks.Result) error {
		if r.Seq <= s.history.Committed {
			s.objects.acknowledge(&r)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the last results: %w", err)
	}
	s.recalled = true
	return nil
}

// list reads all hosts and services, and returns those that lost results.
func (s *Sink) list(ctx context.Context, c *core) ([]loss, error) {
	var lost []loss
	s.objects.beginList()
	now := time.Now()
	for _, kind := range []string{hosts, services} {
		err := c.control.list(ctx, kind, []string{"last_check_result"}, func(e *entry) {
			if l, ok := s.objects.add(objectOf(e.Name), e.held(), now); ok {
				lost = append(lost, l)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	s.objects.endList()
	return lost, nil
}

// resend hands over again the newest acknowledged result of each object in
// lost, the lanes side by side.
func (s *Sink) resend(ctx context.Context, c *core, lost []loss) error {
	turns := make([][]loss, len(c.lanes))
	for _, o := range lost {
		n := s.laneOf(o.Object, len(c.lanes))
		turns[n] = append(turns[n], o)
	}
	g, ctx := errgroup.WithContext(ctx)
	for n, l := range c.lanes {
		g.Go(func() error {
			for _, o := range turns[n] {
				if err := s.restore(ctx, l, o); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// restore hands over o's last result again. Where a newer one waits in the
// spool, that one comes by itself.
func (s *Sink) restore(ctx context.Context, l *lane, o loss) error {
	r, ok, err := s.last(o.Object)
	if err != nil {
		return err
	}
	isNewer := r.Executed.UnixMicro() > o.held
	if !ok && isNewer {
		s.objects.setOverdue(o.Object)
	}
	if !ok || !isNewer {
		s.objects.setHeld(o.Object, o.held, time.Now())
		return nil
	}
	err = l.deliver(ctx, &r)
	if err == nil {
		s.counters.resent.Add(1)
	}
	return s.settled(&r, err)
}

// settled notes the verdict on a result that was offered again, and returns
// only what concerns all others too. A result that its object does not take
// now is offered again later.
func (s *Sink) settled(r *checks.Result, verdict error) error {
	out := (*outageError)(nil)
	switch {
	case verdict == nil:
	case errors.Is(verdict, checks.ErrRejected):
		s.objects.forget(r.Object)
	case errors.As(verdict, &out):
		return verdict
	default:
		s.objects.ignore(r)
	}
	return nil
}

// last is o's newest result, if that is the one that Icinga acknowledged.
func (s *Sink) last(o checks.Object) (checks.Result, bool, error) {
	r, ok, err := s.history.Last(o)
	if err != nil {
		return r, false, fmt.Errorf("read the last result of %s: %w", o, err)
	}
	return r, ok && r.Seq == s.objects.seq(o), nil
}

// retryIgnored offers the results again that Icinga did not store, because a
// parent was unreachable. It gives up for now when many in a row still are.
func (s *Sink) retryIgnored(ctx context.Context, c *core) error {
	list := s.objects.ignoredObjects(maxRetries)
	if len(list) == 0 {
		return nil
	}
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.release()
	inARow := 0
	for _, o := range list {
		if err := s.retry(ctx, c.lanes[s.laneOf(o, len(c.lanes))], o); err != nil {
			return err
		}
		if inARow++; !s.objects.isIgnored(o) {
			inARow = 0
		}
		if inARow == enoughRetries {
			return nil
		}
	}
	return nil
}

// retry offers o's last result, if no newer one waits in the spool.
func (s *Sink) retry(ctx context.Context, l *lane, o checks.Object) error {
	r, ok, err := s.last(o)
	if err != nil {
		return err
	}
	if !ok {
		s.objects.forget(o)
		return nil
	}
	return s.settled(&r, l.deliver(ctx, &r))
}
