package broker

import (
	"errors"
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
	for _, r := range b.routesOf(out.TopicName) {
		out := out
		out.FixedHeader.Retain = out.FixedHeader.Retain && (r.sub.FwdRetainedFlag || r.sub.RetainAsPublished) // MQTT 5, 3.3.1.3
		b.send(r, out)
		b.level()
		b.relieve()
	}
	return notKept
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
func (b *Broker) send(r route, out packets.Packet) {
	cl, ok := b.server.Clients.Get(r.client)
	if !ok {
		return
	}
	c := cl.Net.Conn.(*conn)
	if r.sub.NoLocal && out.Origin == r.client || !c.rights.mayRead(out.TopicName) {
		return
	}
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, r.sub.Qos)
	out.Properties.SubscriptionIdentifier = r.ids
	b.pace(c)

	s := c.session
	s.gate.Lock()
	defer s.gate.Unlock()
	if cl, ok = b.server.Clients.Get(r.client); !ok { // it may be another by now
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
