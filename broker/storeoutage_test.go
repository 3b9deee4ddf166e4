package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// Wherever the disk fails, what needs it is refused, what does not goes on, and
// what was acknowledged is there when the disk works again.
func TestMessagesSurviveADiskThatFails(t *testing.T) {
	for _, after := range []int64{0, 1, 2, 5, 13, 34} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			disk := realtest.NewBrokenDisk()
			g := start(t, func(c *Config) { c.disk = disk })
			g.leave("sub", "a/#")
			other := g.subscriber("plain")
			c := g.dial(mqtttest.Options{ID: "c", V5: true})
			publish := func(id uint16, topic string) byte {
				c.Publish(mqtttest.Message{Topic: topic, Payload: fmt.Sprint(id), QoS: 1, ID: id, Retain: topic == "a/kept"})
				return c.Acked(mqtttest.PUBACK, id).Code()
			}
			publish(1, "a/kept")
			var acked []string
			disk.BreakAfter(after)
			id := uint16(2)
			for ; publish(id, "a/b") == 0; id++ {
				acked = append(acked, fmt.Sprint(id))
			}
			if publish(id+1, "a/kept") == 0 {
				t.Error("a retained message is taken while the disk fails")
			}
			if publish(id+2, "plain") != 0 || other.Next(mqtttest.PUBLISH).Payload() != fmt.Sprint(id+2) {
				t.Error("a message that needs no disk is not delivered")
			}
			g.publish("nagios/web1", "a result")
			disk.Mend()
			eventually(t, "the store works again", func() bool { return !g.store.failed() })
			if publish(id+3, "a/b") != 0 {
				t.Fatal("refused after the disk was mended")
			}
			acked = append(acked, fmt.Sprint(id+3))
			if n := strings.Count(g.log.String(), "broker store"); n != 2 {
				t.Errorf("%d lines about the outage:\n%s", n, g.log)
			}
			g = g.crash()
			keeper := g.subscriber("a/kept")
			if p := keeper.Next(mqtttest.PUBLISH); p.Payload() != "1" {
				t.Errorf("%v is retained, want what was acknowledged", p)
			}
			sub := g.dial(persistent("sub", true))
			expect(t, sub, false, append([]string{"1"}, acked...)...)
			sub.Ping()
			eventually(t, "nothing waits", func() bool { return g.store.size() == 0 && g.Stats().Stored == 1 })
		})
	}
}

func TestFullDiskRefusesWhatIsNew(t *testing.T) {
	g := start(t)
	g.leave("sub", "a/#")
	g.publish("a/b", "before")
	reserve := g.store.reserve
	full := func(full bool) {
		g.written()
		g.store.mu.Lock()
		defer g.store.mu.Unlock()
		if g.store.reserve = reserve; full {
			g.store.reserve = 1 << 62
		}
	}
	full(true)
	m := mqtttest.Message{Topic: "a/b", Payload: "refused", QoS: 1, ID: 1}
	c := g.dial(mqtttest.Options{ID: "five", V5: true})
	c.Publish(m)
	if p := c.Acked(mqtttest.PUBACK, 1); p.Code() != 0x97 || !strings.Contains(p.Reason(), "free") {
		t.Errorf("MQTT 5 is answered %#x %q", p.Code(), p.Reason())
	}
	three := g.dial(mqtttest.Options{ID: "three"})
	three.Publish(m)
	three.Closed()
	c.Publish(mqtttest.Message{Topic: "nobody's", QoS: 1, ID: 2}, mqtttest.Message{Topic: "nagios/web1", QoS: 1, ID: 3})
	c.Acked(mqtttest.PUBACK, 2)
	if p := c.Acked(mqtttest.PUBACK, 3); p.Code() != 0 {
		t.Errorf("a result is answered %#x %q", p.Code(), p.Reason())
	}
	new := g.dial(persistent("new", true))
	new.Send(subscription5("a", 1))
	if p := new.Closed(); p.Code() != 0x97 {
		t.Errorf("a subscription is answered %v", p)
	}
	full(false)
	g.publish("a/b", "after")
	expect(t, g.dial(persistent("sub", true)), false, "before", "after")
}

func TestMessagesRefusedTogetherLeaveWhatWasRetained(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	g := start(t, func(c *Config) { c.disk = disk })
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	publish := func(payloads ...string) {
		var messages []mqtttest.Message
		for i, p := range payloads {
			messages = append(messages, mqtttest.Message{Topic: "a", Payload: p, QoS: 1, ID: uint16(i + 1), Retain: true})
		}
		c.Publish(messages...)
		for i := range payloads {
			c.Acked(mqtttest.PUBACK, uint16(i+1))
		}
	}
	publish("taken")
	disk.BreakAfter(0)
	publish("refused", "refused too", "and this")
	disk.Mend()
	eventually(t, "what was taken is retained", func() bool { return string(g.retainedOn("a").Payload) == "taken" })
	eventually(t, "the store works again", func() bool { return !g.store.failed() })
	g.written()
	g = g.crash()
	if p := g.subscriber("a").Next(mqtttest.PUBLISH); p.Payload() != "taken" {
		t.Errorf("%v is retained", p)
	}
}

func TestSubscriptionSurvivesThatItIsRefusedAgain(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	g := start(t, func(c *Config) { c.disk = disk })
	c := g.dial(persistent("sub", true))
	c.Subscribe("a", 1)
	disk.BreakAfter(0)
	c.Send(subscription5("a", 1))
	c.Closed()
	disk.Mend()
	eventually(t, "the store works again", func() bool { return !g.store.failed() })
	g.written()
	g = g.crash()
	g.publish("a", "x")
	expect(t, g.dial(persistent("sub", true)), false, "x")
}

func TestPacketIdentifierIsFreeOnDiskBeforeTheClientIsToldSo(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			disk := realtest.NewBrokenDisk()
			g := start(t, func(c *Config) { c.disk = disk })
			c := g.dial(persistent("c", v5))
			c.Publish(mqtttest.Message{Topic: "a", QoS: 2, ID: 1})
			c.Acked(mqtttest.PUBREC, 1)
			disk.BreakAfter(0)
			for range 2 {
				c.Ack(mqtttest.PUBREL, 1)
				c.Ping()
			}
			disk.Mend()
			c.Acked(mqtttest.PUBCOMP, 1)
			c.Acked(mqtttest.PUBCOMP, 1)
		})
	}
}

// subscription5 is a SUBSCRIBE of MQTT 5.
func subscription5(filter string, options byte) []byte {
	return mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, append(append([]byte{0, 9, 0}, mqtttest.Str(filter)...), options))
}

// A client of MQTT 3.1.1 is not told which of its messages were refused, and sends
// all again: none of them may be on disk from before, wherever it failed.
func TestWhatWasRefusedBehindAnotherIsNotOnDisk(t *testing.T) {
	var payloads []string
	for i := range 40 {
		payloads = append(payloads, fmt.Sprint(i))
	}
	for after := range int64(8) {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			disk := realtest.NewBrokenDisk()
			g := start(t, func(c *Config) { c.disk = disk })
			g.leave("sub", "a")
			disk.BreakAfter(after)
			var taken int
			publish := func() {
				c := g.dial(persistent("c", false))
				defer c.Close()
				var messages []mqtttest.Message
				for i, p := range payloads[taken:] {
					messages = append(messages, mqtttest.Message{Topic: "a", Payload: p, QoS: 1, ID: uint16(i + 1)})
				}
				c.Publish(messages...)
				for range messages {
					if p, err := c.Read(); err != nil || p.Type() != mqtttest.PUBACK {
						return
					}
					taken++
				}
			}
			for taken < len(payloads) {
				publish()
				disk.Mend()
				eventually(t, "the store works again", func() bool { return !g.store.failed() })
			}
			sub := g.dial(persistent("sub", true))
			expect(t, sub, false, payloads...)
			sub.Ping()
			eventually(t, "nothing waits", func() bool { return g.store.size() == 0 && g.Stats().Stored == 0 })
		})
	}
}
