package checks

import (
	"encoding/json"
	"strconv"
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

// MarshalJSON is JSON for encoding/json.
func (c Change) MarshalJSON() ([]byte, error) { return c.JSON(), nil }

// JSON writes the fields by their published names, times in RFC 3339 with
// milliseconds, UTC. It is written by hand since every result comes by here:
// encoding/json takes ten times as long.
func (c Change) JSON() []byte {
	b := make([]byte, 0, 384+len(c.Host)+len(c.Service)+len(c.Reason)+len(c.Perfdata))
	stateType := "hard"
	if c.Soft {
		stateType = "soft"
	}
	b = appendText(append(b, `{"host":`...), c.Host)
	if c.Service != "" {
		b = appendText(append(b, `,"service":`...), c.Service)
	}
	b = appendText(append(b, `,"state":`...), c.State.String())
	b = strconv.AppendInt(append(b, `,"exit_code":`...), int64(c.State.ExitCode()), 10)
	b = appendText(append(b, `,"previous":`...), c.Previous.String())
	b = appendText(append(b, `,"state_type":`...), stateType)
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(c.Attempt), 10)
	b = appendText(append(b, `,"reason":`...), c.Reason)
	b = appendText(append(b, `,"perfdata":`...), c.Perfdata)
	b = appendTime(append(b, `,"time":`...), c.Time)
	b = appendTime(append(b, `,"since":`...), c.Since)
	b = strconv.AppendBool(append(b, `,"acknowledged":`...), c.Acknowledged)
	b = strconv.AppendBool(append(b, `,"in_downtime":`...), c.InDowntime)
	b = strconv.AppendBool(append(b, `,"flapping":`...), c.Flapping)
	b = appendText(append(b, `,"origin":`...), c.Origin)
	b = appendText(append(b, `,"change":`...), c.Kind)
	b = strconv.AppendUint(append(b, `,"seq":`...), c.Seq, 10)
	return append(b, '}')
}

// appendText writes s as a JSON string. Most texts need no escapes.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string can always be written
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendTime writes t as a JSON string, which is empty for the zero time.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	if !t.IsZero() {
		b = t.UTC().AppendFormat(b, time.RFC3339) // several times as fast as any other layout
		ms := t.Nanosecond() / 1e6
		b = append(b[:len(b)-1], '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
	}
	return append(b, '"')
}

// timestamp is how all published JSON writes times: RFC 3339, milliseconds, UTC.
const timestamp = "2006-01-02T15:04:05.000Z07:00"

// Timestamp is t as all published JSON writes it: RFC 3339, milliseconds, UTC.
func Timestamp(t time.Time) string { return t.UTC().Format(timestamp) }
