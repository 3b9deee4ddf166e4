package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// feedMessages and feedBytes are how much is read from the disk at once.
	feedMessages = 512
	feedBytes    = 1 << 20
	// readPause is how long one waits after a failure to read.
	readPause = time.Second
)

// feed has more read from the disk, where there is more and room for it; o.mu is
// held.
func (o *outbox) feed() {
	if o.feeding || !o.hungry() {
		return
	}
	c := o.client.Net.Conn.(*conn)
	o.feeding = c.run(func() { o.eat(c.client) })
}

// resume is feed for a client that comes back: what it acknowledged last is off
// the disk before that is read; o.mu is held.
func (o *outbox) resume() {
	c := o.client.Net.Conn.(*conn)
	o.feeding = c.run(func() {
		upTo := o.submitted()
		err := o.broker.store.flush(c.closed)
		o.mu.Lock()
		if err != nil || o.client != c.client {
			o.feeding = false
			o.mu.Unlock()
			return
		}
		o.arrived = max(o.arrived, upTo)
		o.mu.Unlock()
		o.eat(c.client)
	})
}

// submitted returns the newest message there is; the store has been handed it and
// all before it.
func (o *outbox) submitted() uint64 {
	o.broker.storing.Lock()
	defer o.broker.storing.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// hungry reports whether the client is to be sent more than is in memory; o.mu is
// held.
func (o *outbox) hungry() bool {
	if o.client == nil || o.number() == 0 || o.read >= o.arrived {
		return false
	}
	return len(o.waiting) == 0 || o.memory < outboxBytes/2 && len(o.waiting) < outboxMessages/4 && o.broker.outboxes.Load() < outboxesBytes/4*3
}

// eat reads from the disk what cl is to be sent, until memory has enough of it.
func (o *outbox) eat(cl *mqtt.Client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.feeding = false }()
	for o.client == cl && o.hungry() {
		session, after, upTo := o.number(), o.read, o.arrived
		o.mu.Unlock()
		p, err := o.broker.store.deliveries(session, after, upTo)
		o.mu.Lock()
		if o.client != cl || o.number() != session {
			return
		}
		if err != nil {
			if !errors.Is(err, errStoreDown) {
				o.broker.seldom[readFailed].log(func(count int) {
					o.broker.log.Error("cannot read what waits for a client", "client", o.id, "err", err, "count", count)
				})
			}
			if !o.awaitStore(err) {
				return
			}
			continue
		}
		if o.read == after { // else memory was shortened meanwhile
			o.take(p)
		}
	}
}

// awaitStore waits for the end of an outage, or a little where reading failed, and
// reports whether to go on; o.mu is held, and not meanwhile.
func (o *outbox) awaitStore(err error) bool {
	closed := o.client.Net.Conn.(*conn).closed
	o.mu.Unlock()
	defer o.mu.Lock()
	if errors.Is(err, errStoreDown) {
		return o.broker.store.flush(closed) == nil
	}
	select {
	case <-closed:
		return false
	case <-time.After(readPause):
		return true
	}
}

// A portion is some of a session's deliveries, read from the disk.
type portion struct {
	found   []*delivery
	settled map[uint64]deliveryRecord // by number: those without a message
	reached uint64                    // there are no more up to here
}

// take puts what was read from the disk into memory; o.mu is held. What was
// dropped meanwhile is not taken. A message that is not on disk was settled for
// all sessions: a crash came before that was written for this one.
func (o *outbox) take(p portion) {
	dropped := func(number uint64, ph phase) bool { return ph == queued && number <= o.trimmed }
	for _, d := range p.found {
		if dropped(d.number, d.phase) {
			continue
		}
		o.enter(d)
		if d.id != 0 {
			o.know(d)
		}
		o.waiting = append(o.waiting, d)
	}
	w := &edit{}
	for number, r := range p.settled {
		if !dropped(number, r.phase) {
			o.forget(w, number, r)
		}
	}
	if len(w.ops) > 0 {
		o.broker.store.submit(w, true)
	}
	o.read = p.reached
	o.pump()
}

// deliveries reads some of a session's after one message, up to another.
func (st *store) deliveries(session, after, upTo uint64) (p portion, err error) {
	db, err := st.acquire()
	if err != nil {
		return p, err
	}
	defer st.free()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: deliveryKey(session, after+1), UpperBound: deliveryKey(session, upTo+1)})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n, size := 0, 0
	p.reached = upTo
	for it.First(); it.Valid(); it.Next() {
		_, number, err := cutDeliveryKey(it.Key())
		if err != nil {
			return p, err
		}
		if n == feedMessages || size >= feedBytes {
			p.reached = number - 1
			break
		}
		r, err := decodeDelivery(it.Value())
		if err == nil {
			err = p.add(db.Value, number, r)
		}
		if err != nil {
			return p, st.explain(fmt.Errorf("delivery %d of session %d: %w", number, session, err))
		}
		n, size = n+1, size+packetCost+r.cost
	}
	return p, it.Error()
}

// add reads a delivery's message, unless the client has it.
func (p *portion) add(get func(key []byte) ([]byte, error), number uint64, r deliveryRecord) error {
	d := &delivery{number: number, phase: r.phase, id: r.id, memory: packetCost, stored: r.cost, committed: true, dup: r.phase == sent}
	if r.phase != released {
		value, err := get(numberKey(messagePrefix, number))
		if errors.Is(err, pebble.ErrNotFound) {
			if p.settled == nil {
				p.settled = map[uint64]deliveryRecord{}
			}
			p.settled[number] = r
			return nil
		}
		if err != nil {
			return err
		}
		if d.packet, err = decodeMessage(value); err != nil {
			return err
		}
		d.memory = cost(&d.packet)
	}
	d.packet.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: r.qos, Retain: r.retain}
	d.packet.Properties.SubscriptionIdentifier = r.filters
	p.found = append(p.found, d)
	return nil
}
