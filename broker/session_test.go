package broker

import (
	"fmt"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
)

// again is a message as it is sent a second time.
func again(m mqtttest.Message) mqtttest.Message {
	m.Dup = true
	return m
}

// persistent are options of a client whose session outlives its connection.
func persistent(id string, v5 bool) mqtttest.Options {
	o := mqtttest.Options{ID: id, V5: v5, Persistent: true}
	if v5 {
		o.Properties = []byte{0x11, 0, 0, 1, 0} // session expiry interval 256 s
	}
	return o
}

func TestRedeliveryWhileTheVerdictIsOutIsNoSecondResult(t *testing.T) {
	for name, v5 := range versions {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s QoS %d", name, qos), func(t *testing.T) {
				g := start(t)
				g.pause()
				first := g.dial(persistent("p", v5))
				first.Publish(result(5, qos, "ok"))
				g.got(t, 1)
				second := g.dial(persistent("p", v5)) // takes over
				if !second.Connack.SessionPresent() {
					t.Error("no session present")
				}
				second.Publish(again(result(5, qos, "ok")))
				second.Ping()
				g.release()
				second.Acked(ackType(qos), 5)
				g.got(t, 1)
				if p := first.Closed(); v5 && p.Code() != 0x8E || !v5 && p.Type() != 0 {
					t.Errorf("the connection taken over was told %v", p)
				}
			})
		}
	}
}

func TestRedeliveryOfWhatWasTakenIsAckedAndNoSecondResult(t *testing.T) {
	for name, v5 := range versions {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s QoS %d", name, qos), func(t *testing.T) {
				g := start(t)
				c := g.dial(persistent("p", v5))
				c.Publish(result(5, qos, "ok"), result(6, qos, "ok too"))
				c.Acked(ackType(qos), 5)
				c.Acked(ackType(qos), 6)
				_ = c.Close()
				c = g.dial(persistent("p", v5))
				c.Publish(again(result(5, qos, "ok")), again(result(6, qos, "ok too")), again(result(7, qos, "new")))
				c.Acked(ackType(qos), 5)
				if p := c.Acked(ackType(qos), 6); p.Code() != 0 {
					t.Errorf("a redelivery was answered %#x", p.Code())
				}
				c.Acked(ackType(qos), 7)
				g.got(t, 3)
				if n := g.Stats().Redelivered; n != 2 {
					t.Errorf("%d redelivered, want 2", n)
				}
			})
		}
	}
}

func TestAnotherMessageWithTheSameIdentifierIsAResult(t *testing.T) {
	tests := map[string]mqtttest.Message{
		"QoS 1":                    result(5, 1, "new"),
		"QoS 1, redelivered":       again(result(5, 1, "new")),
		"QoS 1, the same, not DUP": result(5, 1, "ok"),
		"QoS 2":                    result(5, 2, "new"),
	}
	for name, m := range tests {
		for _, pending := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, verdict out: %t", name, pending), func(t *testing.T) {
				g := start(t)
				if pending {
					g.pause()
				}
				c := g.dial(persistent("p", false))
				c.Publish(result(5, m.QoS, "ok"))
				g.got(t, 1)
				c = g.dial(persistent("p", false))
				c.Publish(m)
				g.release()
				g.got(t, 2)
				c.Acked(ackType(m.QoS), 5)
			})
		}
	}
}

// mosquitto_pub with -c begins with the same identifier each time.
func TestTheSameMessageAfterAnotherWithItsIdentifierIsAResult(t *testing.T) {
	g := start(t)
	for n, m := range []mqtttest.Message{result(1, 1, "ok"), result(1, 1, "broken"), again(result(1, 1, "ok"))} {
		c := g.dial(persistent("p", false))
		c.Publish(m)
		c.Acked(mqtttest.PUBACK, 1)
		g.got(t, n+1)
		_ = c.Close()
	}
}

func TestNewSessionKnowsNoRedelivery(t *testing.T) {
	tests := map[string]func(g *gateway) mqtttest.Options{
		"3.1.1 clean session": func(*gateway) mqtttest.Options { return mqtttest.Options{ID: "p"} },
		"5 clean start":       func(*gateway) mqtttest.Options { return mqtttest.Options{ID: "p", V5: true} },
	}
	for name, next := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			c := g.dial(persistent("p", false))
			c.Publish(result(5, 1, "ok"))
			c.Acked(mqtttest.PUBACK, 5)
			c = g.dial(next(g))
			if c.Connack.SessionPresent() {
				t.Error("session present")
			}
			c.Publish(again(result(5, 1, "ok")))
			c.Acked(mqtttest.PUBACK, 5)
			g.got(t, 2)
		})
	}
}

func TestQoS2IsHandledOnce(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.pause()
			sub := g.subscriber("nagios/#")
			c := g.dial(mqtttest.Options{ID: "p", V5: v5})
			c.Publish(result(9, 2, "x"), again(result(9, 2, "x")))
			c.Ping()
			g.release()
			c.Acked(mqtttest.PUBREC, 9)
			c.Publish(again(result(9, 2, "x")))
			if p := c.Acked(mqtttest.PUBREC, 9); p.Code() != 0 {
				t.Errorf("a redelivery was answered %#x", p.Code())
			}
			c.Ack(mqtttest.PUBREL, 9)
			c.Acked(mqtttest.PUBCOMP, 9)
			c.Ack(mqtttest.PUBREL, 9)
			if p := c.Acked(mqtttest.PUBCOMP, 9); v5 != (p.Code() == 0x92) {
				t.Errorf("PUBREL of nothing was answered %#x", p.Code())
			}
			sub.Next(mqtttest.PUBLISH)
			g.nothingMore(sub)
			g.got(t, 1)

			c.Publish(result(9, 2, "x")) // released, so it is a new one
			c.Acked(mqtttest.PUBREC, 9)
			g.got(t, 2)
		})
	}
}

func TestRefusedQoS2FreesItsIdentifierInMQTT5(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "p", V5: true})
	c.Publish(result(4, 2, "invalid"))
	c.Acked(mqtttest.PUBREC, 4)
	c.Publish(result(4, 2, "invalid"))
	if p := c.Acked(mqtttest.PUBREC, 4); p.Code() != 0x99 {
		t.Errorf("answered %#x", p.Code())
	}
	g.got(t, 2)
}

func TestBeyondTheReceiveMaximum(t *testing.T) {
	flood := func() []mqtttest.Message {
		var all []mqtttest.Message
		for i := range receiveMaximum + 10 {
			all = append(all, result(uint16(i+1), 1, "x"))
		}
		return all
	}
	t.Run("an MQTT 5 client is disconnected", func(t *testing.T) {
		g := start(t)
		g.pause()
		c := g.dial(mqtttest.Options{ID: "p", V5: true})
		c.Publish(flood()...)
		if p := c.Closed(); p.Code() != 0x93 {
			t.Errorf("told %v", p)
		}
		g.counts(1, "too much that is not acknowledged", func(s Stats) int64 { return s.TooMany })
		g.got(t, receiveMaximum)
	})
	t.Run("a 3.1.1 client alone is not read from", func(t *testing.T) {
		g := start(t)
		g.pause()
		c := g.dial(mqtttest.Options{ID: "p"})
		c.Publish(flood()...)
		g.got(t, receiveMaximum)
		other := g.dial(mqtttest.Options{ID: "other"})
		other.Publish(mqtttest.Message{Topic: "elsewhere", QoS: 1, ID: 1})
		other.Acked(mqtttest.PUBACK, 1)
		g.release()
		for i := range receiveMaximum + 10 {
			c.Acked(mqtttest.PUBACK, uint16(i+1))
		}
	})
	t.Run("QoS 0 is not read", func(t *testing.T) {
		for name, payload := range map[string]string{"messages": "x", "bytes": string(make([]byte, 1<<20))} {
			t.Run(name, func(t *testing.T) {
				g := start(t)
				g.pause()
				c := g.dial(mqtttest.Options{ID: "p", V5: true})
				limit := min(receiveMaximum, heldBytes/len(payload))
				var sent sync.WaitGroup
				sent.Go(func() {
					for range limit + 5 {
						c.Publish(result(0, 0, payload))
					}
				})
				g.got(t, limit)
				if n := g.Stats().Pending; n != int64(limit) {
					t.Errorf("%d pending, want %d", n, limit)
				}
				g.release()
				sent.Wait()
				g.got(t, limit+5)
			})
		}
	})
	t.Run("a client that waits can be taken over", func(t *testing.T) {
		g := start(t)
		g.pause()
		g.dial(mqtttest.Options{ID: "p"}).Publish(flood()...)
		g.got(t, receiveMaximum)
		g.dial(mqtttest.Options{ID: "p"}).Ping()
	})
}

func TestTakeoverUnderLoad(t *testing.T) {
	g := start(t)
	sub := g.subscriber("fan/#")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "same", Persistent: i%2 == 0, V5: i%4 < 2})
				if c.Connack.Type() == mqtttest.CONNACK {
					_, _ = c.Write(result(1, 1, "x").Encode(i%4 < 2))
				}
			}
		})
	}
	all.Wait()
	last := g.dial(mqtttest.Options{ID: "same"})
	last.Subscribe("to/same", 0)
	if err := g.Publish("to/same", []byte("hello"), false); err != nil {
		t.Fatal(err)
	}
	if p := last.Next(mqtttest.PUBLISH); p.Payload() != "hello" {
		t.Errorf("got %v", p)
	}
	g.nothingMore(sub)
	eventually(t, "one connection each is left", func() bool { return g.Stats().Connected == 2 })
}

func TestSessionsAreBounded(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections, c.MaxSessions = 5, 10 })
	for i := range 30 {
		c := g.dial(persistent(fmt.Sprintf("p%d", i), i%2 == 0))
		c.Subscribe("a", 1)
		c.Disconnect()
		g.allAway() // else there may be no room for the next
	}
	eventually(t, "10 sessions are left", func() bool { return g.Stats().Sessions <= 10 })
	eventually(t, "their subscriptions, too", func() bool { return g.Stats().Subscriptions <= 10 })
	g.counts(20, "longest away ended", func(s Stats) int64 { return s.PushedOut })
	for _, clean := range []bool{false, true} {
		c := g.dial(mqtttest.Options{ID: "p29", Persistent: !clean})
		if clean == c.Connack.SessionPresent() {
			t.Errorf("clean %t, session present %t", clean, c.Connack.SessionPresent())
		}
		c.Disconnect()
	}
}

func TestCleanSessionsLeaveNothing(t *testing.T) {
	g := start(t)
	for name, v5 := range versions {
		c := g.dial(mqtttest.Options{ID: "p" + name, V5: v5})
		c.Subscribe("a", 1)
		c.Publish(result(1, 2, "x"))
		c.Acked(mqtttest.PUBREC, 1)
		_ = c.Close()
	}
	// A client that is gone before it could be sent a CONNACK.
	c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "tiny", V5: true, Properties: []byte{0x27, 0, 0, 0, 1}})
	if c.Connack.Type() != 0 {
		t.Errorf("a client that takes packets of 1 byte was sent %v", c.Connack)
	}
	eventually(t, "no session is left", func() bool { return g.Stats().Sessions == 0 && g.server.Clients.Len() == 0 })
	if n := g.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestOnlyLastingSessionsRememberWhatTheyTook(t *testing.T) {
	g := start(t)
	remembered := func(o mqtttest.Options) int {
		c := g.dial(o)
		for id := range uint16(3) {
			c.Publish(result(id+1, 1, "x"))
			c.Acked(mqtttest.PUBACK, id+1)
		}
		g.Broker.mu.Lock()
		s := g.sessions[o.ID]
		g.Broker.mu.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.lately.marks)
	}
	for name, v5 := range versions {
		if n := remembered(mqtttest.Options{ID: "clean", V5: v5}); n != 0 {
			t.Errorf("%s: a clean session remembers %d", name, n)
		}
		if n := remembered(persistent("lasting"+name, v5)); n != 3 {
			t.Errorf("%s: a lasting session remembers %d", name, n)
		}
	}
	var r ring
	for m := range uint64(lateMarks + 10) {
		r.add(m)
	}
	if len(r.marks) != lateMarks || r.has(9) || !r.has(10) || !r.has(lateMarks+9) {
		t.Errorf("a ring of %d keeps 9: %t, 10: %t, the last: %t", len(r.marks), r.has(9), r.has(10), r.has(lateMarks+9))
	}
}

func TestNothingOvertakesWhatIsToBeSentAgain(t *testing.T) {
	g := start(t)
	c := g.dial(persistent("p", false))
	c.Publish(result(1, 1, "full"), result(2, 1, "later"), result(3, 2, "last"))
	c.Closed()
	if got := payloads(g.got(t, 1)); got[0] != "full" {
		t.Errorf("%q is given to accept first", got)
	}
}

// What was published over one connection may be refused when the client is on
// another, and then sends it again.
func TestNothingOvertakesWhatIsOutOfAConnectionBefore(t *testing.T) {
	g := start(t)
	g.pause()
	g.dial(persistent("p", false)).Publish(result(1, 1, "full"))
	g.got(t, 1)
	second := g.dial(persistent("p", false)) // takes over
	second.Publish(again(result(1, 1, "full")), result(2, 1, "later"))
	eventually(t, "the repetition is known", func() bool { return g.Stats().Redelivered == 1 })
	g.release()
	second.Closed()
	g.got(t, 1)
	third := g.dial(persistent("p", false))
	third.Publish(again(result(1, 1, "not full")), again(result(2, 1, "later")))
	third.Acked(mqtttest.PUBACK, 1)
	third.Acked(mqtttest.PUBACK, 2)
	if got := fmt.Sprint(payloads(g.got(t, 3))); got != "[full not full later]" {
		t.Errorf("given to accept: %s", got)
	}
}
