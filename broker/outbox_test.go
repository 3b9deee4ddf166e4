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
	eventually(g.t, id+" is away", func() bool {
		g.Broker.mu.Lock()
		defer g.Broker.mu.Unlock()
		return g.sessions[id].refs == 0
	})
}

// kept is what is kept in memory for all sessions, as the outboxes together say
// and as is so.
func (g *gateway) kept() (bytes, sum, messages int) {
	g.Broker.mu.Lock()
	defer g.Broker.mu.Unlock()
	for _, s := range g.sessions {
		s.out.mu.Lock()
		sum += s.out.memory
		messages += len(s.out.waiting) + s.out.flying
		s.out.mu.Unlock()
	}
	return int(g.outboxes.Load()), sum, messages
}

func TestBacklogOfAClientThatIsAwayIsBoundedAndKeepsTheNewest(t *testing.T) {
	tests := map[string]struct{ size, count int }{
		"bytes":    {100_000, 200},
		"messages": {1, outboxMessages + 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, inMemory)
			g.leave("away", "checkbus/#")
			padding := strings.Repeat("x", tt.size)
			for i := range tt.count {
				g.tell("checkbus/event/web1", fmt.Sprintf("%d %s", i, padding))
			}
			bytes, sum, messages := g.kept()
			if bytes > outboxBytes || bytes == 0 || bytes != sum {
				t.Errorf("%d bytes in %d messages, which have %d", bytes, messages, sum)
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
				bytes, sum, messages := g.kept()
				return bytes+sum+messages == 0
			})
		})
	}
}

func TestBacklogsTogetherAreBoundedAndTheLongestGiveWay(t *testing.T) {
	g := start(t, inMemory)
	for i := range 20 {
		g.leave(fmt.Sprint("away", i), "checkbus/event/#")
	}
	g.leave("modest", "checkbus/status")
	g.tell("checkbus/status", "online")
	message := strings.Repeat("x", 200_000)
	for range 50 {
		g.tell("checkbus/event/web1", message)
		if bytes, _, _ := g.kept(); bytes > outboxesBytes {
			t.Fatalf("%d bytes are kept", bytes)
		}
	}
	if bytes, sum, messages := g.kept(); bytes < outboxesBytes/2 || bytes != sum {
		t.Errorf("%d bytes in %d messages, which have %d", bytes, messages, sum)
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
			g := start(t, inMemory)
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
