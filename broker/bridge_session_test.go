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

// What is dropped for a bridge's full queue is a figure of that bridge.
func TestABridgeCountsWhatItsQueueDrops(t *testing.T) {
	g := start(t, bridgeTo(realtest.FreeAddr(t), "away", "a/# out 1"), bridgeTo(realtest.FreeAddr(t), "idle", "b/# out 1"), func(c *Config) {
		c.Queue.Messages = 10
	})
	g.publish("a/x", numbers(0, 10*bridgeQueue+50)...)
	eventually(t, "the oldest are dropped, and counted", func() bool {
		g.written()
		away := g.Bridges()[0]
		return away.Queued <= 10*bridgeQueue && away.Queued+away.Dropped == 10*bridgeQueue+50
	})
	if idle := g.Bridges()[1]; idle.Dropped != 0 {
		t.Errorf("the other bridge: %+v", idle)
	}
}

func TestABridgeThatIsDownSaysWhy(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo(m.Addr, "dc2", "a/# out 1"), from(t, "mqtt://"+m.Addr))
	states := func() [2]string { return [2]string{g.Bridges()[0].Reason, g.Stats().Subscribe.Reason} }
	g.bridged()
	g.subscribed()
	if got := states(); got != [2]string{} {
		t.Errorf("while they are up: %q", got)
	}
	m.Stop()
	eventually(t, "both say that nobody is there", func() bool {
		got := states()
		return strings.Contains(got[0], "connection refused") && strings.Contains(got[1], "connection refused")
	})
	m.Start()
	eventually(t, "they have no more to say", func() bool { return states() == [2]string{} })
	if got := whyNot(false, nil); got != "not connected" {
		t.Errorf("before the first attempt: %q", got)
	}
}
