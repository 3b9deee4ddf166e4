package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestNewSubscriberGetsAllRetainedMessages(t *testing.T) {
	g := start(t)
	const n = 20000
	for i := range n {
		g.tellRetained(fmt.Sprintf("checkbus/state/host%d", i), strings.Repeat("x", 600))
	}
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			sub := g.dial(mqtttest.Options{ID: "sub"})
			if code := sub.Subscribe("checkbus/state/#", qos); code != qos {
				t.Fatalf("SUBSCRIBE was answered %#x", code)
			}
			g.waitsFor(t, "sub")
			seen := map[string]bool{}
			for range n {
				p := sub.Next(mqtttest.PUBLISH)
				if p.QoS() != qos || !p.Retain() {
					t.Fatalf("QoS %d, retain %t", p.QoS(), p.Retain())
				}
				if seen[p.Topic()] = true; qos == 1 {
					sub.Ack(mqtttest.PUBACK, p.ID())
				}
			}
			if len(seen) != n {
				t.Errorf("%d of %d", len(seen), n)
			}
		})
	}
	if s := g.Stats(); s.Dropped+s.InflightDropped+s.SlowConsumers > 0 {
		t.Errorf("dropped some: %+v", s)
	}
}

// waitsFor waits until no more is sent to a client that neither reads nor
// acknowledges.
func (g *gateway) waitsFor(t *testing.T, id string) {
	t.Helper()
	other := g.dial(mqtttest.Options{ID: "other"})
	defer other.Disconnect()
	cl, _ := g.server.Clients.Get(id)
	c := cl.Net.Conn.(*conn)
	load := func() (bytes, unacked int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.queued, int(c.session.out.load.Load())
	}
	eventually(t, "the client has enough to do", func() bool {
		bytes, unacked := load()
		return bytes > replayBytes || unacked > replayUnacked
	})
	for range 200 {
		other.Ping()
	}
	if bytes, unacked := load(); bytes > replayBytes+1000 || unacked > replayUnacked+1 {
		t.Errorf("%d bytes and %d messages are on their way", bytes, unacked)
	}
}

func TestRetainedMessagesAreSentAsAskedFor(t *testing.T) {
	tests := map[string]struct {
		options byte
		filters []string
		want    int
	}{
		"always":                   {0x00, []string{"a/b", "a/b"}, 2},
		"when new":                 {0x10, []string{"a/b", "a/b"}, 1},
		"never":                    {0x20, []string{"a/b"}, 0},
		"two filters":              {0x00, []string{"a/b", "a/+"}, 2},
		"shared":                   {0x00, []string{"$share/g/a/b"}, 0},
		"wrong filter":             {0x00, []string{"a/b#"}, 0},
		"of others only, and none": {0x04, []string{"a/c"}, 0},
		"of others only":           {0x04, []string{"a/b"}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.tellRetained("a/b", "x")
			c := g.dial(mqtttest.Options{ID: "c", V5: true})
			c.Publish(mqtttest.Message{Topic: "a/c", Payload: "own", QoS: 1, ID: 1, Retain: tt.options == 4})
			c.Acked(mqtttest.PUBACK, 1)
			for _, filter := range tt.filters {
				c.Send(mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, append(append([]byte{0, 1, 0}, mqtttest.Str(filter)...), tt.options)))
			}
			got := 0
			for subacks := 0; subacks < len(tt.filters) || got < tt.want; {
				p, err := c.Read()
				if err != nil {
					t.Fatal(err)
				}
				if p.Type() == mqtttest.SUBACK {
					subacks++
				} else if got++; p.Payload() != "x" || !p.Retain() {
					t.Errorf("got %v, retain %t", p, p.Retain())
				}
			}
			c.Subscribe("end", 0x20)
			g.nothingMore(c)
		})
	}
}

// Run with the race detector.
func TestRetainedMessagesMayChangeWhileTheyAreSent(t *testing.T) {
	g := start(t)
	end := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
				g.tellRetained(fmt.Sprint("checkbus/state/host", i%1000), "x")
			}
		}
	})
	for i := range 20 {
		c := g.dial(mqtttest.Options{ID: fmt.Sprint("c", i)})
		c.Send(mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, append(append([]byte{0, 77}, mqtttest.Str("checkbus/#")...), 0)))
		for range 20 {
			if _, err := c.Read(); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
	}
	close(end)
	publishing.Wait()
}
