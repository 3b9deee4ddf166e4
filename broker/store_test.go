package broker

import (
	"fmt"
	"testing"

	"checkbus/internal/mqtttest"
)

// onDisk keeps sessions in dir.
func onDisk(dir string) func(*Config) { return func(c *Config) { c.Dir = dir } }

func TestSessionSurvivesARestart(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			g := start(t, onDisk(dir))
			sub := g.dial(persistent("sub", v5))
			sub.Subscribe("a/#", 2)
			sub.Disconnect()
			g.allAway()
			p := g.dial(mqtttest.Options{ID: "p"})
			for i := range uint16(100) {
				p.Publish(mqtttest.Message{Topic: "a/b", Payload: fmt.Sprint(i), QoS: 1, ID: i + 1})
				p.Acked(mqtttest.PUBACK, i+1)
			}
			before := g.Stats()
			g.stop()
			g = start(t, onDisk(dir))
			if after := g.Stats(); after.Stored != before.Stored || after.StoredBytes != before.StoredBytes || after.Sessions != 1 {
				t.Errorf("stored %d and %d bytes, %d sessions; before %d and %d", after.Stored, after.StoredBytes, after.Sessions, before.Stored, before.StoredBytes)
			}
			sub = g.dial(persistent("sub", v5))
			if !sub.Connack.SessionPresent() {
				t.Error("the session is not present")
			}
			for i := range 100 {
				got := sub.Next(mqtttest.PUBLISH)
				if got.Payload() != fmt.Sprint(i) || got.Dup() {
					t.Fatalf("message %d is %v, DUP %t", i, got, got.Dup())
				}
				sub.Ack(mqtttest.PUBACK, got.ID())
			}
			eventually(t, "nothing waits", func() bool { return g.Stats().Stored == 0 && g.store.size() == 0 })
			g.tell("a/b", "more")
			if got := sub.Next(mqtttest.PUBLISH); got.Payload() != "more" {
				t.Errorf("got %v", got)
			}
		})
	}
}
