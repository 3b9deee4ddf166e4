package broker

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestBurstReachesASubscriberWholeAndInOrder(t *testing.T) {
	const n = 20000
	for _, procs := range []int{1, 2} {
		for _, qos := range []byte{0, 1} {
			t.Run(fmt.Sprintf("GOMAXPROCS=%d QoS %d", procs, qos), func(t *testing.T) {
				before := runtime.GOMAXPROCS(procs)
				defer runtime.GOMAXPROCS(before)
				g := start(t)
				sub := g.dial(mqtttest.Options{ID: "sub"})
				sub.Subscribe("checkbus/event/#", qos)
				padding := strings.Repeat("x", 1000)
				published := make(chan struct{})
				go func() {
					defer close(published)
					for i := range n {
						g.tell("checkbus/event/web1", fmt.Sprintf("%d %s", i, padding))
					}
				}()
				for i := range n {
					p := sub.Next(mqtttest.PUBLISH)
					if got, _, _ := strings.Cut(p.Payload(), " "); got != strconv.Itoa(i) {
						t.Fatalf("message %s, want %d", got, i)
					}
					if qos == 1 {
						sub.Ack(mqtttest.PUBACK, p.ID())
					}
				}
				<-published
				if s := g.Stats(); s.Dropped+s.InflightDropped+s.SlowConsumers > 0 {
					t.Errorf("dropped some: %+v", s)
				}
			})
		}
	}
}

func TestLastMessagesAreSentBeforeTheEnd(t *testing.T) {
	for range 20 {
		g := start(t)
		sub := g.dial(mqtttest.Options{ID: "sub"})
		sub.Subscribe("checkbus/#", 1)
		const n = 100
		for i := range n {
			g.tell("checkbus/status", strconv.Itoa(i))
		}
		g.stop()
		for i := range n {
			if p := sub.Next(mqtttest.PUBLISH); p.Payload() != strconv.Itoa(i) {
				t.Fatalf("got %v, want %d", p, i)
			}
		}
		sub.Closed()
	}
}

func TestDeafSubscriberDelaysPublishersOnlyShortly(t *testing.T) {
	g := start(t)
	deaf := g.dial(mqtttest.Options{ID: "deaf"})
	deaf.Subscribe("checkbus/#", 0)
	cl, _ := g.server.Clients.Get("deaf")
	c := cl.Net.Conn.(*conn)
	message := strings.Repeat("x", 10000)
	least := mostCredit // what the system takes at the very end may earn all of it again
	for !c.hasEnded() {
		g.tell("checkbus/event/web1", message)
		c.mu.Lock()
		least = min(least, c.credit)
		c.mu.Unlock()
	}
	if least >= pacePause {
		t.Errorf("%v of credit left: it was not waited for", least)
	}
}

// hasEnded reports whether c is closed.
func (c *conn) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

func TestMessagesWhileAClientComesBackAreDeliveredOnce(t *testing.T) {
	g := start(t)
	const n = 500
	c := g.dial(persistent("p", true))
	c.Subscribe("checkbus/#", 1)
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range n {
			g.tell("checkbus/event/web1", strconv.Itoa(i))
		}
	}()
	next := 0
	for next < n {
		for range 50 {
			if next == n {
				break
			}
			p := c.Next(mqtttest.PUBLISH)
			i, _ := strconv.Atoi(p.Payload())
			if i > next {
				t.Fatalf("message %d, want %d", i, next)
			}
			next = max(next, i+1)
			c.Ack(mqtttest.PUBACK, p.ID())
		}
		_ = c.Close()
		c = g.dial(persistent("p", true))
	}
	<-published
}
