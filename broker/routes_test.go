package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestRoutesFollowSubscriptions(t *testing.T) {
	g := start(t)
	clients := func(want ...string) {
		t.Helper()
		got := map[string]bool{}
		for _, r := range g.routesOf("a/b") {
			got[r.client] = true
		}
		if len(got) != len(want) {
			t.Errorf("goes to %v, want %v", got, want)
		}
		for _, client := range want {
			if !got[client] {
				t.Errorf("goes to %v, want %v", got, want)
			}
		}
	}
	clients()
	first := g.dial(persistent("first", true))
	first.Subscribe("a/#", 1)
	clients("first")
	second := g.dial(mqtttest.Options{ID: "second"})
	second.Subscribe("a/b", 0) // which the rules decide about, see subscribe
	clients("first", "second")
	first.Subscribe("+/b", 0)
	clients("first", "second")
	first.Unsubscribe("a/#")
	first.Unsubscribe("+/b")
	clients("second")
	first.Subscribe("a/+/#", 0)
	clients("first", "second")
	second.Disconnect()
	eventually(t, "its session is over", func() bool { return g.Stats().Sessions == 1 })
	clients("first")
	first.Disconnect()
	g.allAway()
	clients("first") // its session goes on
	g.dial(mqtttest.Options{ID: "first"})
	clients()
}

func TestSharedSubscriptionsTakeTurns(t *testing.T) {
	g := start(t)
	for _, id := range []string{"x", "y"} {
		g.dial(mqtttest.Options{ID: id}).Subscribe("$share/g/a", 0)
	}
	seen := map[string]bool{}
	for range 200 {
		routes := g.routesOf("a")
		if len(routes) != 1 {
			t.Fatalf("goes to %d members of the group", len(routes))
		}
		seen[routes[0].client] = true
	}
	if len(seen) != 2 {
		t.Errorf("always goes to %v", seen)
	}
}

func TestRememberedRoutesAreBounded(t *testing.T) {
	var r routes
	for i := range 3 * mostRoutes {
		r.remember(fmt.Sprint(i), nil, 0)
	}
	if n := len(r.byTopic); n > mostRoutes {
		t.Errorf("%d topics are remembered", n)
	}
	for i := range 100 {
		r.remember(fmt.Sprint("many", i), make([]route, mostRoutes/10), 0)
	}
	if n := len(r.byTopic); n > 10 {
		t.Errorf("%d topics of many routes are remembered", n)
	}
	r.forget()
	r.remember("late", nil, 0) // looked up before somebody subscribed
	r.remember(strings.Repeat("x", longestRemembered+1), nil, 1)
	if len(r.byTopic) > 0 {
		t.Errorf("remembered: %v", r.byTopic)
	}
}
