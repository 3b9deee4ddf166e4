package bus

import (
	"errors"
	"time"

	"checkbus/checks"
)

// errDuplicate is a second copy of the newest result, redelivered after a
// crash: it is acknowledged, and goes no further.
var errDuplicate = errors.New("redelivered")

// An order keeps, for every object, where its newest accepted result stands,
// so that no core is told of an older one afterwards.
type order struct {
	newest map[checks.Object]mark
}

type mark struct {
	at       int64 // when the check ran, microseconds since 1970
	executed int64 // what the cores are told: at, moved behind its equals
	message  uint64
}

// note takes r as accepted.
func (o *order) note(r checks.Result) {
	at := r.Time
	if r.Arrived.Before(at) {
		at = r.Arrived
	}
	o.newest[r.Object] = mark{at.UnixMicro(), r.Executed.UnixMicro(), r.Message}
}

// admit accepts r, or says why not: checks.ErrStale when a newer result of its
// object was accepted already, errDuplicate when redelivered says that r may be
// a second copy and the newest one came in the same message. A result as old as
// the newest is accepted, and r.Executed moved a microsecond behind it.
func (o *order) admit(r *checks.Result, redelivered bool) error {
	if last, seen := o.newest[r.Object]; seen {
		if redelivered && r.Message != 0 && r.Message == last.message {
			return errDuplicate
		}
		if r.Executed.UnixMicro() < last.at {
			return checks.ErrStale
		}
		if r.Executed.UnixMicro() <= last.executed {
			r.Executed = time.UnixMicro(last.executed + 1)
		}
	}
	o.note(*r)
	return nil
}

// forget takes back that r was accepted, so that the same message may come
// again and be taken.
func (o *order) forget(r checks.Result) {
	if last, seen := o.newest[r.Object]; seen && last.message == r.Message {
		last.message = 0
		o.newest[r.Object] = last
	}
}
