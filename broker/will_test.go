package broker

import (
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// leaving are options of a client with a will.
func leaving(v5 bool, w mqtttest.Message) mqtttest.Options {
	return mqtttest.Options{ID: "leaving", V5: v5, Will: &w}
}

func TestWillIsAResultOnceTheClientIsLost(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			sub := g.subscriber("nagios/#")
			g.pause()
			c := g.dial(leaving(v5, result(0, 1, "down")))
			_ = c.Close()
			m := g.got(t, 1)[0]
			if !m.Will || m.Client != "leaving" || string(m.Payload) != "down" || m.Topic != "nagios/web1/disk" {
				t.Errorf("accept got %+v", m)
			}
			g.nothingMore(sub)
			g.release()
			if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "down" {
				t.Errorf("delivered %v", p)
			}
			g.nothingMore(sub)
		})
	}
}

func TestRefusedWillIsNeitherDeliveredNorKept(t *testing.T) {
	g := start(t)
	sub := g.subscriber("nagios/#")
	_ = g.dial(leaving(false, mqtttest.Message{Topic: "nagios/web1", Payload: "invalid", QoS: 1, Retain: true})).Close()
	g.got(t, 1)
	eventually(t, "the verdict is in", func() bool { return g.Stats().Pending == 0 })
	g.nothingMore(sub)
	g.nothingMore(g.subscriber("nagios/+"))
}

func TestWillOnAnotherTopicKeepsFlagsAndProperties(t *testing.T) {
	g := start(t)
	contentType := append([]byte{0x03}, mqtttest.Str("text/plain")...)
	_ = g.dial(leaving(true, mqtttest.Message{Topic: "gone", Payload: "bye", QoS: 1, Retain: true, Properties: contentType})).Close()
	eventually(t, "the will is retained", func() bool { return g.Stats().Retained == 1 })
	sub := g.dial(mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("gone", 1)
	p := sub.Next(mqtttest.PUBLISH)
	if p.Payload() != "bye" || p.QoS() != 1 || !p.Retain() || string(p.Properties()) != string(contentType) {
		t.Errorf("got %v, QoS %d, retain %t, properties %x", p, p.QoS(), p.Retain(), p.Properties())
	}
}

func TestWillMayBeEmpty(t *testing.T) {
	g := start(t)
	if err := g.Publish("alive", []byte("yes"), true); err != nil {
		t.Fatal(err)
	}
	_ = g.dial(leaving(false, mqtttest.Message{Topic: "alive", Retain: true})).Close()
	eventually(t, "the retained message is removed", func() bool { return g.Stats().Retained == 0 })
}

func TestNoWillAfterADisconnect(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.dial(leaving(v5, result(0, 1, "down"))).Disconnect()
			g.allAway()
			g.got(t, 0)
		})
	}
	for name, packet := range map[string][]byte{
		"short": {mqtttest.DISCONNECT << 4, 1, 4},
		"long":  {mqtttest.DISCONNECT << 4, 2, 4, 0},
	} {
		t.Run("but with one that asks for it, "+name, func(t *testing.T) {
			g := start(t)
			g.dial(leaving(true, result(0, 1, "down"))).Send(packet)
			g.allAway()
			g.got(t, 1)
		})
	}
}

func TestWillOnTakeover(t *testing.T) {
	g := start(t)
	g.dial(leaving(false, result(0, 1, "down")))
	g.dial(leaving(false, result(0, 1, "down too")))
	if m := g.got(t, 1)[0]; string(m.Payload) != "down" {
		t.Errorf("got %+v", m)
	}
}

func TestNoWillWhenTheGatewayStops(t *testing.T) {
	g := start(t)
	c := g.dial(leaving(true, result(0, 1, "down")))
	g.stop()
	if p := c.Closed(); p.Code() != 0x8B {
		t.Errorf("told %v", p)
	}
	g.got(t, 0)
}

func TestDelayedWill(t *testing.T) {
	delayed := leaving(true, result(0, 1, "down"))
	delayed.Persistent = true
	delayed.Will.Properties = []byte{0x18, 0, 0, 0, 60}
	delayed.Properties = []byte{0x11, 0, 0, 1, 0}
	gone := func(t *testing.T) *gateway {
		g := start(t)
		_ = g.dial(delayed).Close()
		g.allAway()
		g.got(t, 0)
		return g
	}
	t.Run("comes when its delay is over", func(t *testing.T) {
		g := gone(t)
		g.expire(time.Now().Add(time.Minute))
		g.got(t, 1)
		g.expire(time.Now().Add(time.Hour))
		g.got(t, 1)
	})
	t.Run("does not come when the client is back", func(t *testing.T) {
		g := gone(t)
		back := delayed
		back.Will = nil
		g.dial(back)
		g.expire(time.Now().Add(time.Hour))
		g.got(t, 0)
	})
	t.Run("comes when the session is begun anew", func(t *testing.T) {
		g := gone(t)
		g.dial(mqtttest.Options{ID: "leaving", V5: true})
		g.got(t, 1)
	})
	t.Run("comes when the session ends before", func(t *testing.T) {
		g := start(t)
		short := delayed
		short.Properties = []byte{0x11, 0, 0, 0, 5}
		_ = g.dial(short).Close()
		g.allAway()
		g.expire(time.Now().Add(6 * time.Second))
		g.got(t, 1)
	})
	t.Run("comes at once without a session", func(t *testing.T) {
		g := start(t)
		none := delayed
		none.Properties, none.Persistent = nil, false
		_ = g.dial(none).Close()
		g.got(t, 1)
	})
}

func TestDeniedWillIsRefusedAloud(t *testing.T) {
	g := start(t)
	g.elsewhere()
	_ = g.dial(leaving(false, result(0, 1, "down"))).Close()
	if m := g.refused(t, 1)[0]; !m.Will {
		t.Errorf("got %+v", m)
	}
	g.got(t, 0)
}
