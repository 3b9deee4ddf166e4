package broker

import (
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"checkbus/checks"
)

// deliver passes a publish on to its subscribers, keeps it when it is to be
// retained, and answers it. The library's way (publishToSubscribers,
// server.go:985 in v2.7.9) leads through a queue per client: it drops what comes
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
	to       []route
	partial  error // what the publisher is told though it is taken
	accepted bool  // by accept
	keep     bool  // it is to be retained, on disk as well; to is not known yet
}

// fanOut begins the delivery of a publish, and has f say how it goes on. Unless
// now, the disk comes first, and the finisher goes on.
func (b *Broker) fanOut(in *inbound, f *fanout) (now bool) {
	if in.packet.FixedHeader.Retain && b.store != nil && in.client != "" {
		f.take(&in.packet, in.client, in.version)
		f.keep = true
	} else if b.aim(f, &in.packet, in.client, in.version); !b.needsStore(in, f.to) {
		return true
	}
	b.storePublication(in, f)
	return false
}

// aim finds out whom a publish goes to, and first keeps it in memory when it is
// to be retained: who subscribes meanwhile gets it from there.
func (b *Broker) aim(f *fanout, pk *packets.Packet, client string, version byte) {
	retain := pk.FixedHeader.Retain
	if retain {
		f.take(pk, client, version)
		if err := b.retain(f.packet, nil); err != nil {
			f.partial = fmt.Errorf("%w: %w", checks.ErrPartial, err)
		}
	}
	if f.to = b.routesOf(pk.TopicName); len(f.to) > 0 && !retain {
		f.take(pk, client, version)
	}
}

// take makes f's packet what subscribers are sent of a publish.
func (f *fanout) take(pk *packets.Packet, client string, version byte) {
	f.packet = packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain},
		ProtocolVersion: version,
		Origin:          client,
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
	for _, r := range f.to {
		b.send(r, f.packet)
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

// recipient returns the connection of a client, which may be over, or nil when
// there is no such session.
func (b *Broker) recipient(id string) *conn {
	cl, ok := b.server.Clients.Get(id)
	if !ok {
		return nil
	}
	return cl.Net.Conn.(*conn)
}

// forSubscriber makes out what c's client is sent of a message by r, and reports
// whether that is anything.
func forSubscriber(c *conn, r route, out *packets.Packet) bool {
	if r.sub.NoLocal && out.Origin == r.client || !c.rights.mayRead(out.TopicName) || !c.session.out.broker.sendPath(c, r.sub, out) {
		return false
	}
	out.FixedHeader.Retain = out.FixedHeader.Retain && (r.sub.FwdRetainedFlag || r.sub.RetainAsPublished) // MQTT 5, 3.3.1.3
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, r.sub.Qos)
	out.Properties.SubscriptionIdentifier = r.ids
	return true
}

// send makes one delivery. To a client that is away it comes later, if its QoS
// says so.
func (b *Broker) send(r route, out packets.Packet) {
	c := b.recipient(r.client)
	if c == nil {
		return
	}
	if min(out.FixedHeader.Qos, r.sub.Qos) > 0 && c.session.out.number() != 0 {
		in := &inbound{packet: out, version: out.ProtocolVersion}
		b.storePublication(in, &fanout{packet: out, to: []route{r}})
		return
	}
	if forSubscriber(c, r, &out) {
		b.pace(c)
		c.session.out.push(out)
	}
}
