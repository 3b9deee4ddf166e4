package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// aside marks names in the library's index that no client can have: MQTT
// forbids the character (MQTT 5, 1.5.4).
const aside = "\x00"

// withParent gives a client's subscription to a filter such as "a/+/#" a second
// one to "a/+", aside of what the client has there itself. The first matches
// "a/b" too (MQTT 5, 4.7.1.2), which the library does not know where the level
// before "#" is a "+" (topics.go:612 in v2.7.9).
func (b *Broker) withParent(client string, sub packets.Subscription) {
	if client, filter, ok := parentOf(client, sub.Filter); ok {
		sub.Filter = filter
		b.server.Topics.Subscribe(client, sub)
	}
}

// withoutParent ends what withParent began.
func (b *Broker) withoutParent(client, filter string) {
	if client, filter, ok := parentOf(client, filter); ok {
		b.server.Topics.Unsubscribe(filter, client)
	}
}

// parentOf names the second subscription, if filter needs one. One of a shared
// group is of a group aside.
func parentOf(client, filter string) (name, parent string, ok bool) {
	parent, ok = strings.CutSuffix(filter, "+/#")
	parent += "+"
	if !ok || parent != "+" && !strings.HasSuffix(parent, "/+") {
		return "", "", false
	}
	if !mqtt.IsSharedFilter(filter) {
		return client + aside, parent, true
	}
	share, rest, _ := strings.Cut(parent, "/")
	group, rest, _ := strings.Cut(rest, "/")
	return client, share + "/" + group + aside + "/" + rest, true
}

// joinParents adds the second subscriptions in subs to those of their clients.
func joinParents(subs map[string]packets.Subscription) {
	for name, sub := range subs {
		client, ok := strings.CutSuffix(name, aside)
		if !ok {
			continue
		}
		delete(subs, name)
		if own, has := subs[client]; has {
			sub = own.Merge(sub)
		}
		subs[client] = sub
	}
}

// OnUnsubscribe comes before a client's subscriptions are ended.
func (h *hook) OnUnsubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	own := &cl.Net.Conn.(*conn).session.filters
	for _, f := range pk.Filters {
		if _, has := cl.State.Subscriptions.Get(f.Filter); has {
			cl.State.Subscriptions.Delete(f.Filter) // it may be named twice
			h.b.mustKeep(own, -costOf(f.Filter))
		}
	}
	return pk
}

// OnUnsubscribed comes when a client's subscriptions have ended, before an
// UNSUBACK.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	for _, f := range pk.Filters {
		h.b.withoutParent(cl.ID, f.Filter)
	}
	h.b.routes.forget()
	if pk.PacketID != 0 { // else it is the session that ends
		h.b.dropSubscriptions(cl.Net.Conn.(*conn), pk.Filters)
	}
}
