package broker

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// leave makes a session that is subscribed to filter, and away.
func (g *gateway) leave(id, filter string) {
	g.t.Helper()
	c := g.dial(persistent(id, true))
	c.Subscribe(filter, 1)
	c.Disconnect()
}

// kept is what is kept for all sessions, as the backlogs say and as is so.
func (g *gateway) kept() (bytes, messages, inflight int) {
	g.Broker.mu.Lock()
	defer g.Broker.mu.Unlock()
	g.backlogs.mu.Lock()
	defer g.backlogs.mu.Unlock()
	for _, s := range g.sessions {
		messages += s.backlog.order.Len()
		if cl, ok := g.server.Clients.Get(s.id); ok {
			inflight += cl.State.Inflight.Len()
		}
	}
	return g.backlogs.bytes, messages, inflight
}

func TestBacklogOfAClientThatIsAwayIsBoundedAndKeepsTheNewest(t *testing.T) {
	tests := map[string]struct{ size, count int }{
		"bytes":    {100_000, 200},
		"messages": {1, backlogMessages + 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.leave("away", "checkbus/#")
			padding := strings.Repeat("x", tt.size)
			for i := range tt.count {
				g.tell("checkbus/event/web1", fmt.Sprintf("%d %s", i, padding))
			}
			bytes, messages, inflight := g.kept()
			if bytes > backlogBytes || bytes == 0 || messages != inflight {
				t.Errorf("%d bytes in %d messages, of which the library has %d", bytes, messages, inflight)
			}
			dropped := tt.count - messages
			if got := g.Stats().InflightDropped; got != int64(dropped) || dropped == 0 {
				t.Errorf("%d counted as dropped, want %d", got, dropped)
			}
			c := g.dial(persistent("away", true))
			for i := dropped; i < tt.count; i++ {
				p := c.Next(mqtttest.PUBLISH)
				if got, _, _ := strings.Cut(p.Payload(), " "); got != strconv.Itoa(i) {
					t.Fatalf("message %s, want %d", got, i)
				}
				c.Ack(mqtttest.PUBACK, p.ID())
			}
			eventually(t, "nothing is kept", func() bool {
				bytes, messages, inflight := g.kept()
				return bytes+messages+inflight == 0
			})
		})
	}
}

func TestBacklogsTogetherAreBoundedAndTheLongestGiveWay(t *testing.T) {
	g := start(t)
	for i := range 20 {
		g.leave(fmt.Sprint("away", i), "checkbus/event/#")
	}
	g.leave("modest", "checkbus/status")
	g.tell("checkbus/status", "online")
	message := strings.Repeat("x", 200_000)
	for range 50 {
		g.tell("checkbus/event/web1", message)
		if bytes, _, _ := g.kept(); bytes > backlogsBytes {
			t.Fatalf("%d bytes are kept", bytes)
		}
	}
	if bytes, messages, inflight := g.kept(); bytes < backlogsBytes/2 || messages != inflight {
		t.Errorf("%d bytes in %d messages, of which the library has %d", bytes, messages, inflight)
	}
	c := g.dial(persistent("modest", true))
	if p := c.Next(mqtttest.PUBLISH); p.Payload() != "online" {
		t.Errorf("got %v", p)
	}
}

func TestBacklogEndsWithItsSession(t *testing.T) {
	for name, end := range map[string]func(*gateway){
		"clean start": func(g *gateway) { g.dial(mqtttest.Options{ID: "away", V5: true}).Disconnect() },
		"ended": func(g *gateway) {
			g.Broker.mu.Lock()
			for _, s := range g.sessions {
				s.ends = s.away
			}
			g.Broker.mu.Unlock()
			g.expire(time.Now())
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.leave("away", "checkbus/#")
			g.allAway()
			g.tell("checkbus/status", "online")
			if bytes, _, _ := g.kept(); bytes == 0 {
				t.Fatal("nothing was kept")
			}
			end(g)
			eventually(t, "nothing is kept", func() bool {
				bytes, messages, _ := g.kept()
				return bytes+messages == 0
			})
		})
	}
}
