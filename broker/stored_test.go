package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestRetainedMessagesOfClientsAreBounded(t *testing.T) {
	const most = 8 << 20
	g := start(t, func(c *Config) { c.MaxRetained = most })
	full := strings.Repeat("x", most/8)
	for i := range 8 { // more than there is room for
		g.tellRetained(fmt.Sprint("checkbus/state/web", i), full)
	}
	sub := g.subscriber("other/#")
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	c.Publish(mqtttest.Message{Topic: "other/a", QoS: 1, ID: 1, Retain: true, Payload: "too much"})
	if p := c.Acked(mqtttest.PUBACK, 1); p.Code() != 0 || !strings.Contains(p.Reason(), "not kept") {
		t.Errorf("answered %#x %q", p.Code(), p.Reason())
	}
	if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "too much" {
		t.Errorf("delivered %v", p)
	}
	if s := g.Stats(); s.NotRetained != 1 || s.Retained != 8 {
		t.Errorf("%d not kept, %d kept; want 1 and 8", s.NotRetained, s.Retained)
	}
	g.counts(1, "retained message not kept", func(s Stats) int64 { return s.NotRetained })
	g.tellRetained("checkbus/state/web0", "")
	c.Publish(mqtttest.Message{Topic: "other/a", QoS: 1, ID: 2, Retain: true, Payload: "room"})
	if p := c.Acked(mqtttest.PUBACK, 2); p.Code() != 0 || p.Reason() != "" {
		t.Errorf("answered %#x %q", p.Code(), p.Reason())
	}
	if s := g.Stats(); s.NotRetained != 1 || s.Retained != 8 {
		t.Errorf("%d not kept, %d kept; want 1 and 8", s.NotRetained, s.Retained)
	}
}
