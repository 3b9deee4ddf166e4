package icinga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"checkbus/checks"
)

// A lane hands results over one connection, strictly one after another. An
// object always takes the same lane, which keeps its results in order. One
// goroutine uses it at a time.
type lane struct {
	sink *Sink
	link *link
	// doubt are the objects for which a result was sent and no answer came.
	doubt map[checks.Object]struct{}
}

// An outageError fails every result, not just the one that met it.
type outageError struct{ err error }

func (e *outageError) Error() string { return e.err.Error() }
func (e *outageError) Unwrap() error { return e.err }

// errBehind is the verdict on a result whose object has an earlier one that
// must be tried again first.
var errBehind = errors.New("behind another result of its object")

// submit hands over batch[i] for each i of turn until ctx or the session ends,
// or nothing can be handed over, and sets one verdict each.
func (l *lane) submit(ctx context.Context, session *session, batch []checks.Result, turn []int, verdicts []error) {
	failed := make(map[checks.Object]bool)
	for n, i := range turn {
		r := &batch[i]
		err := session.err(ctx)
		switch {
		case err != nil:
			err = &outageError{err}
		case failed[r.Object]:
			err = errBehind
		default:
			err = l.handOver(ctx, r)
		}
		verdicts[i] = err
		if err == nil || errors.Is(err, checks.ErrRejected) {
			continue
		}
		failed[r.Object] = true
		if out := (*outageError)(nil); errors.As(err, &out) {
			l.sink.look()
			for _, i := range turn[n+1:] {
				verdicts[i] = err
			}
			return
		}
	}
}

// handOver brings r to Icinga unless it is there, and returns the verdict.
func (l *lane) handOver(ctx context.Context, r *checks.Result) error {
	known := l.sink.objects
	if !known.has(r.Object) {
		if err := l.find(ctx, r.Object); err != nil {
			return err
		}
	}
	there := known.holds(r)
	if _, ok := l.doubt[r.Object]; ok && !there {
		var err error
		if there, err = l.settle(ctx, r); err != nil {
			return err
		}
	}
	if there {
		known.acknowledge(r)
		l.sink.counters.repeated.Add(1)
		return nil
	}
	return l.deliver(ctx, r)
}

// find asks Icinga for an object that is not in the list, but not too often: a
// 404 costs Icinga 8 ms, and it answers one at a time.
func (l *lane) find(ctx context.Context, o checks.Object) error {
	known := l.sink.objects
	now := time.Now()
	if known.isAbsent(o, now) || !l.sink.finds.take(now) {
		return unknown(o)
	}
	there, err := l.link.object(ctx, o)
	if err != nil {
		return fmt.Errorf("look for %s: %w", o, asOutage(err))
	}
	if there == nil {
		known.setAbsent(o, now)
		return unknown(o)
	}
	known.setPresent(o)
	return nil
}

func unknown(o checks.Object) error {
	return fmt.Errorf("%w: icinga has no %s", checks.ErrUnknownObject, o)
}

// asOutage makes of an error of the connection an outageError; an answer of
// Icinga concerns what was asked for, but one of the account.
func asOutage(err error) error {
	if e := (*statusError)(nil); errors.As(err, &e) {
		switch judgeRequest(e.status) {
		case unauthorized, outage:
		default:
			return err
		}
	}
	return &outageError{err}
}

// settle finds out whether Icinga holds r, after a request for its object was
// not answered: to send a result again that it holds would count as another
// check attempt.
func (l *lane) settle(ctx context.Context, r *checks.Result) (there bool, err error) {
	e, err := l.link.object(ctx, r.Object)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", r.Object, asOutage(err))
	}
	delete(l.doubt, r.Object)
	return e != nil && e.held() == r.Executed.UnixMicro(), nil
}

// deliver offers r to Icinga once. Its watcher is to hear of each state, so
// what the result before made of the object is read first, if that was not done.
func (l *lane) deliver(ctx context.Context, r *checks.Result) error {
	sink := l.sink
	if sink.ledger.isUnread(r.Object) {
		e, err := l.link.object(ctx, r.Object)
		if err != nil {
			return fmt.Errorf("ask for the state of %s: %w", r.Object, asOutage(err))
		}
		if e != nil && !e.isStopping() {
			sink.ledger.pass(e.reading())
		}
	}
	what, why, err := l.link.submit(ctx, r)
	if err != nil {
		l.doubt[r.Object] = struct{}{}
		return &outageError{fmt.Errorf("submit %s: %w", r.Object, err)}
	}
	switch what {
	case taken:
		sink.counters.taken.Add(1)
		sink.objects.acknowledge(r)
		sink.ledger.took(r)
		return nil
	case stale:
		sink.counters.stale.Add(1)
		sink.objects.acknowledge(r)
		return nil
	case ignored:
		sink.counters.ignored.Add(1)
		sink.objects.ignore(r)
		return nil
	case absent:
		return l.explain(ctx, r.Object)
	}
	err = fmt.Errorf("submit %s: %s", r.Object, why)
	switch what {
	case forbidden:
		if sink.forbidden.due() {
			sink.log.Warn("result forbidden", "object", r.Object.String(), "err", err)
		}
		return fmt.Errorf("%w: %w", checks.ErrRejected, err)
	case refused:
		return fmt.Errorf("%w: %w", checks.ErrRejected, err)
	case unavailable:
		return err
	default:
		return &outageError{err}
	}
}

// explain tells the reasons of a 404 apart: there is no such object, or the
// account has no right to submit for it.
func (l *lane) explain(ctx context.Context, o checks.Object) error {
	there, err := l.link.object(ctx, o)
	if err != nil {
		return fmt.Errorf("look for %s: %w", o, asOutage(err))
	}
	if there == nil {
		l.sink.objects.setAbsent(o, time.Now())
		return unknown(o)
	}
	err = fmt.Errorf("submit %s: the account lacks the permission actions/process-check-result for it", o)
	if l.sink.unpermitted.due() {
		l.sink.log.Warn("permission missing", "object", o.String(), "err", err)
	}
	return err
}
