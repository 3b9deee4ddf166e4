package broker

import (
	"fmt"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"checkbus/checks"
)

// A publication is a message on its way to subscribers of which some have it on
// disk first. Nobody gets it, and its publisher no answer, before it is there.
type publication struct {
	in      *inbound
	packet  packets.Packet
	number  uint64
	cost    int // of its record, in bytes
	targets []target
	partial error // what the publisher is told though it is taken
	err     error // why it is not on disk
	// accepted says that accept has taken it: it is a result, and what the disk
	// says is about its subscribers alone.
	accepted bool
	// kept is what was retained instead of before, both without a payload for
	// nothing; nil where neither was. next is the one that took its place while it
	// was on its way.
	kept, before *packets.Packet
	next         *publication
}

// answer is what the publisher is told.
func (p *publication) answer() error {
	switch {
	case p.err == nil:
		return p.partial
	case p.accepted:
		return fmt.Errorf("%w: not kept for subscribers: %w", checks.ErrPartial, p.err)
	}
	return p.err
}

// A target is a subscriber of a publication.
type target struct {
	route    route
	outbox   *outbox   // nil where nothing is stored
	session  uint64    // its number, when it was stored
	previous uint64    // the message before, in the session
	delivery *delivery // nil where it went to disk alone
	packet   packets.Packet
}

// behind counts those of in's publisher that are not yet on disk; others must not
// overtake them.
func (b *Broker) behind(in *inbound) *atomic.Int32 {
	if in.session != nil {
		return &in.session.storing
	}
	return &b.storingOwn
}

// needsStore reports whether a publish is to be on disk before it goes on.
func (b *Broker) needsStore(in *inbound, to []route) bool {
	qos := in.packet.FixedHeader.Qos
	switch {
	case b.store == nil:
		return false
	case b.behind(in).Load() > 0:
		return true
	case qos == 0 || b.stored.Load() == 0:
		return false
	case qos == 2 && in.session != nil && in.session.out.number() != 0:
		return true // its redelivery must be known
	}
	for _, r := range to {
		if r.sub.Qos == 0 {
			continue
		}
		if c := b.recipient(r.client); c != nil && c.session.out.number() != 0 {
			return true
		}
	}
	return false
}

// storePublication hands a publish to the disk; arrive goes on with it. The
// numbers of messages, and what is retained, follow each other as on the disk.
func (b *Broker) storePublication(in *inbound, f *fanout) {
	p := &publication{in: in, packet: f.packet, partial: f.partial, accepted: f.accepted}
	w := &edit{isNew: true}
	w.done = func(err error) {
		p.err = err
		b.finisher.add(task{publication: p})
	}
	if !p.accepted && in.repeats() {
		w.behind = &in.conn.refused
	}
	b.behind(in).Add(1)
	b.finisher.pending.Add(1)
	b.storing.Lock()
	defer b.storing.Unlock()
	if f.keep {
		p.before = b.retainedOn(f.packet.TopicName)
		if err := b.retain(f.packet, w); err != nil {
			p.partial = fmt.Errorf("%w: %w", checks.ErrPartial, err)
		}
		p.kept = b.retainedOn(f.packet.TopicName)
		if last := b.keeping[f.packet.TopicName]; last != nil {
			last.next = p
		}
		b.keeping[f.packet.TopicName] = p
		f.to = b.routesOf(f.packet.TopicName)
	}
	b.address(p, w, f.to)
	if s := in.session; s != nil && in.packet.FixedHeader.Qos == 2 && s.out.number() != 0 {
		w.set(receivedKey(s.out.number(), in.packet.PacketID), encodeMark(in.mark))
	}
	b.store.submit(w, false)
}

// address enters a publication in the outboxes of those subscribers that have
// theirs on disk; b.storing is held.
func (b *Broker) address(p *publication, w *edit, to []route) {
	var record []byte
	for _, r := range to {
		t := target{route: r}
		c := b.recipient(r.client)
		if c == nil {
			continue
		}
		if min(p.packet.FixedHeader.Qos, r.sub.Qos) > 0 && c.session.out.number() != 0 {
			t.packet = p.packet
			if !forSubscriber(c, r, &t.packet) {
				continue
			}
			if record == nil {
				p.number = b.store.nextMessage()
				record = appendMessage(nil, &p.packet)
				p.cost = len(record) + storedCost
			}
			if !c.session.out.reserve(w, &t, p.number, p.cost) {
				continue // the session is over
			}
			if b.store.refer(p.number, p.cost) {
				w.set(numberKey(messagePrefix, p.number), record)
			}
		}
		p.targets = append(p.targets, t)
	}
}

// reserve enters a message that is about to be stored. It goes into memory as
// well where the client is connected and has caught up.
func (o *outbox) reserve(w *edit, t *target, number uint64, cost int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.number() == 0 {
		return false
	}
	t.outbox, t.session, t.previous = o, o.number(), o.last
	d := newDelivery(t.packet, number)
	d.stored = cost
	o.load.Add(1)
	o.payloads += int64(len(t.packet.Payload))
	o.disk += int64(cost)
	if o.client != nil && o.read == o.last && o.fits(d) {
		t.delivery = d
		o.read = number
		o.enter(d)
		if len(o.waiting) == 0 && o.hasRoom(d) {
			o.assign(d)
			o.fly(d)
		} else {
			o.waiting = append(o.waiting, d)
		}
	}
	o.last = number
	o.record(w, d)
	if o.exceeds(o.broker.queueOf(o.id)) {
		o.broker.sweeper.shorten(o)
	}
	return true
}

// fits reports whether there is room for d in memory; o.mu is held.
func (o *outbox) fits(d *delivery) bool {
	return o.memory+d.memory <= outboxBytes && len(o.waiting)+o.flying < outboxMessages
}

// arrive goes on with a publication when it is known what became of it on disk.
func (b *Broker) arrive(p *publication) {
	for i := range p.targets {
		t := &p.targets[i]
		switch {
		case t.outbox == nil:
			if p.err == nil || p.accepted {
				b.send(t.route, p.packet)
			}
		case p.err == nil:
			t.outbox.arrive(t, p)
		default:
			t.outbox.refuse(t, p)
		}
		b.level()
		b.relieve()
	}
	if p.kept != nil {
		b.endKeeping(p)
	}
	b.behind(p.in).Add(-1)
}

// endKeeping ends the way of a publication that was retained. If it was refused, what
// was retained before is put back, unless there is something newer, which then
// has that before it.
func (b *Broker) endKeeping(p *publication) {
	b.storing.Lock()
	defer b.storing.Unlock()
	topic := p.packet.TopicName
	if b.keeping[topic] == p {
		delete(b.keeping, topic)
	}
	if p.err == nil {
		return
	}
	if p.next != nil && p.next.before.Created == p.kept.Created {
		p.next.before = p.before
	}
	if b.retainedOn(topic).Created != p.kept.Created {
		return
	}
	w := &edit{}
	_ = b.retain(*p.before, w) // there was room for it
	b.store.submit(w, true)
}

// retainedOn is the retained message of a topic, or one without a payload.
func (b *Broker) retainedOn(topic string) *packets.Packet {
	pk, _ := b.server.Topics.Retained.Get(topic)
	pk.TopicName = topic
	return &pk
}

// arrive sends a message that is on disk now. One that is known to be there from
// reading the disk may have been dropped since.
func (o *outbox) arrive(t *target, p *publication) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.number() != t.session {
		return
	}
	o.arrived = max(o.arrived, p.number)
	d := t.delivery
	switch {
	case d == nil && o.client != nil && o.read == t.previous && p.number > o.trimmed && !o.feeding:
		d = newDelivery(t.packet, p.number)
		d.stored, d.committed = p.cost, true
		if !o.fits(d) {
			return
		}
		o.read = p.number
		o.enter(d)
		o.waiting = append(o.waiting, d)
		o.pump()
	case d == nil:
		o.feed()
	case !d.gone:
		d.committed = true
		if d.inFlight {
			o.transmit(d)
		}
		o.pump()
	default: // its connection ended before it was sent; the next reads it from the disk
		o.feed()
	}
}

// refuse forgets a message that is not on disk.
func (o *outbox) refuse(t *target, p *publication) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broker.store.release(&edit{}, p.number, p.cost)
	if o.number() != t.session {
		return
	}
	if d := t.delivery; d != nil && !d.gone {
		o.leave(d)
	}
	o.load.Add(-1)
	o.payloads -= int64(len(p.packet.Payload))
	o.disk -= int64(p.cost)
	if p.in.session == nil { // nobody will send it again
		o.broker.dropped(o.id, 1)
	}
}
