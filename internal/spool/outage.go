package spool

import (
	"errors"
	"fmt"
	"time"

	"checkbus/internal/engine"
)

// After a failure of the disk the store is opened again at once, then at
// growing intervals.
const (
	reopenFirst = 100 * time.Millisecond
	reopenMax   = 5 * time.Second
)

// An outage is the time in which the store cannot be used. It belongs to the
// committer.
type outage struct {
	since time.Time // zero: there is none
	pause time.Duration
	next  time.Time // of the next attempt to end it; zero: there will be none
}

// dueIn is how long until the next attempt; not timed when there is none.
func (o *outage) dueIn() (wait time.Duration, timed bool) {
	return time.Until(o.next), !o.next.IsZero()
}

// fail notes that the store cannot be used because of err. From here on every
// Append is refused with it.
func (q *Queue) fail(err error) {
	q.refuse(nil, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settle()
	q.setErr(err)
}

// reopen ends the outage when its time has come and the disk lets it.
func (q *Queue) reopen(down *outage) {
	if down.since.IsZero() {
		*down = outage{since: time.Now(), next: time.Now(), pause: reopenFirst}
		q.log.Error("spool failed, results are refused", "err", q.failure())
	}
	if wait, timed := down.dueIn(); !timed || wait > 0 {
		return
	}
	cause := q.failure()
	_ = q.closeStore(cause) // its error follows from the one that is known
	err := cause
	if !errors.Is(cause, ErrDamaged) {
		err = q.open()
	}
	switch {
	case err == nil:
		q.log.Info("spool works again", "after", time.Since(down.since))
		*down = outage{}
	case errors.Is(err, ErrDamaged):
		down.next = time.Time{}
		q.fail(err)
	default:
		down.next = time.Now().Add(down.pause)
		down.pause = min(2*down.pause, reopenMax)
	}
}

// failure returns why the store cannot be used, or nil.
func (q *Queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// explain gives an error of the store what its caller needs to know: where, and
// when it is damage rather than a disk that refuses, what to do.
func (q *Queue) explain(err error) error {
	if !engine.Damaged(err) {
		return fmt.Errorf("%s: %w", q.dir, err)
	}
	return fmt.Errorf("%w: %s: %w; stop checkbus and restore the directory, or move it away: "+
		"what is queued in it is lost then", ErrDamaged, q.dir, err)
}
