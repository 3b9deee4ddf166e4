package icinga

import (
	"strings"
	"time"

	"checkbus/checks"
)

// The attributes that are asked for: statusAttrs make a Status, glanceAttrs
// tell whether there is a new one. Icinga reads them in this order, and active
// is to be no older than downtime_depth: see isStopping.
var (
	statusAttrs = []string{
		"last_check_result", "last_state_change", "previous_state_change",
		"acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping", "enable_flapping", "active",
	}
	glanceAttrs = map[string][]string{
		hosts:    {"state", "last_check", "last_state_up", "acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping", "enable_flapping", "active"},
		services: {"state", "last_check", "last_state_ok", "acknowledgement", "acknowledgement_expiry", "downtime_depth", "flapping", "enable_flapping", "active"},
	}
)

// An entry is one object of Icinga's answer, with the attributes asked for.
// Times are Unix seconds.
type entry struct {
	Name  string `json:"name"` // "db1" or "db1!disk"
	Attrs struct {
		State           float64      `json:"state"`         // 0 is OK or UP
		LastCheck       float64      `json:"last_check"`    // when Icinga came to the result; -1 without one
		LastStateOK     float64      `json:"last_state_ok"` // execution of the last OK result
		LastStateUp     float64      `json:"last_state_up"`
		LastStateChange float64      `json:"last_state_change"`
		PreviousChange  float64      `json:"previous_state_change"`  // last_state_change before the last result
		Acknowledgement float64      `json:"acknowledgement"`        // 0 none, 1 normal, 2 sticky
		AckExpiry       float64      `json:"acknowledgement_expiry"` // 0 never
		DowntimeDepth   float64      `json:"downtime_depth"`
		Flapping        bool         `json:"flapping"` // also where nobody wants to know
		FlapDetection   bool         `json:"enable_flapping"`
		LastCheckResult *checkResult `json:"last_check_result"`
		Active          *bool        `json:"active"` // nil: not asked for
	} `json:"attrs"`
}

// A checkResult is what Icinga keeps of a result, and what it made of the
// object. It is the only thing that Icinga replaces at once: while it works
// through another result, the object's state, state_type, check_attempt and
// last_state_change are that one's already (lib/icinga/checkable-check.cpp,
// ProcessCheckResult).
type checkResult struct {
	ExecutionStart  float64    `json:"execution_start"`
	ExecutionEnd    float64    `json:"execution_end"`
	ScheduleEnd     float64    `json:"schedule_end"` // the object's last_check
	Output          string     `json:"output"`
	PerformanceData []perfItem `json:"performance_data"`
	State           float64    `json:"state"` // of a host too that of a service
	After           struct {
		StateType *float64 `json:"state_type"` // 0 soft, 1 hard
		Attempt   float64  `json:"attempt"`
		Reachable *bool    `json:"reachable"`
	} `json:"vars_after"`
}

// held is when the result that Icinga holds was executed, in Unix
// microseconds; 0 for none.
func (e *entry) held() int64 {
	if e.Attrs.LastCheckResult == nil {
		return 0
	}
	return micros(e.Attrs.LastCheckResult.ExecutionStart)
}

// isStopping reports whether what e says of downtimes may be wrong. A worker
// that is about to end stops its hosts and services, and then their downtimes,
// while it still answers; the next worker knows them
// (lib/base/configobject.cpp, StopObjects; lib/icinga/downtime.cpp, Stop).
func (e *entry) isStopping() bool { return e.Attrs.Active != nil && !*e.Attrs.Active }

// reading is what an entry with statusAttrs says.
func (e *entry) reading() reading {
	a := &e.Attrs
	r := reading{checked: micros(-1), Status: checks.Status{
		Object:       objectOf(e.Name),
		State:        checks.Pending,
		Acknowledged: e.isAcknowledged(),
		InDowntime:   e.isInDowntime(),
		Flapping:     e.isFlapping(),
	}}
	last := a.LastCheckResult
	if last == nil {
		return r
	}
	r.checked = micros(last.ScheduleEnd)
	r.State = last.state(r.Object)
	r.Soft = last.After.StateType != nil && *last.After.StateType == 0
	r.Attempt = int(last.After.Attempt)
	r.Reason, r.Perfdata = last.Output, joinPerfdata(last.PerformanceData)
	r.Time = moment(last.ExecutionEnd)
	since := a.LastStateChange
	if since > last.ExecutionEnd {
		since = a.PreviousChange // it is that of the next result
	}
	if since > 0 {
		r.Since = moment(since)
	}
	return r
}

// state reads Icinga's number. Of a host, OK and WARNING are UP
// (lib/icinga/host.cpp, CalculateState); one that is down behind a parent that
// is down as well is unreachable.
func (c *checkResult) state(o checks.Object) checks.State {
	switch {
	case !o.IsHost():
		if c.State == 0 || c.State == 1 || c.State == 2 {
			return checks.State(c.State)
		}
		return checks.Unknown
	case c.State == 0 || c.State == 1:
		return checks.Up
	case c.After.Reachable != nil && !*c.After.Reachable:
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

// isFlapping minds the switch: Icinga reckons for all objects, and heeds only
// those that have it on (lib/icinga/checkable-flapping.cpp, IsFlapping).
func (e *entry) isFlapping() bool { return e.Attrs.Flapping && e.Attrs.FlapDetection }

// lastGood is when the last OK or UP result was executed, in Unix
// microseconds.
func (e *entry) lastGood() int64 {
	return max(micros(e.Attrs.LastStateOK), micros(e.Attrs.LastStateUp))
}

// micros turns Icinga's Unix seconds into whole microseconds.
func micros(seconds float64) int64 { return int64(seconds*1e6 + 0.5) }

// moment is the time of Unix seconds, in whole microseconds.
func moment(seconds float64) time.Time { return time.UnixMicro(micros(seconds)).UTC() }

// objectOf reads Icinga's name of a host or service.
func objectOf(name string) checks.Object {
	host, service, _ := strings.Cut(name, "!")
	return checks.Object{Host: host, Service: service}
}
