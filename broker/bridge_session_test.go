package broker

import (
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func TestWhatWaitedOnDiskHasItsPath(t *testing.T) {
	far := start(t)
	r := newRelay(t, far.addr)
	r.set(true)
	dir := t.TempDir()
	begin := func() *gateway {
		return start(t, func(c *Config) { c.Dir, c.Identity = dir, "here" }, bridgeTo(r.Addr().String(), "far", "a/# out 1"))
	}
	g := begin()
	path := append(append([]byte{38}, mqtttest.Str(pathProperty)...), mqtttest.Str("there")...)
	publish(g.dial(mqtttest.Options{ID: "pub", V5: true}), mqtttest.Message{Topic: "a/x", Payload: "x", QoS: 1, Properties: path})
	g.stop()
	begin()
	sub := watchAll(t, far.addr, "sub")
	r.set(false)
	got := received(t, sub, payload("x"))[0]
	if want := string(mqtttest.Str("there,here")); !strings.Contains(string(got.Properties()), want) {
		t.Errorf("the properties are %q", got.Properties())
	}
}

func TestABridgesSessionFollowsTheSettings(t *testing.T) {
	dir := t.TempDir()
	away := realtest.FreeAddr(t)
	stored := func(c *Config) { c.Dir = dir }
	publishAll := func(g *gateway, topics ...string) {
		pub := g.dial(mqtttest.Options{ID: "pub"}) // let in once the bridges are prepared
		for _, topic := range topics {
			send(pub, topic, 1, "x")
		}
		pub.Disconnect()
	}
	g := start(t, stored, bridgeTo(away, "dc2", "a/# out 1", "b/# out 1"))
	publishAll(g, "a/1", "b/1", "c/1")
	eventually(t, "two wait", func() bool { return g.Bridges()[0].Queued == 2 })
	g.stop()

	g = start(t, stored, bridgeTo(away, "dc2", "b/# out 1", "c/# out 1"))
	publishAll(g, "a/2", "b/2", "c/2")
	eventually(t, "those of before, and two more, wait", func() bool { return g.Bridges()[0].Queued == 4 })
	g.stop()

	g = start(t, stored, bridgeTo(away, "dc3", "a/# out 1"))
	publishAll(g)
	eventually(t, "the bridge that is no more has no session", func() bool { return g.Stats().Sessions == 1 && g.Stats().Subscriptions == 1 })
}
