package broker

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// deliver passes a publish on to its subscribers, and keeps it when it is to be
// retained. client and version are the publisher's, "" for the gateway itself.
// The library's way (publishToSubscribers, server.go:994 in v2.7.9) leads
// through a queue per client: it drops what comes faster than that client's
// goroutine is given time to run, and forgets what is in it at the end. The error
// says that the message was delivered but not kept.
func (b *Broker) deliver(pk *packets.Packet, client string, version byte) error {
	out := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain},
		ProtocolVersion: version,
		Origin:          client,
		TopicName:       pk.TopicName,
		Payload:         pk.Payload,
		Properties:      pk.Properties.Copy(false),
		Created:         b.sequence.Add(1), // see arrange
	}
	if seconds := out.Properties.MessageExpiryInterval; seconds > 0 {
		out.Expiry = time.Now().Unix() + int64(seconds)
	}
	var notKept error
	if out.FixedHeader.Retain {
		notKept = b.retain(out)
	}
	for id, sub := range b.subscribers(out.TopicName) {
		out := out
		out.FixedHeader.Retain = out.FixedHeader.Retain && (sub.FwdRetainedFlag || sub.RetainAsPublished) // MQTT 5, 3.3.1.3
		b.send(id, sub, out)
		b.level()
		b.relieve()
	}
	return notKept
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

// send makes one delivery. To a client that is away it comes later, if its QoS
// says so.
func (b *Broker) send(id string, sub packets.Subscription, out packets.Packet) {
	cl, ok := b.server.Clients.Get(id)
	if !ok {
		return
	}
	c := cl.Net.Conn.(*conn)
	if sub.NoLocal && out.Origin == id || !c.rights.mayRead(out.TopicName) || !b.sendPath(c, sub, &out) {
		return
	}
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, sub.Qos)
	ids := slices.Sorted(maps.Values(sub.Identifiers)) // 0 is none
	out.Properties.SubscriptionIdentifier = slices.DeleteFunc(ids, func(id int) bool { return id == 0 })
	b.pace(c)

	s := c.session
	s.gate.Lock()
	defer s.gate.Unlock()
	if cl, ok = b.server.Clients.Get(id); !ok { // it may be another by now
		return
	}
	if out.FixedHeader.Qos > 0 && !b.expectAck(s, cl, &out) {
		return
	}
	err := cl.WritePacket(out) // errors but this one end the connection by themselves
	if errors.Is(err, packets.ErrPacketTooLarge) && out.FixedHeader.Qos > 0 {
		b.backlogs.settled(s, out.PacketID)
		b.abandon(cl, out.PacketID) // MQTT 5, 3.1.2.11.4
	}
}
