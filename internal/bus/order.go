package bus

import (
	"fmt"
	"time"

	"checkbus/checks"
)

// An order keeps, for every object, where its newest accepted result stands,
// so that no core is told of an older one afterwards.
type order struct {
	newest map[checks.Object]mark
	max    int // objects; 0 is no bound
}

type mark struct {
	at       int64 // when the check ran, microseconds since 1970
	executed int64 // what the cores are told: at, moved behind its equals
}

// note takes r as accepted.
func (o *order) note(r checks.Result) {
	at := r.Time
	if r.Arrived.Before(at) {
		at = r.Arrived
	}
	o.newest[r.Object] = mark{max(at.UnixMicro(), o.newest[r.Object].at), r.Executed.UnixMicro()}
}

// admit accepts r, or says why not: checks.ErrStale when a newer result of its
// object was accepted already, checks.ErrUnknownObject when its object is one too
// many. A result as old as the newest is accepted, and r.Executed moved a
// microsecond behind it. So is one that has no time but its arrival, whatever the
// clock says: two clients may arrive at once, and clocks are set back.
func (o *order) admit(r *checks.Result) error {
	last, seen := o.newest[r.Object]
	if !seen && o.max > 0 && len(o.newest) >= o.max {
		return fmt.Errorf("%w: there are %d others already, as many as results.max_objects allows", checks.ErrUnknownObject, o.max)
	}
	if seen {
		if r.Time.Before(r.Arrived) && r.Executed.UnixMicro() < last.at {
			return checks.ErrStale
		}
		if r.Executed.UnixMicro() <= last.executed {
			r.Executed = time.UnixMicro(last.executed + 1)
		}
	}
	o.note(*r)
	return nil
}
