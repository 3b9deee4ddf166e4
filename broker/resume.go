package broker

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// arrange prepares what waits for s's client, which comes back on c: without
// packets that it does not take, of which one would keep it from ever
// connecting, and numbered from 1 in place of their time of creation. The
// library sorts by its lowest 16 bits what it sends then (inflight.go:86 in
// v2.7.9), so that messages of one second would come in any order; it uses the
// time for nothing else here, since no message is dropped for its age alone.
func (b *Broker) arrange(s *session, c *conn, clean bool) {
	previous, ok := b.server.Clients.Get(s.id)
	if !ok || clean {
		b.backlogs.recount(s, nil)
		return
	}
	queue := previous.State.Inflight
	waiting := queue.GetAll(false)
	slices.SortFunc(waiting, func(x, y packets.Packet) int { return cmp.Compare(x.Created, y.Created) })
	waiting = slices.DeleteFunc(waiting, func(pk packets.Packet) bool {
		tooLarge := c.maxOut > 0 && encodedSize(pk) > int(c.maxOut)
		if tooLarge {
			b.abandon(previous, pk.PacketID)
		}
		return tooLarge
	})
	for i := range waiting {
		waiting[i].Created = int64(i + 1)
		queue.Set(waiting[i])
	}
	b.backlogs.recount(s, waiting)
}

// abandon removes a delivery that can never be made.
func (b *Broker) abandon(cl *mqtt.Client, id uint16) {
	if b.forgetDelivery(cl, id) {
		atomic.AddInt64(&b.server.Info.InflightDropped, 1)
	}
}

// forgetDelivery removes a delivery, and reports whether there was one.
func (b *Broker) forgetDelivery(cl *mqtt.Client, id uint16) bool {
	existed := cl.State.Inflight.Delete(id)
	if existed {
		atomic.AddInt64(&b.server.Info.Inflight, -1)
	}
	return existed
}

// encodedSize is the size of a PUBLISH in MQTT 5, in bytes.
func encodedSize(pk packets.Packet) int {
	if pk.FixedHeader.Type != packets.Publish {
		return 0
	}
	pk.ProtocolVersion = 5
	pk.Mods.AllowResponseInfo = true
	var b bytes.Buffer
	_ = pk.PublishEncode(&b) // a packet identifier of 0, its only error, is none of ours
	return b.Len()
}
