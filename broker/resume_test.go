package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestReceiveMaximumOfASubscriberIsKept(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			g := start(t)
			const most, burst = 20, 3000
			sub := g.dial(mqtttest.Options{ID: "sub", V5: true, Properties: []byte{0x21, 0, most}})
			sub.Subscribe("nagios/#", qos)
			sub.Subscribe("end", 0)
			c := g.dial(mqtttest.Options{ID: "p"})
			for i := range burst {
				c.Publish(result(uint16(i+1), qos, fmt.Sprint(i)))
			}
			var unacked []uint16
			for range most {
				unacked = append(unacked, sub.Next(mqtttest.PUBLISH).ID())
			}
			g.got(t, burst)
			eventually(t, "all are delivered", func() bool { return g.Stats().Pending == 0 })
			g.nothingMore(sub)
			for i := most; i < burst; i++ {
				id := unacked[0]
				unacked = unacked[1:]
				if qos == 2 {
					sub.Ack(mqtttest.PUBREC, id)
					sub.Acked(mqtttest.PUBREL, id)
					sub.Ack(mqtttest.PUBCOMP, id)
				} else {
					sub.Ack(mqtttest.PUBACK, id)
				}
				p := sub.Next(mqtttest.PUBLISH)
				if p.Payload() != fmt.Sprint(i) {
					t.Fatalf("message %d is %v", i, p)
				}
				unacked = append(unacked, p.ID())
			}
		})
	}
}

func TestReceiveMaximumIsKeptOnResumption(t *testing.T) {
	g := start(t)
	o := persistent("sub", true)
	o.Properties = append(o.Properties, 0x21, 0, 3)
	sub := g.dial(o)
	sub.Subscribe("a", 1)
	sub.Disconnect()
	g.allAway()
	for i := range 10 {
		g.tell("a", fmt.Sprint(i))
	}
	sub = g.dial(o)
	var unacked []uint16
	for i := range 10 {
		if i >= 3 {
			sub.Ping() // nothing comes before it
			sub.Ack(mqtttest.PUBACK, unacked[i-3])
		}
		p := sub.Next(mqtttest.PUBLISH)
		if p.Payload() != fmt.Sprint(i) {
			t.Fatalf("message %d is %v", i, p)
		}
		unacked = append(unacked, p.ID())
	}
}

func TestMessagesForAClientThatIsAwayComeInOrder(t *testing.T) {
	g := start(t)
	sub := g.dial(persistent("sub", false))
	sub.Subscribe("a", 1)
	sub.Disconnect()
	g.allAway()
	for round := range 2 {
		for i := range 100 {
			g.tell("a", fmt.Sprint(100*round+i))
		}
		sub = g.dial(persistent("sub", false))
		for i := range 100 * (round + 1) {
			if p := sub.Next(mqtttest.PUBLISH); p.Payload() != fmt.Sprint(i) {
				t.Fatalf("message %d is %v", i, p)
			}
		}
		_ = sub.Close()
		g.allAway()
	}
}

func TestPacketTooLargeForItsSubscriberDoesNotLockItOut(t *testing.T) {
	g := start(t)
	o := persistent("sub", true)
	sub := g.dial(o)
	sub.Subscribe("a", 1)
	sub.Disconnect()
	g.allAway()
	g.tell("a", strings.Repeat("x", 200))
	g.tell("a", "small")
	o.Properties = append(o.Properties, 0x27, 0, 0, 0, 100)
	if p := g.dial(o).Next(mqtttest.PUBLISH); p.Payload() != "small" {
		t.Errorf("got %v", p)
	}
}
