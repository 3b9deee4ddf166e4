package broker

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// number puts a sequence number in the place of a message's time of creation.
// The library sorts by its lowest 16 bits what it sends to a client that comes
// back (inflight.go:86 in v2.7.9), so that messages of one second come in any
// order; it uses the time for nothing else here, since no message is dropped
// for its age alone.
func (b *Broker) number(pk *packets.Packet) { pk.Created = b.sequence.Add(1) }

// arrange prepares what waits for a client that comes back on c: numbered from
// 1, so that 16 bits suffice, and without packets that the client does not
// take, of which one would keep it from ever connecting.
func (b *Broker) arrange(id string, c *conn) {
	previous, ok := b.server.Clients.Get(id)
	if !ok {
		return
	}
	queue := previous.State.Inflight
	waiting := queue.GetAll(false)
	slices.SortFunc(waiting, func(x, y packets.Packet) int { return cmp.Compare(x.Created, y.Created) })
	for i, pk := range waiting {
		if c.maxOut > 0 && encodedSize(pk) > int(c.maxOut) {
			b.abandon(previous, pk.PacketID)
			continue
		}
		pk.Created = int64(i + 1)
		queue.Set(pk)
	}
}

// abandon removes a delivery that can never be made.
func (b *Broker) abandon(cl *mqtt.Client, id uint16) {
	if cl.State.Inflight.Delete(id) {
		atomic.AddInt64(&b.server.Info.Inflight, -1)
		atomic.AddInt64(&b.server.Info.InflightDropped, 1)
	}
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
