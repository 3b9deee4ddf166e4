package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"checkbus/checks"
)

// deliver passes a publish on to its subscribers, keeps it when it is to be
// retained, and answers it. The library's way (publishToSubscribers,
// server.go:994 in v2.7.9) leads through a queue per client: it drops what comes
// faster than that client's goroutine is given time to run, and forgets what is
// in it at the end.
func (b *Broker) deliver(in *inbound) {
	var f fanout
	if b.fanOut(in, &f) {
		b.sendAll(&f)
		b.settleNow(in, f.partial)
	}
}

// A fanout is a message and whom it goes to.
type fanout struct {
	packet   packets.Packet
	subs     map[string]packets.Subscription // by client identifier
	partial  error                           // what the publisher is told though it is taken
	accepted bool                            // by accept
	keep     bool                            // it is to be retained, on disk as well; subs are not known yet
}

// fanOut begins the delivery of a publish, and has f say how it goes on. Unless
// now, the disk comes first, and the finisher goes on.
func (b *Broker) fanOut(in *inbound, f *fanout) (now bool) {
	retain := in.packet.FixedHeader.Retain
	if retain && b.store != nil && in.client != "" {
		f.take(in)
		f.keep = true
		b.storePublication(in, f)
		return false
	}
	if retain {
		f.take(in)
		if err := b.retain(f.packet, nil); err != nil {
			f.partial = fmt.Errorf("%w: %w", checks.ErrPartial, err)
		}
	}
	f.subs = b.subscribers(in.packet.TopicName)
	store := b.needsStore(in, f.subs)
	if !retain && (store || len(f.subs) > 0) {
		f.take(in)
	}
	if store {
		b.storePublication(in, f)
	}
	return !store
}

// take makes f's packet what subscribers are sent of a publish.
func (f *fanout) take(in *inbound) {
	pk := &in.packet
	f.packet = packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain},
		ProtocolVersion: in.version,
		Origin:          in.client,
		TopicName:       pk.TopicName,
		Payload:         pk.Payload,
		Properties:      pk.Properties.Copy(false),
	}
	if seconds := f.packet.Properties.MessageExpiryInterval; seconds > 0 {
		f.packet.Expiry = time.Now().Unix() + int64(seconds)
	}
}

// sendAll delivers a message of which nothing is to be on disk.
func (b *Broker) sendAll(f *fanout) {
	for id, sub := range f.subs {
		b.send(id, sub, f.packet)
		b.level()
		b.relieve()
	}
}

// subscribers returns the subscriptions that a message on topic goes to, by
// client identifier: those of a client in one, and one of each shared group.
func (b *Broker) subscribers(topic string) map[string]packets.Subscription {
	subs := b.server.Topics.Subscribers(topic)
	if len(subs.Shared) > 0 {
		if topic[0] == '$' {
			hideFromShared(subs)
		}
		subs.SelectShared()
		subs.MergeSharedSelected()
	}
	return subs.Subscriptions
}

// hideFromShared keeps a topic that begins with a dollar sign from shared
// subscriptions whose filter begins with a wildcard (MQTT 5, 4.7.2).
func hideFromShared(subs *mqtt.Subscribers) {
	for filter := range subs.Shared {
		_, rest, _ := strings.Cut(filter, "/") // $share
		_, rest, _ = strings.Cut(rest, "/")    // the group
		if strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "#") {
			delete(subs.Shared, filter)
		}
	}
}

// recipient returns the connection of a client, which may be over, or nil when
// there is no such session.
func (b *Broker) recipient(id string) *conn {
	cl, ok := b.server.Clients.Get(id)
	if !ok {
		return nil
	}
	return cl.Net.Conn.(*conn)
}

// forSubscriber makes out what c's client is sent of a message, and reports whether
// that is anything.
func forSubscriber(c *conn, sub packets.Subscription, out *packets.Packet) bool {
	if sub.NoLocal && out.Origin == c.session.id || !c.rights.mayRead(out.TopicName) || !c.session.out.broker.sendPath(c, sub, out) {
		return false
	}
	out.FixedHeader.Retain = out.FixedHeader.Retain && (sub.FwdRetainedFlag || sub.RetainAsPublished) // MQTT 5, 3.3.1.3
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, sub.Qos)
	ids := slices.Sorted(maps.Values(sub.Identifiers)) // 0 is none
	out.Properties.SubscriptionIdentifier = slices.DeleteFunc(ids, func(id int) bool { return id == 0 })
	return true
}

// send makes one delivery. To a client that is away it comes later, if its QoS
// says so.
func (b *Broker) send(id string, sub packets.Subscription, out packets.Packet) {
	c := b.recipient(id)
	if c == nil {
		return
	}
	if min(out.FixedHeader.Qos, sub.Qos) > 0 && c.session.out.number() != 0 {
		in := &inbound{packet: out, version: out.ProtocolVersion}
		b.storePublication(in, &fanout{packet: out, subs: map[string]packets.Subscription{id: sub}})
		return
	}
	if forSubscriber(c, sub, &out) {
		b.pace(c)
		c.session.out.push(out)
	}
}
