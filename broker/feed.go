package broker

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"checkbus/internal/engine"
)

const (
	// feedMessages and feedBytes are how much is read from the disk at once.
	feedMessages = 512
	feedBytes    = 1 << 20
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
		found, reached, err := o.broker.store.deliveries(session, after, upTo)
		o.mu.Lock()
		if o.client != cl || o.number() != session {
			return
		}
		if errors.Is(err, errStoreDown) {
			if !o.awaitStore() {
				return
			}
			continue
		}
		if err != nil {
			o.broker.seldom[readFailed].log(func(count int) {
				o.broker.log.Error("cannot read what waits for a client", "client", o.id, "err", err, "count", count)
			})
			return
		}
		for _, d := range found {
			if d.id != 0 || d.number > o.trimmed { // it was not dropped meanwhile
				o.take(d)
			}
		}
		o.read = reached
		o.pump()
	}
}

// awaitStore waits for the end of an outage, and reports whether to go on; o.mu is
// held, and not meanwhile.
func (o *outbox) awaitStore() bool {
	closed := o.client.Net.Conn.(*conn).closed
	o.mu.Unlock()
	defer o.mu.Lock()
	return o.broker.store.flush(closed) == nil
}

// take puts a delivery that was read from the disk into memory; o.mu is held.
func (o *outbox) take(d *delivery) {
	c := o.client.Net.Conn.(*conn)
	o.enter(d)
	switch {
	case d.id != 0:
		o.know(d)
	case !c.rights.mayRead(d.packet.TopicName): // the rules have changed
		o.settle(d)
		return
	}
	o.waiting = append(o.waiting, d)
}

// deliveries reads some of a session's after one message, up to another, and
// returns up to which there are no more than these.
func (st *store) deliveries(session, after, upTo uint64) (found []*delivery, reached uint64, err error) {
	db, err := st.acquire()
	if err != nil {
		return nil, 0, err
	}
	defer st.free()
	view := db.NewSnapshot() // a sweep goes on beside
	defer func() { err = errors.Join(err, view.Close()) }()
	it, err := view.NewIter(&pebble.IterOptions{LowerBound: deliveryKey(session, after+1), UpperBound: deliveryKey(session, upTo+1)})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	get := func(key []byte) ([]byte, error) { return engine.Value(view, key) }
	size := 0
	for it.First(); it.Valid() && len(found) < feedMessages && size < feedBytes; it.Next() {
		_, number, err := cutDeliveryKey(it.Key())
		if err != nil {
			return nil, 0, err
		}
		d, err := readDelivery(get, number, it.Value())
		if err != nil {
			return nil, 0, st.explain(fmt.Errorf("delivery %d of session %d: %w", number, session, err))
		}
		found = append(found, d)
		size += d.memory
	}
	reached = upTo
	if it.Valid() {
		reached = found[len(found)-1].number
	}
	return found, reached, it.Error()
}

// readDelivery makes a delivery of its record and, unless the client has it, its
// message.
func readDelivery(get func(key []byte) ([]byte, error), number uint64, record []byte) (*delivery, error) {
	r, err := decodeDelivery(record)
	if err != nil {
		return nil, err
	}
	d := &delivery{number: number, phase: r.phase, id: r.id, memory: packetCost, stored: r.cost, committed: true, dup: r.phase == sent}
	if r.phase != released {
		value, err := get(numberKey(messagePrefix, number))
		if err != nil {
			return nil, err
		}
		if d.packet, err = decodeMessage(value); err != nil {
			return nil, err
		}
		d.memory = cost(&d.packet)
	}
	d.packet.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: r.qos, Retain: r.retain}
	d.packet.Properties.SubscriptionIdentifier = r.filters
	return d, nil
}
