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
	if !pk.FixedHeader.Retain {
		if to := b.routesOf(pk.TopicName); len(to) > 0 {
			b.sendAll(to, b.outbound(pk, client, version))
		}
		return nil
	}
	out := b.outbound(pk, client, version)
	err := b.retain(out) // first: who subscribes meanwhile gets it from there
	b.sendAll(b.routesOf(pk.TopicName), out)
	return err
}

// outbound is a publish as it leaves the broker.
func (b *Broker) outbound(pk *packets.Packet, client string, version byte) packets.Packet {
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
	return out
}

// sendAll makes a message's deliveries.
func (b *Broker) sendAll(to []route, out packets.Packet) {
	for _, r := range to {
		out := out
		out.FixedHeader.Retain = out.FixedHeader.Retain && (r.sub.FwdRetainedFlag || r.sub.RetainAsPublished) // MQTT 5, 3.3.1.3
		b.send(r, out)
		b.level()
		b.relieve()
	}
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
