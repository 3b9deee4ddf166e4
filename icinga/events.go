package icinga

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"checkbus/checks"
)

// The types of events that say which objects there are, and those that say
// what became of one.
var (
	objectEvents = []string{"ObjectCreated", "ObjectDeleted"}
	stateEvents  = []string{
		"StateChange", "AcknowledgementSet", "AcknowledgementCleared",
		"DowntimeStarted", "DowntimeTriggered", "DowntimeRemoved", "Flapping",
	}
)

// An event is one of Icinga's event stream.
type event struct {
	Type string `json:"type"`

	// ObjectCreated, ObjectDeleted
	ObjectType string `json:"object_type"`
	ObjectName string `json:"object_name"`

	// StateChange, Acknowledgement..., Flapping
	Host        string `json:"host"`
	Service     string `json:"service"`
	CheckResult *struct {
		ExecutionEnd float64 `json:"execution_end"`
	} `json:"check_result"`

	// Downtime...
	Downtime struct {
		Host    string `json:"host_name"`
		Service string `json:"service_name"`
	} `json:"downtime"`
}

// subscribe opens the event stream. An account that may not hear of states is
// good for the rest. Icinga 2.13 answers it 404.
func (s *Sink) subscribe(ctx context.Context, c *core) (io.ReadCloser, error) {
	stream, err := c.feed.events(ctx, s.queue, slices.Concat(objectEvents, stateEvents))
	if !isStatus(err, http.StatusForbidden) && !isStatus(err, http.StatusNotFound) {
		return stream, err
	}
	if s.unheard.due() {
		s.log.Warn("acknowledgements, downtimes and changes by others are seen late: the account lacks a permission for events", "url", c.url, "types", stateEvents, "err", err)
	}
	return c.feed.events(ctx, s.queue, objectEvents)
}

// listen applies the event stream until it ends. Icinga's stream may stall for
// 5 s (lib/remote/eventqueue.cpp, EventsInbox), so what it tells may be known
// by then, and what it does not tell may be so: an object missing from the
// list may exist, and states are looked at as well.
func (s *Sink) listen(stream io.Reader) error {
	d := json.NewDecoder(stream)
	for {
		var e event
		if err := d.Decode(&e); err != nil {
			return err
		}
		s.hear(&e)
	}
}

func (s *Sink) hear(e *event) {
	switch e.Type {
	case "ObjectCreated":
		if o, ok := e.object(); ok {
			s.objects.setPresent(o)
			s.ledger.ask(o)
		}
	case "ObjectDeleted":
		if o, ok := e.object(); ok {
			s.objects.setGone(o)
			s.ledger.remove(o)
		}
	case "StateChange":
		if e.CheckResult != nil {
			s.ledger.checked(checks.Object{Host: e.Host, Service: e.Service}, micros(e.CheckResult.ExecutionEnd))
		}
	case "AcknowledgementSet", "AcknowledgementCleared", "Flapping":
		s.ledger.ask(checks.Object{Host: e.Host, Service: e.Service})
	case "DowntimeStarted", "DowntimeTriggered", "DowntimeRemoved":
		s.ledger.ask(checks.Object{Host: e.Downtime.Host, Service: e.Downtime.Service})
	}
}

// object is the host or service that came or went.
func (e *event) object() (o checks.Object, ok bool) {
	return objectOf(e.ObjectName), e.ObjectType == "Host" || e.ObjectType == "Service"
}
