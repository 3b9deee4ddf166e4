package broker

import (
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// result is a message below the results root.
func result(id uint16, qos byte, payload string) mqtttest.Message {
	return mqtttest.Message{Topic: "nagios/web1/disk", Payload: payload, QoS: qos, ID: id}
}

// ackType is what acknowledges a publish.
func ackType(qos byte) int {
	if qos == 2 {
		return mqtttest.PUBREC
	}
	return mqtttest.PUBACK
}

func TestAckComesAfterTheVerdictAndTheReaderGoesOn(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.pause()
			sub := g.subscriber("nagios/#")
			c := g.dial(mqtttest.Options{ID: "p", V5: v5})
			c.Publish(result(7, 1, "ok"))
			g.got(t, 1)
			c.Ping() // answered while the verdict is still out
			g.nothingMore(sub)
			g.release()
			c.Acked(mqtttest.PUBACK, 7)
			if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "ok" || p.Topic() != "nagios/web1/disk" {
				t.Errorf("delivered %v", p)
			}
		})
	}
}

func TestMessageCarriesWhatThePublisherSaid(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "web1-agent", User: "root"})
	c.Publish(mqtttest.Message{Topic: "nagios", Payload: "{}", QoS: 1, ID: 9, Dup: true, Retain: true})
	c.Acked(mqtttest.PUBACK, 9)
	m := g.got(t, 1)[0]
	if m.Topic != "nagios" || string(m.Payload) != "{}" || m.Client != "web1-agent" || m.QoS != 1 ||
		m.PacketID != 9 || !m.Dup || !m.Retain || m.Will {
		t.Errorf("accept got %+v", m)
	}
	if m.User != "" {
		t.Errorf("an unproved user name was passed on: %q", m.User)
	}
}

func TestOnlyTheRootAndBelowAreResults(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "p"})
	for i, topic := range []string{"nagios2/web1", "nagio", "other/nagios/web1", "/nagios", "nagios", "nagios/", "nagios/a/b"} {
		c.Publish(mqtttest.Message{Topic: topic, QoS: 1, ID: uint16(i + 1)})
		c.Acked(mqtttest.PUBACK, uint16(i+1))
	}
	g.got(t, 3)
}

func TestAcksComeInTheOrderOfArrival(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.pause()
			c := g.dial(mqtttest.Options{ID: "p", V5: v5})
			c.Publish(
				result(1, 1, "ok"),
				mqtttest.Message{Topic: "other", QoS: 1, ID: 2},
				mqtttest.Message{Topic: "checkbus/status", QoS: 1, ID: 3}, // denied
				result(4, 2, "invalid"),
				result(5, 1, "ok"),
			)
			g.got(t, 3)
			g.release()
			c.Acked(mqtttest.PUBACK, 1)
			c.Acked(mqtttest.PUBACK, 2)
			c.Acked(mqtttest.PUBACK, 3)
			c.Acked(mqtttest.PUBREC, 4)
			c.Acked(mqtttest.PUBACK, 5)
		})
	}
}

func TestRefusalsAreToldInMQTT5(t *testing.T) {
	tests := map[string]struct {
		code      byte
		reason    string
		delivered bool
	}{
		"invalid": {0x99, "invalid: exit_code is missing", false},
		"unknown": {0x90, "rejected: unknown object web1", false},
		"denied":  {0x87, "rejected: access denied", false},
		"stale":   {0x83, "rejected: stale", false},
		"full":    {0x97, "spool full", false},
		"disk":    {0x80, "write: input/output error", false},
		"partial": {0x00, "part of the batch was refused: item 2: exit_code is missing", true},
	}
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "p", V5: true})
	sub := g.subscriber("nagios/#")
	for payload, want := range tests {
		t.Run(payload, func(t *testing.T) {
			for _, qos := range []byte{1, 2} {
				c.Publish(result(5, qos, payload))
				p := c.Acked(ackType(qos), 5)
				if p.Code() != want.code || p.Reason() != want.reason {
					t.Errorf("QoS %d: code %#x %q, want %#x %q", qos, p.Code(), p.Reason(), want.code, want.reason)
				}
				if p.Code() == 0 && qos == 2 {
					c.Ack(mqtttest.PUBREL, 5)
					c.Acked(mqtttest.PUBCOMP, 5)
				}
				if want.delivered {
					sub.Next(mqtttest.PUBLISH)
				}
			}
			g.nothingMore(sub)
		})
	}
}

func TestFinalRefusalsAreAckedAndDroppedInMQTT311(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "p"})
	sub := g.subscriber("nagios/#")
	for _, payload := range []string{"invalid", "unknown", "stale"} {
		c.Publish(result(1, 1, payload), result(2, 2, payload))
		c.Acked(mqtttest.PUBACK, 1)
		c.Acked(mqtttest.PUBREC, 2)
		c.Ack(mqtttest.PUBREL, 2)
		c.Acked(mqtttest.PUBCOMP, 2)
	}
	g.nothingMore(sub)
}

func TestWhatIsNotStoredEndsAnMQTT311ConnectionWithoutAck(t *testing.T) {
	for _, payload := range []string{"full", "disk"} {
		t.Run(payload, func(t *testing.T) {
			g := start(t)
			g.pause()
			c := g.dial(mqtttest.Options{ID: "p"})
			c.Publish(result(1, 1, "ok"), result(2, 1, payload), result(3, 1, "ok"))
			g.got(t, 3)
			g.release()
			c.Acked(mqtttest.PUBACK, 1)
			if p, err := c.Read(); err == nil {
				t.Errorf("after the one not stored came %v", p)
			}
		})
	}
}

func TestReasonStringsAreLeftOutWhereNotWelcome(t *testing.T) {
	tests := map[string]struct {
		properties []byte
		longest    int
	}{
		"wanted":              {nil, maxReasonString},
		"no problem info":     {[]byte{0x17, 0}, 0},
		"packets of 60 bytes": {[]byte{0x27, 0, 0, 0, 60}, 60},
		"packets of 14 bytes": {[]byte{0x27, 0, 0, 0, 14}, 14},
		"packets of 15 bytes": {[]byte{0x27, 0, 0, 0, 15}, 15},
	}
	g := start(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := g.dial(mqtttest.Options{ID: "p", V5: true, Properties: tt.properties})
			c.Publish(result(1, 1, "long"))
			p := c.Acked(mqtttest.PUBACK, 1)
			if p.Code() != 0x99 || len(p.Reason()) > tt.longest {
				t.Errorf("code %#x, reason string of %d bytes", p.Code(), len(p.Reason()))
			}
			if strings.ContainsAny(p.Reason(), "\n\uFFFD") {
				t.Errorf("reason string %q", p.Reason())
			}
			if tt.longest == maxReasonString && len(p.Reason()) < maxReasonString-3 {
				t.Errorf("only %d bytes of reason string", len(p.Reason()))
			}
		})
	}
}

func TestQoS0IsDeliveredAfterTheVerdict(t *testing.T) {
	g := start(t)
	g.pause()
	sub := g.subscriber("nagios/#")
	c := g.dial(mqtttest.Options{ID: "p"})
	c.Publish(result(0, 0, "ok"), result(0, 0, "invalid"))
	g.got(t, 2)
	g.nothingMore(sub)
	g.release()
	if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "ok" {
		t.Errorf("delivered %v", p)
	}
	g.nothingMore(sub)
}
