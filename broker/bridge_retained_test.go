package broker

import (
	"bytes"
	"net"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func TestRetainedMessagesDoNotComeWithEachReconnect(t *testing.T) {
	m := realtest.StartMosquitto(t)
	there := watchAll(t, m.Addr, "there")
	publish(there, mqtttest.Message{Topic: "in/kept", Payload: "kept there", QoS: 1, Retain: true})
	r := newRelay(t, m.Addr)
	r.set(true)
	g := start(t, bridgeTo(r.Addr().String(), "dc2", "out/# out 1", "in/# in 1", "+/state/# in 1"))
	if err := g.Publish("out/kept", []byte("kept here"), true); err != nil {
		t.Fatal(err)
	}
	here := g.dial(mqtttest.Options{ID: "here", V5: true}) // before the bridge is up: who subscribes while a message is retained may get it twice
	here.Subscribe("in/#", 1)
	here.Subscribe("checkbus/#", 1)
	r.set(false)
	received(t, there, payload("kept here"))
	received(t, here, payload("kept there"))
	there.Publish(mqtttest.Message{Topic: "checkbus/state/web1", Payload: "only the gateway says so"})
	publish(g.dial(mqtttest.Options{ID: "pub"}), mqtttest.Message{Topic: "out/x", Payload: "1", QoS: 1})
	received(t, there, payload("1"))
	eventually(t, "it is acknowledged", func() bool { return g.Bridges()[0].Queued == 0 })
	r.set(true)
	eventually(t, "it is down", func() bool { return !g.Bridges()[0].Up })
	r.set(false)
	g.bridged()
	publish(g.dial(mqtttest.Options{ID: "pub"}), mqtttest.Message{Topic: "out/x", Payload: "2", QoS: 1})
	if got := received(t, there, payload("2")); len(got) != 1 {
		t.Errorf("after a reconnect came as well: %v", got)
	}
	publish(mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "pub"}), mqtttest.Message{Topic: "in/x", Payload: "3", QoS: 1})
	if got := received(t, here, payload("3")); len(got) != 1 {
		t.Errorf("came as well: %v", got)
	}
}

// However soon the other broker hangs up, it gets what was retained before the
// bridge was there.
func TestRetainedMessagesComeThoughTheFirstConnectionBreaks(t *testing.T) {
	got := make(chan struct{})
	far := fakeBroker(t, func(nc net.Conn, n int) {
		_, err := nc.Write([]byte{0x20, 3, 0, 0, 0}) // CONNACK
		if n != 2 {
			return
		}
		var seen []byte
		buf := make([]byte, 4096)
		for n := 0; err == nil && !bytes.Contains(seen, []byte("out/kept")); seen = append(seen, buf[:n]...) {
			n, err = nc.Read(buf)
		}
		if err == nil {
			close(got)
		}
	})
	dir := t.TempDir()
	stored := func(c *Config) { c.Dir = dir }
	g := start(t, stored)
	publish(g.dial(mqtttest.Options{ID: "pub"}), mqtttest.Message{Topic: "out/kept", Payload: "kept here", QoS: 1, Retain: true})
	g.stop()
	start(t, stored, bridgeTo(far, "far", "out/# out 1"))
	select {
	case <-got:
	case <-time.After(mqtttest.Patience):
		t.Error("it never came")
	}
}

// Nothing of QoS 0 waits for a bridge, but what is true now is told when it is
// back.
func TestRetainedMessagesOfQoS0ComeWithEachReconnect(t *testing.T) {
	m := realtest.StartMosquitto(t)
	there := watchAll(t, m.Addr, "there")
	r := newRelay(t, m.Addr)
	g := start(t, bridgeTo(r.Addr().String(), "dc2", "out/# out"))
	g.bridged()
	g.tellRetained("out/kept", "before")
	received(t, there, payload("before"))
	r.set(true)
	eventually(t, "it is down", func() bool { return !g.Bridges()[0].Up && g.Stats().Connected == 0 })
	g.tellRetained("out/kept", "meanwhile")
	r.set(false)
	received(t, there, payload("meanwhile"))
}
