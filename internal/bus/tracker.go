package bus

import (
	"time"

	"checkbus/checks"
)

// A Tracker compares each result with the one before it. It is the judge of
// state changes where no core is configured.
type Tracker struct {
	objects map[checks.Object]tracked
	events  uint64
}

type tracked struct {
	state    checks.State
	executed int64 // microseconds since 1970
	since    int64
}

// Observe notes r and returns what its object is now. The second value is true
// when that is an event: the state is another than before, or the first report
// is not good. A result older than the last one changes nothing.
func (t *Tracker) Observe(r checks.Result) (checks.Change, bool) {
	if t.objects == nil {
		t.objects = make(map[checks.Object]tracked)
	}
	at := r.Executed.UnixMicro()
	last, seen := t.objects[r.Object]
	if seen && at < last.executed {
		return checks.Change{}, false
	}
	if !seen {
		last = tracked{state: checks.Pending, since: at}
	}
	now := tracked{state: r.State, executed: at, since: last.since}
	changed := r.State != last.state
	if changed {
		now.since = at
	}
	t.objects[r.Object] = now

	event := changed && (seen || r.State.ExitCode() != 0)
	if event {
		t.events++
	}
	status := checks.Status{
		Object: r.Object, State: r.State, Attempt: 1, Reason: r.Reason, Perfdata: r.Perfdata,
		Time: r.Time, Since: time.UnixMicro(now.since),
	}
	return checks.Change{Status: status, Previous: last.state, Origin: "gateway", Kind: "state", Seq: t.events}, event
}
