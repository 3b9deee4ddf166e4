package checks

import (
	"encoding/json"
	"time"
)

// A Status is what an object is at one moment, as whoever judges it says: a
// core, or the gateway itself.
type Status struct {
	Object
	State    State // Pending as long as there was no result
	Soft     bool  // not yet confirmed by max_check_attempts
	Attempt  int   // check attempt, counted from 1; 0 when Pending
	Reason   string
	Perfdata string
	Time     time.Time // of the newest result; zero when Pending
	Since    time.Time // when State began; zero when not known

	Acknowledged bool
	InDowntime   bool
	Flapping     bool
}

// A Watcher hears what a core says of its objects, of each object in the order
// in which the core came to it. Its methods are called from one goroutine at a
// time.
type Watcher interface {
	// Saw tells what an object is now.
	Saw(s Status)
	// SawAll tells what all objects of the core are now. Those that are not
	// among them are gone. all is not changed afterwards.
	SawAll(all []Status)
	// Lost tells that the core has an object no longer.
	Lost(o Object)
}

// The kinds of changes, as they are published.
const (
	KindState        = "state"        // the state is another
	KindHard         = "hard"         // a soft problem became hard
	KindAttempt      = "attempt"      // a soft problem was found once more
	KindAcknowledged = "acknowledged" // an acknowledgement began or ended
	KindDowntime     = "downtime"     // a downtime began or ended
	KindFlapping     = "flapping"     // flapping began or ended
	KindRemoved      = "removed"      // the object is gone
)

// A Change is what an object is now, and what just became of it. Its JSON is
// what subscribers of the state and event topics read.
type Change struct {
	Status
	Previous State  // the one before State; Pending when there was none
	Origin   string // who judged: icinga, nagios or gateway
	Kind     string // what changed last, see KindState
	Seq      uint64 // counts events, so that a subscriber sees a gap; 0 before the first of the object
}

// MarshalJSON writes the fields by their published names, times in RFC 3339
// with milliseconds, UTC.
func (c Change) MarshalJSON() ([]byte, error) {
	stateType := "hard"
	if c.Soft {
		stateType = "soft"
	}
	return json.Marshal(struct {
		Host         string `json:"host"`
		Service      string `json:"service,omitempty"`
		State        string `json:"state"`
		ExitCode     int    `json:"exit_code"`
		Previous     string `json:"previous"`
		StateType    string `json:"state_type"`
		Attempt      int    `json:"attempt"`
		Reason       string `json:"reason"`
		Perfdata     string `json:"perfdata"`
		Time         string `json:"time"`
		Since        string `json:"since"`
		Acknowledged bool   `json:"acknowledged"`
		InDowntime   bool   `json:"in_downtime"`
		Flapping     bool   `json:"flapping"`
		Origin       string `json:"origin"`
		Change       string `json:"change"`
		Seq          uint64 `json:"seq"`
	}{
		c.Host, c.Service, c.State.String(), c.State.ExitCode(), c.Previous.String(), stateType, c.Attempt,
		c.Reason, c.Perfdata, timestampOrNone(c.Time), timestampOrNone(c.Since),
		c.Acknowledged, c.InDowntime, c.Flapping, c.Origin, c.Kind, c.Seq,
	})
}

// Timestamp is t as all published JSON writes it: RFC 3339, milliseconds, UTC.
func Timestamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

func timestampOrNone(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Timestamp(t)
}
