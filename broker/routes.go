package broker

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// mostRoutes is how many routes are remembered in all, about 200 bytes each.
	mostRoutes = 50_000
	// longestRemembered is the longest topic whose routes are remembered, in
	// bytes.
	longestRemembered = 256
)

// A route is one client that a message goes to.
type route struct {
	client string
	sub    packets.Subscription // all that match, in one
	ids    []int                // their identifiers, not to be changed
}

func newRoute(client string, sub packets.Subscription) route {
	ids := slices.Sorted(maps.Values(sub.Identifiers)) // 0 is none
	return route{client, sub, slices.DeleteFunc(ids, func(id int) bool { return id == 0 })}
}

// routes remember where messages on a topic go, until somebody subscribes or
// unsubscribes: to search the library's index takes as long as a delivery.
type routes struct {
	mu      sync.RWMutex
	age     int // grows with each change of subscriptions
	byTopic map[string][]route
	count   int // in byTopic; a topic without routes counts as one
}

// find returns the routes of a topic, if they are known, and the age of what is
// known.
func (r *routes) find(topic string) (found []route, age int, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	found, ok = r.byTopic[topic]
	return found, r.age, ok
}

// remember keeps the routes of a topic, which were looked up after find said
// this age.
func (r *routes) remember(topic string, found []route, age int) {
	if len(topic) > longestRemembered || len(found) > mostRoutes {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.age != age {
		return
	}
	if r.count+len(found) >= mostRoutes || r.byTopic == nil {
		r.byTopic, r.count = map[string][]route{}, 0
	}
	r.byTopic[strings.Clone(topic)] = found // it would keep all of the packet
	r.count += max(1, len(found))
}

// forget is called when subscriptions have changed, before the client is told.
func (r *routes) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.age++
	r.byTopic, r.count = nil, 0
}

// routesOf returns where a message on topic goes: to each client once, and to
// one of each shared group.
func (b *Broker) routesOf(topic string) []route {
	found, age, ok := b.routes.find(topic)
	if ok {
		return found
	}
	subs := b.server.Topics.Subscribers(topic)
	shared := len(subs.Shared) > 0
	if shared {
		if topic[0] == '$' {
			hideFromShared(subs)
		}
		subs.SelectShared()
		subs.MergeSharedSelected()
	}
	joinParents(subs.Subscriptions)
	for client, sub := range subs.Subscriptions {
		found = append(found, newRoute(client, sub))
	}
	if !shared { // whose turn it is changes
		b.routes.remember(topic, found, age)
	}
	return found
}
