package broker

import (
	"fmt"
	"testing"

	"checkbus/internal/mqtttest"
)

// What the library gets wrong about filters that end in "#", and about topics
// that begin with "$".

var (
	matchFilters = []string{"a", "+", "a/+", "#", "a/#", "+/#", "a/+/#", "+/+/#", "a/b/#", "$x/#", "$x/+/#", "+/b", "/#", "/+/#"}
	matchTopics  = []string{"a", "b", "a/b", "a/b/c", "a/b/c/d", "/", "/a", "$x", "$x/y", "$x/y/z"}
)

// topicsUntilEnd lists the topics of deliveries up to the one on "end".
func topicsUntilEnd(c *mqtttest.Client) map[string]int {
	seen := map[string]int{}
	for {
		p := c.Next(mqtttest.PUBLISH)
		if p.Topic() == "end" {
			return seen
		}
		seen[p.Topic()]++
	}
}

// delivered publishes on all topics and compares what c gets with what the
// filter matches.
func (g *gateway) delivered(c *mqtttest.Client, filter string) {
	g.t.Helper()
	for _, topic := range matchTopics {
		g.tell(topic, "live")
	}
	g.tell("end", "")
	got := topicsUntilEnd(c)
	for _, topic := range matchTopics {
		want := 0
		if filterMatches(filter, topic) {
			want = 1
		}
		if got[topic] != want {
			g.t.Errorf("%s on %s: delivered %d times, want %d", topic, filter, got[topic], want)
		}
	}
}

func TestFiltersMatchAsTheSpecificationSays(t *testing.T) {
	for name, prefix := range map[string]string{"of one": "", "shared": "$share/g/"} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			for i, filter := range matchFilters {
				c := g.dial(mqtttest.Options{ID: fmt.Sprint(i), V5: true})
				c.Subscribe(prefix+filter, 0)
				c.Subscribe("end", 0)
				g.delivered(c, filter)
				c.Disconnect()
				g.allGone()
			}
		})
	}
}

func TestRetainedMessagesMatchAsTheSpecificationSays(t *testing.T) {
	g := start(t)
	for _, topic := range matchTopics {
		g.tellRetained(topic, "kept")
	}
	for i, filter := range matchFilters {
		c := g.dial(mqtttest.Options{ID: fmt.Sprint(i)})
		c.Subscribe(filter, 0)
		got := map[string]int{}
		want := 0
		for _, topic := range matchTopics {
			if filterMatches(filter, topic) {
				want++
			}
		}
		for range want {
			got[c.Next(mqtttest.PUBLISH).Topic()]++
		}
		c.Ping()
		for topic, n := range got {
			if n != 1 || !filterMatches(filter, topic) {
				t.Errorf("%s on %s: sent %d times", topic, filter, n)
			}
		}
	}
}

func TestFilterAndItsParentAreOneSubscription(t *testing.T) {
	g := start(t)
	o := persistent("c", true)
	c := g.dial(o)
	c.Subscribe("end", 0)
	c.Subscribe("+/#", 0)
	c.Subscribe("+", 1)
	if n := g.Stats().Subscriptions; n != 3 {
		t.Errorf("%d subscriptions", n)
	}
	g.tell("a", "x") // both match: one delivery, at the higher QoS (MQTT 5, 3.3.4)
	p := c.Next(mqtttest.PUBLISH)
	if p.QoS() != 1 {
		t.Errorf("QoS %d", p.QoS())
	}
	c.Ack(mqtttest.PUBACK, p.ID())
	c.Unsubscribe("+")
	g.delivered(c, "+/#")
	_ = c.Close()
	c = g.dial(o) // the session goes on
	g.delivered(c, "+/#")
	c.Unsubscribe("+/#")
	g.tell("a", "x")
	g.nothingMore(c)
	c.Subscribe("+/#", 0)
	c.Disconnect()

	c = g.dial(mqtttest.Options{ID: "c", V5: true}) // another session
	c.Subscribe("end", 0)
	g.tell("a", "x")
	g.nothingMore(c)
	c.Disconnect()
	g.allGone()
	if subs := g.server.Topics.Subscribers("a").Subscriptions; len(subs) > 0 {
		t.Errorf("left: %v", subs)
	}
}

// allGone waits until no client is known.
func (g *gateway) allGone() {
	g.t.Helper()
	eventually(g.t, "all clients are gone", func() bool { return g.Stats().Sessions == 0 })
}
