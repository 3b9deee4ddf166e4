package checks

import (
	"encoding/json"
	"time"
)

// A Change is what an object is now, and what just became of it. Its JSON is
// what subscribers of the state and event topics read.
type Change struct {
	Object
	State    State
	Previous State
	Soft     bool // not yet confirmed by max_check_attempts
	Attempt  int  // check attempt, counted from 1
	Reason   string
	Perfdata string
	Time     time.Time // of the result
	Since    time.Time // when State began

	Acknowledged bool
	InDowntime   bool
	Flapping     bool

	Origin string // who judged: icinga, nagios or gateway
	Kind   string // state, hard, acknowledged, downtime, flapping or removed
	Seq    uint64 // counts events, so that a subscriber sees a gap
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
		c.Reason, c.Perfdata, Timestamp(c.Time), Timestamp(c.Since),
		c.Acknowledged, c.InDowntime, c.Flapping, c.Origin, c.Kind, c.Seq,
	})
}

// Timestamp is t as all published JSON writes it: RFC 3339, milliseconds, UTC.
func Timestamp(t time.Time) string {
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
