package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"checkbus/broker"
	"checkbus/checks"
)

// maxPending bounds what waits for the disk, in bytes. Beyond it messages are
// refused as if the spool were full, so that a hanging disk costs no memory.
const maxPending = 64 << 20

// maxTold is how many refused items of one message are told one by one.
const maxTold = 100

// Accept takes a message from the broker and answers it by done once its
// results are on disk. It never blocks.
func (b *Bus) Accept(m broker.Message, done func(error)) {
	if b.Queue.Pending() > maxPending {
		err := fmt.Errorf("%w: the disk is too slow, try again later", checks.ErrFull)
		if !m.Held {
			b.refuse(m.Client, m.Topic, m.Payload, err)
		}
		done(err)
		return
	}
	if m.Retain && len(m.Payload) == 0 {
		b.Queue.Append(nil, done) // clears a retained message (MQTT 5, 3.3.1.3), and is no result
		return
	}
	identity := m.User
	if identity == "" {
		identity = m.Client
	}
	fingerprint := fingerprint(m)
	if _, taken := b.recent[fingerprint]; taken && m.Dup {
		b.counters.Duplicate.Add(1)
		b.Queue.Append(nil, done)
		return
	}
	a := admission{bus: b, message: m}
	for item := range b.Decoder.Decode(m.Topic, m.Payload, time.Now(), identity) {
		item.Result.Client = m.Client
		item.Result.Message = fingerprint
		a.add(item)
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	a.admit()
	b.Queue.Append(a.results, func(err error) { done(a.settle(err)) })
}

// Denied takes a message that the broker did not let its client publish.
func (b *Bus) Denied(m broker.Message) {
	b.refuse(m.Client, m.Topic, m.Payload, checks.ErrDenied)
}

// fingerprint tells a redelivered message from a new one. Without a packet
// identifier (QoS 0) there is no redelivery, and the fingerprint is 0.
func fingerprint(m broker.Message) uint64 {
	if m.PacketID == 0 {
		return 0
	}
	var h xxhash.Digest
	h.Reset()
	_, _ = h.WriteString(m.Client)
	_, _ = h.Write(binary.BigEndian.AppendUint16([]byte{0}, m.PacketID))
	_, _ = h.WriteString(m.Topic)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(m.Payload)
	return h.Sum64()
}

// An admission is one message on its way into the spool.
type admission struct {
	bus     *Bus
	message broker.Message
	results []checks.Result
	raw     [][]byte // the text of each result
	refused []refused
	items   int
}

type refused struct {
	raw []byte
	err error
}

// add sorts item to the results or the refused.
func (a *admission) add(item checks.Item) {
	a.items++
	a.bus.counters.Received.Add(1)
	if item.Clamped {
		a.bus.counters.Clamped.Add(1)
	}
	err := item.Err
	if err == nil {
		err = a.bus.known(item.Result.Object)
	}
	if err != nil {
		a.refused = append(a.refused, refused{item.Raw, err})
		return
	}
	a.results = append(a.results, item.Result)
	a.raw = append(a.raw, item.Raw)
}

// admit gives the results their order and keeps those that have a place in it.
// The bus is locked.
func (a *admission) admit() {
	kept := a.results[:0]
	for i := range a.results {
		r := &a.results[i]
		if err := a.bus.order.admit(r); err != nil {
			a.refused = append(a.refused, refused{a.raw[i], err})
			continue
		}
		kept = append(kept, *r)
	}
	a.results = kept
}

// settle runs once the results are on disk, or cannot be, and returns the
// answer to the publisher.
func (a *admission) settle(disk error) error {
	b := a.bus
	if disk != nil && a.message.Held && !errors.Is(disk, checks.ErrInvalid) {
		return disk // it comes again
	}
	a.tell()
	if disk != nil {
		b.refuse(a.message.Client, a.message.Topic, a.message.Payload, disk)
		return disk
	}
	b.counters.Accepted.Add(uint64(len(a.results)))
	b.states.observe(a.results)
	switch len(a.refused) {
	case 0:
		return nil
	case a.items:
		return a.refused[0].err
	}
	return fmt.Errorf("%w: %d of %d items, first: %v", checks.ErrPartial, len(a.refused), a.items, a.refused[0].err)
}

// tell says which items are refused: each of the first, and then how many more,
// since a message can hold very many.
func (a *admission) tell() {
	m, b := a.message, a.bus
	for i, r := range a.refused {
		if i == maxTold {
			b.announce(newRefusal(m.Client, m.Topic, nil, fmt.Errorf("%d more items of this message are refused", len(a.refused)-i)))
		}
		if i >= maxTold {
			b.counters.refused[cause(r.err)].Add(1)
			continue
		}
		b.refuse(m.Client, m.Topic, r.raw, r.err)
	}
}

// known says whether any core has o, or none is sure of its objects yet.
func (b *Bus) known(o checks.Object) error {
	if len(b.Cores) == 0 {
		return nil
	}
	for _, c := range b.Cores {
		if c.Sink.Knows(o) {
			return nil
		}
	}
	if o.IsHost() {
		return fmt.Errorf("%w: no core has a host %q", checks.ErrUnknownObject, o.Host)
	}
	return fmt.Errorf("%w: no core has a service %q on host %q", checks.ErrUnknownObject, o.Service, o.Host)
}
