package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"checkbus/broker"
	"checkbus/checks"
	"checkbus/internal/bus"
	"checkbus/internal/settings"
	"checkbus/internal/spool"
	"checkbus/internal/web"
)

// figures are the gateway at a glance, as /api/status and checkbus status show
// it. Counts are since the start.
type figures struct {
	Version string      `json:"version"`
	Started time.Time   `json:"started"`
	Ready   bool        `json:"ready"`
	Checks  []web.Check `json:"checks"`
	Results struct {
		Received  uint64            `json:"received"`
		Accepted  uint64            `json:"accepted"`
		Rejected  uint64            `json:"rejected"`
		Duplicate uint64            `json:"duplicate"`
		Clamped   uint64            `json:"clamped"`
		Causes    map[string]uint64 `json:"rejected_by_cause"`
	} `json:"results"`
	States map[string]int64 `json:"states"` // hosts and services by state, now
	Events uint64           `json:"events"`
	Spool  struct {
		backlog
		Limit int64 `json:"limit_bytes"`
	} `json:"spool"`
	Cores     []coreFigures          `json:"cores"`
	Bridges   []broker.BridgeStats   `json:"bridges"`
	Subscribe *broker.SubscribeStats `json:"subscribe,omitempty"` // with an outside broker only
	MQTT      struct {
		Connected   int64 `json:"connected"`
		Connections int64 `json:"connections"`
		MessagesIn  int64 `json:"messages_received"`
		MessagesOut int64 `json:"messages_sent"`
		BytesIn     int64 `json:"bytes_received"`
		BytesOut    int64 `json:"bytes_sent"`
	} `json:"mqtt"`
}

type coreFigures struct {
	Name      string  `json:"name"`
	Up        bool    `json:"up"`
	Submitted uint64  `json:"submitted"`
	Retried   uint64  `json:"retried"`
	Rejected  uint64  `json:"rejected"`
	Waiting   backlog `json:"waiting"` // not taken yet
}

// A backlog is what waits now.
type backlog struct {
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Oldest  float64 `json:"oldest_seconds"` // since the oldest came; 0 when none waits
}

func newBacklog(b spool.Backlog) backlog {
	shown := backlog{Records: b.Records, Bytes: b.Bytes}
	if !b.Oldest.IsZero() {
		shown.Oldest = max(0, time.Since(b.Oldest).Seconds())
	}
	return shown
}

func newFigures(started time.Time, probes []web.Check, b bus.Stats, bridges []broker.BridgeStats, mqtt broker.Stats) figures {
	f := figures{Version: version(), Started: started, Ready: web.Ready(probes), Checks: probes, Cores: []coreFigures{}, Bridges: bridges}
	r := &f.Results
	r.Received, r.Accepted, r.Rejected, r.Duplicate, r.Clamped = b.Received, b.Accepted, b.RejectedInAll(), b.Duplicate, b.Clamped
	r.Causes = map[string]uint64{}
	for c, n := range b.Rejected {
		r.Causes[bus.Cause(c).String()] = n
	}
	f.States, f.Events = map[string]int64{}, b.Events
	for state, n := range b.States {
		f.States[strings.ToLower(checks.State(state).String())] = n
	}
	f.Spool.backlog, f.Spool.Limit = newBacklog(b.Spool), b.SpoolLimit
	for _, c := range b.Cores {
		f.Cores = append(f.Cores, coreFigures{c.Name, c.Up, c.Submitted, c.Retried, c.Rejected, newBacklog(c.Waiting)})
	}
	f.Subscribe = mqtt.Subscribe
	m := &f.MQTT
	m.Connected, m.Connections = mqtt.Connected, mqtt.Sockets
	m.MessagesIn, m.MessagesOut, m.BytesIn, m.BytesOut = mqtt.MessagesIn, mqtt.MessagesOut, mqtt.BytesIn, mqtt.BytesOut
	return f
}

var (
	errNotReady = errors.New("the gateway is not ready")
	errDegraded = errors.New("the gateway is ready, and another broker is not connected")
)

// health is nil when all is well.
func (f figures) health() error {
	switch {
	case !f.Ready:
		return errNotReady
	case slices.ContainsFunc(f.Checks, func(c web.Check) bool { return !c.OK }):
		return errDegraded
	}
	return nil
}

// write prints the figures for a person.
func (f figures) write(out io.Writer, host string) error {
	var b strings.Builder
	health := "healthy"
	if f.health() != nil {
		health = fault(f.Ready)
	}
	fmt.Fprintf(&b, "%s: checkbus %s, %s, up %v\n", host, printable(f.Version), health, time.Since(f.Started).Truncate(time.Second))
	for _, c := range f.Checks {
		if !c.OK {
			fmt.Fprintf(&b, "%-10s%s\n", fault(c.Optional), printable(c.Name+": "+c.Reason))
		}
	}
	fmt.Fprintf(&b, "%-10s%d received, %d accepted, %d rejected%s\n", "results", f.Results.Received, f.Results.Accepted, f.Results.Rejected, f.causes())
	fmt.Fprintf(&b, "%-10s%s; %d told as events\n", "states", f.states(), f.Events)
	fmt.Fprintf(&b, "%-10s%s, of %v\n", "spool", f.Spool.backlog, settings.Size(f.Spool.Limit))
	for _, c := range f.Cores {
		fmt.Fprintf(&b, "%-10s%s, %d submitted, %d retried, %d rejected, %s\n", printable(c.Name), upOrDown(c.Up), c.Submitted, c.Retried, c.Rejected, c.Waiting)
	}
	for _, s := range f.Bridges {
		fmt.Fprintf(&b, "%-10s%s %s, %d sent, %d received, %d dropped, %d queued\n", "bridge", printable(s.Name), upOrDown(s.Up), s.Sent, s.Received, s.Dropped, s.Queued)
	}
	if s := f.Subscribe; s != nil {
		fmt.Fprintf(&b, "%-10s%s, %d received, %d held, %d published, %d dropped, %d waiting\n", "subscribe", upOrDown(s.Up), s.Received, s.Held, s.Published, s.Dropped, s.Waiting)
	}
	fmt.Fprintf(&b, "%-10s%d connected, %d messages in, %d out\n", "clients", f.MQTT.Connected, f.MQTT.MessagesIn, f.MQTT.MessagesOut)
	_, err := io.WriteString(out, b.String())
	return err
}

// fault says what a gateway is that is not well, ready or not.
func fault(ready bool) string {
	if ready {
		return "DEGRADED"
	}
	return "NOT READY"
}

func upOrDown(up bool) string {
	if up {
		return "up"
	}
	return "DOWN"
}

// causes lists why results were rejected.
func (f figures) causes() string {
	var list []string
	for _, cause := range slices.Sorted(maps.Keys(f.Results.Causes)) {
		if n := f.Results.Causes[cause]; n > 0 {
			list = append(list, fmt.Sprintf("%s %d", printable(cause), n))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// states lists how many hosts and services are in each state, the worst first.
func (f figures) states() string {
	var list []string
	for _, state := range []checks.State{
		checks.Down, checks.Critical, checks.Unreachable, checks.Unknown, checks.Warning, checks.Pending, checks.Up, checks.OK,
	} {
		if n := f.States[strings.ToLower(state.String())]; n > 0 {
			list = append(list, fmt.Sprintf("%d %v", n, state))
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (b backlog) String() string {
	if b.Records == 0 {
		return "none waiting"
	}
	return fmt.Sprintf("%d waiting, %d bytes, for up to %v", b.Records, b.Bytes, time.Duration(b.Oldest*float64(time.Second)).Truncate(time.Second))
}
