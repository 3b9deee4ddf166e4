package icinga

import (
	"strings"
	"time"

	"checkbus/checks"
)

// The attributes that are asked for: statusAttrs make a Status, glanceAttrs
// tell whether there is a new one.
var (
	statusAttrs = []string{
		"state", "state_type", "check_attempt", "last_check", "last_state_change", "last_reachable",
		"acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping", "last_check_result",
	}
	glanceAttrs = map[string][]string{
		hosts:    {"state", "last_check", "last_state_up", "acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping"},
		services: {"state", "last_check", "last_state_ok", "acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping"},
	}
)

// An entry is one object of Icinga's answer, with the attributes asked for.
// Times are Unix seconds.
type entry struct {
	Name  string `json:"name"` // "db1" or "db1!disk"
	Attrs struct {
		State           float64      `json:"state"`      // services: the exit code; hosts: 0 up, 1 down
		StateType       *float64     `json:"state_type"` // 0 soft, 1 hard
		Attempt         float64      `json:"check_attempt"`
		LastCheck       float64      `json:"last_check"` // when Icinga came to the result
		LastStateChange float64      `json:"last_state_change"`
		LastStateOK     float64      `json:"last_state_ok"` // execution of the last OK result
		LastStateUp     float64      `json:"last_state_up"`
		Reachable       *bool        `json:"last_reachable"`
		Acknowledgement float64      `json:"acknowledgement"`        // 0 none, 1 normal, 2 sticky
		AckExpiry       float64      `json:"acknowledgement_expiry"` // 0 never
		DowntimeDepth   float64      `json:"downtime_depth"`
		Flapping        bool         `json:"flapping"`
		LastCheckResult *checkResult `json:"last_check_result"`
	} `json:"attrs"`
}

// A checkResult is what Icinga keeps of a result. Its exit_status is 0 for all
// passive ones, and its state counts a host like a service.
type checkResult struct {
	ExecutionStart  float64    `json:"execution_start"`
	ExecutionEnd    float64    `json:"execution_end"`
	Output          string     `json:"output"`
	PerformanceData []perfItem `json:"performance_data"`
}

// held is when the result that Icinga holds was executed, in Unix
// microseconds; 0 for none.
func (e *entry) held() int64 {
	if e.Attrs.LastCheckResult == nil {
		return 0
	}
	return micros(e.Attrs.LastCheckResult.ExecutionStart)
}

// status is what the object is, of an entry with statusAttrs.
func (e *entry) status() checks.Status {
	a := &e.Attrs
	s := checks.Status{
		Object:       objectOf(e.Name),
		State:        checks.Pending,
		Acknowledged: e.isAcknowledged(),
		InDowntime:   e.isInDowntime(),
		Flapping:     a.Flapping,
	}
	r := a.LastCheckResult
	if r == nil {
		return s
	}
	s.State = e.state(s.Object)
	s.Soft = a.StateType != nil && *a.StateType == 0
	s.Attempt = int(a.Attempt)
	s.Reason, s.Perfdata = r.Output, joinPerfdata(r.PerformanceData)
	s.Time = moment(micros(r.ExecutionEnd))
	if a.LastStateChange > 0 {
		s.Since = moment(micros(a.LastStateChange))
	}
	return s
}

// state reads Icinga's number. A host that is down behind a parent that is
// down as well is unreachable.
func (e *entry) state(o checks.Object) checks.State {
	state := e.Attrs.State
	switch {
	case !o.IsHost() && (state == 0 || state == 1 || state == 2):
		return checks.State(state)
	case !o.IsHost():
		return checks.Unknown
	case state == 0:
		return checks.Up
	case e.Attrs.Reachable != nil && !*e.Attrs.Reachable:
		return checks.Unreachable
	}
	return checks.Down
}

// isAcknowledged minds the expiry, since Icinga ends an acknowledgement only
// when it comes across it later (lib/icinga/checkable.cpp, GetAcknowledgement).
func (e *entry) isAcknowledged() bool {
	expiry := e.Attrs.AckExpiry
	return e.Attrs.Acknowledgement != 0 && (expiry == 0 || micros(expiry) > time.Now().UnixMicro())
}

func (e *entry) isInDowntime() bool { return e.Attrs.DowntimeDepth > 0 }

// lastGood is when the last OK or UP result was executed, in Unix
// microseconds.
func (e *entry) lastGood() int64 {
	return max(micros(e.Attrs.LastStateOK), micros(e.Attrs.LastStateUp))
}

// micros turns Icinga's Unix seconds into whole microseconds.
func micros(seconds float64) int64 { return int64(seconds*1e6 + 0.5) }

// moment is the time of Unix microseconds.
func moment(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// objectOf reads Icinga's name of a host or service.
func objectOf(name string) checks.Object {
	host, service, _ := strings.Cut(name, "!")
	return checks.Object{Host: host, Service: service}
}
