package broker

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// outboxBytes is how much memory the deliveries of QoS 1 and 2 may take
	// that one client has not acknowledged, whether it is away or just slow, and
	// outboxMessages how many there may be. What is on disk beside does not count.
	outboxBytes    = outLimit * 3 / 4
	outboxMessages = 8192
	// flightBytes and flightMessages are how much may be sent to one client and
	// not acknowledged. That may all be sent again when it comes back, which
	// must leave room in outLimit for what is published meanwhile.
	flightBytes    = outboxBytes / 2
	flightMessages = outboxMessages / 2
	// outboxesBytes is how much memory the outboxes of all sessions may take.
	outboxesBytes = 64 << 20
	// packetCost is what a kept message takes beside its text, in bytes.
	packetCost = 1 << 10
)

// cost is how much memory a kept message takes, in bytes, as far as its
// publisher decides it.
func cost(pk *packets.Packet) int {
	p := &pk.Properties
	n := packetCost + len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val) + 32 // two string headers
	}
	return n
}

// A delivery is a message of QoS 1 or 2 on its way to one client.
type delivery struct {
	packet    packets.Packet
	number    uint64 // orders the deliveries of a session
	phase     phase
	id        uint16 // unless queued
	memory    int    // what it takes, in bytes
	stored    int    // what its message takes on disk, in bytes
	committed bool   // it is on disk, if it is to be
	dup       bool   // it was sent before
	inFlight  bool   // it was sent over this connection, or is about to be
	gone      bool   // it is not in the outbox any more
}

// An outbox is what waits for a session's client, and what it has not
// acknowledged. In a session that is stored all of it is on disk, and memory has
// the beginning of it while the client is connected. In any other session it is
// in memory alone. Packet identifiers are given when a message is sent, so
// that those with one come before those without.
//
// The library's own map of such messages (inflight.go in v2.7.9) stays empty: it
// loses their order, sends all at once, and its send quota leaks.
type outbox struct {
	broker *Broker
	id     string       // the client's
	load   atomic.Int64 // deliveries, wherever they are
	// session is the number of a session that is stored; 0 is that of all
	// others. It changes under mu.
	session atomic.Uint64

	mu       sync.Mutex
	client   *mqtt.Client // connected, and its CONNACK is written; or nil
	window   int          // how many deliveries may be in flight
	waiting  []*delivery  // to be sent, the oldest first
	byID     map[uint16]*delivery
	lastID   uint16
	flying   int // deliveries in flight
	flown    int // their memory
	memory   int // bytes
	payloads int64
	over     bool // the session is

	// Of a stored session.
	last    uint64 // the newest message there is
	arrived uint64 // the newest that is on disk
	read    uint64 // the newest that is, or was, in memory
	trimmed uint64 // what waits up to here was dropped
	disk    int64  // bytes of messages
	feeding bool   // a goroutine reads from the disk
	// unwritten counts connections that are over and of which not all is on disk.
	unwritten atomic.Int32
}

// number is that of a session that is stored, or 0.
func (o *outbox) number() uint64 { return o.session.Load() }

func newDelivery(pk packets.Packet, number uint64) *delivery {
	return &delivery{packet: pk, number: number, memory: cost(&pk)}
}

// push delivers a message that is not stored. To a client that is away it comes
// later, if its QoS says so.
func (o *outbox) push(pk packets.Packet) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if pk.FixedHeader.Qos == 0 {
		if o.client != nil {
			_ = o.client.WritePacket(pk) // an error ends the connection by itself, or is about this message alone
		}
		return
	}
	if o.over {
		return
	}
	d := newDelivery(pk, uint64(o.broker.sequence.Add(1)))
	d.committed = true
	o.enter(d)
	o.load.Add(1)
	o.payloads += int64(len(pk.Payload))
	if o.client != nil && len(o.waiting) == 0 && o.hasRoom(d) {
		o.assign(d)
		o.fly(d)
		o.transmit(d)
		return
	}
	o.waiting = append(o.waiting, d)
	o.pump()
	o.shorten(outboxBytes)
}

// enter counts a delivery that is in memory now; o.mu is held.
func (o *outbox) enter(d *delivery) {
	o.memory += d.memory
	o.broker.outboxes.Add(int64(d.memory))
}

// leave takes a delivery out of memory; o.mu is held. It may still be in waiting.
func (o *outbox) leave(d *delivery) {
	d.gone = true
	o.memory -= d.memory
	o.broker.outboxes.Add(int64(-d.memory))
	if d.id != 0 {
		delete(o.byID, d.id)
	}
	if d.inFlight {
		d.inFlight = false
		o.flying--
		o.flown -= d.memory
	}
}

// hasRoom reports whether one more may be in flight; o.mu is held.
func (o *outbox) hasRoom(d *delivery) bool {
	return o.flying < o.window && (o.flown == 0 || o.flown+d.memory <= flightBytes)
}

// assign gives a delivery its packet identifier; o.mu is held.
func (o *outbox) assign(d *delivery) {
	for used := true; used; {
		o.lastID++
		_, used = o.byID[o.lastID]
		used = used || o.lastID == 0
	}
	d.id, d.phase = o.lastID, sent
	o.know(d)
}

// know enters a delivery by its packet identifier; o.mu is held.
func (o *outbox) know(d *delivery) {
	if o.byID == nil {
		o.byID = map[uint16]*delivery{}
	}
	o.byID[d.id] = d
}

// fly counts a delivery as in flight; o.mu is held.
func (o *outbox) fly(d *delivery) {
	d.inFlight = true
	o.flying++
	o.flown += d.memory
}

// transmit sends a delivery that is in flight; o.mu is held.
func (o *outbox) transmit(d *delivery) {
	if d.phase == released {
		o.sendPubrel(d.id, 0)
		return
	}
	pk := d.packet
	pk.PacketID, pk.FixedHeader.Dup = d.id, d.dup
	d.dup = true
	if errors.Is(o.client.WritePacket(pk), packets.ErrPacketTooLarge) { // other errors end the connection by themselves
		o.drop(d) // MQTT 5, 3.1.2.11.4
	}
}

// sendPubrel sends a PUBREL; o.mu is held.
func (o *outbox) sendPubrel(id uint16, code byte) {
	if o.client != nil {
		_, _ = o.client.Net.Conn.Write(appendAck(nil, packets.Pubrel, id, code, "")) // an error ends the connection by itself
	}
}

// long reports whether the client has much to acknowledge.
func (o *outbox) long() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory > outboxBytes/2 || len(o.waiting)+o.flying > outboxMessages/2
}

// pump sends what may be sent now; o.mu is held. What is stored gets its packet
// identifier on disk first, lest a message of QoS 2 be sent with another one
// after a crash.
func (o *outbox) pump() {
	var w *edit
	var assigned []*delivery
	for o.client != nil && len(o.waiting) > 0 {
		d := o.waiting[0]
		if !d.gone && (!d.committed || !o.hasRoom(d)) {
			break
		}
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		switch {
		case d.gone:
		case d.id != 0:
			o.fly(d)
			o.transmit(d)
		case expired(&d.packet), !o.mayRead(d):
			o.settle(d)
		case o.number() == 0:
			o.assign(d)
			o.fly(d)
			o.transmit(d)
		default:
			o.assign(d)
			o.fly(d)
			if w == nil {
				w = &edit{}
			}
			o.record(w, d)
			assigned = append(assigned, d)
		}
	}
	if len(o.waiting) == 0 {
		o.waiting = nil
	}
	if w != nil {
		o.broker.follow(w, func() { o.transmitAll(assigned) })
	}
	o.feed()
}

// expired reports whether a message is too old to be delivered (MQTT 5,
// 3.3.2.3.3).
func expired(pk *packets.Packet) bool { return pk.Expiry > 0 && pk.Expiry <= time.Now().Unix() }

// mayRead reports whether the client may still have a message that waited for it;
// o.mu is held.
func (o *outbox) mayRead(d *delivery) bool {
	return o.client.Net.Conn.(*conn).rights.mayRead(d.packet.TopicName)
}

// transmitAll sends deliveries whose identifiers are on disk now.
func (o *outbox) transmitAll(ds []*delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range ds {
		if !d.gone {
			o.transmit(d)
		}
	}
	o.pump() // one that is too large for the client has made room
}

// acked ends a delivery: with a PUBACK, a PUBCOMP, or a PUBREC that refuses it.
func (o *outbox) acked(id uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.byID[id]; d != nil && d.inFlight && d.committed {
		o.settle(d)
		o.pump()
	}
}

// received answers a PUBREC. That the client has the message is on disk before
// it forgets the packet identifier.
func (o *outbox) received(id uint16, version byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.byID[id]
	if d == nil || !d.inFlight || !d.committed {
		var code byte
		if version == 5 {
			code = packets.ErrPacketIdentifierNotFound.Code
		}
		o.sendPubrel(id, code)
		return
	}
	if d.phase == released || o.number() == 0 {
		o.strip(d)
		o.sendPubrel(id, 0)
		return
	}
	w := &edit{}
	o.broker.store.release(w, d.number, d.stored)
	o.strip(d)
	o.record(w, d)
	o.broker.follow(w, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !d.gone {
			o.sendPubrel(id, 0)
		}
	})
}

// strip forgets the message of a delivery that the client has; o.mu is held.
func (o *outbox) strip(d *delivery) {
	if d.phase == released {
		return
	}
	saved := d.memory - packetCost
	o.payloads -= int64(len(d.packet.Payload))
	o.disk -= int64(d.stored)
	o.memory, o.flown, d.memory = o.memory-saved, o.flown-saved, packetCost
	o.broker.outboxes.Add(int64(-saved))
	qos := d.packet.FixedHeader.Qos
	d.phase, d.stored, d.packet = released, 0, packets.Packet{}
	d.packet.FixedHeader.Qos = qos
}

// settle forgets a delivery, in memory and on disk; o.mu is held.
func (o *outbox) settle(d *delivery) {
	o.leave(d)
	o.load.Add(-1)
	o.payloads -= int64(len(d.packet.Payload))
	if o.number() == 0 {
		return
	}
	o.disk -= int64(d.stored)
	w := &edit{}
	w.delete(deliveryKey(o.number(), d.number))
	if d.phase != released {
		o.broker.store.release(w, d.number, d.stored)
	}
	o.broker.store.submit(w, true)
}

// drop is settle for what the client never got; o.mu is held.
func (o *outbox) drop(d *delivery) {
	o.settle(d)
	o.broker.dropped(o.id, 1)
}

// record has w store how far a delivery has come; o.mu is held.
func (o *outbox) record(w *edit, d *delivery) {
	r := deliveryRecord{
		phase:   d.phase,
		qos:     d.packet.FixedHeader.Qos,
		retain:  d.packet.FixedHeader.Retain,
		id:      d.id,
		cost:    d.stored,
		payload: len(d.packet.Payload),
		filters: d.packet.Properties.SubscriptionIdentifier,
	}
	w.set(deliveryKey(o.number(), d.number), r.encode())
}
