package broker

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// bridgeTo makes a bridge with quick reconnects a setting of a gateway.
func bridgeTo(address, name string, topics ...string) func(*Config) {
	return withBridge(Bridge{Name: name, Remote: Remote{Address: []string{address}}, Topics: topics})
}

func withBridge(b Bridge) func(*Config) {
	b.RestartMin, b.RestartMax = 100*time.Millisecond, 200*time.Millisecond
	return func(c *Config) { c.Bridges = append(c.Bridges, b) }
}

// bridged waits until all bridges of g are up, and have subscribed.
func (g *gateway) bridged() {
	g.t.Helper()
	eventually(g.t, "the bridges are up", func() bool {
		for _, s := range g.Bridges() {
			if !s.Up {
				return false
			}
		}
		return true
	})
}

// mosquittoBridge is a connection section with Mosquitto's defaults but for the
// pause between attempts.
func mosquittoBridge(name, address string, topics ...string) string {
	lines := []string{"connection " + name, "address " + address, "restart_timeout 1"}
	for _, topic := range topics {
		lines = append(lines, "topic "+topic)
	}
	return strings.Join(lines, "\n")
}

// arrives publishes at one broker until it is seen at another, since a
// subscription at a far broker may not be in force yet, and returns the message.
func arrives(t *testing.T, from, to *mqtttest.Client, topic, wanted string) mqtttest.Packet {
	t.Helper()
	from.Publish(mqtttest.Message{Topic: topic, Payload: "x"})
	p := to.Next(mqtttest.PUBLISH)
	if p.Topic() != wanted {
		t.Fatalf("published %s, and got %s, want %s", topic, p.Topic(), wanted)
	}
	return p
}

// watcher is subscribed to everything at a broker.
func watcher(t *testing.T, address, id string) *mqtttest.Client {
	t.Helper()
	c := mqtttest.Dial(t, address, mqtttest.Options{ID: id, V5: true})
	c.Subscribe("#", 2|1<<2|1<<3) // not its own messages, and the retain flag as published
	return c
}

func TestBridgeToAStockMosquitto(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo("mqtt://"+m.Addr, "dc2", "out/# out 1", "in/# in 2", "both/# both 2", "a/# both 1 local/ remote/"))
	g.bridged()
	here, there := watcher(t, g.addr, "here"), watcher(t, m.Addr, "there")
	arrives(t, here, there, "out/1", "out/1")
	arrives(t, there, here, "in/1", "in/1")
	arrives(t, here, there, "both/1", "both/1")
	arrives(t, there, here, "both/2", "both/2")
	arrives(t, here, there, "local/a/b", "remote/a/b")
	arrives(t, there, here, "remote/a/b", "local/a/b")
	_ = exec.Command
	_ = fmt.Sprint
	_ = filepath.Join
	here.Ping()
	there.Ping()
}
