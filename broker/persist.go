package broker

import (
	"encoding/binary"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// startStoring has a session that outlives its connection kept on disk from here
// on.
func (b *Broker) startStoring(s *session) {
	if b.store == nil || s.out.number() != 0 {
		return
	}
	s.out.session.Store(b.store.nextSession())
	b.stored.Add(1)
}

// endOutbox forgets what waits for a session that is over. What is being stored
// for it goes to the disk before, or not at all.
func (b *Broker) endOutbox(s *session) {
	b.storing.Lock()
	defer b.storing.Unlock()
	number := s.out.end()
	if number == 0 {
		return
	}
	b.stored.Add(-1)
	w := &edit{done: func(error) { b.sweeper.end(number) }}
	w.delete(numberKey(sessionPrefix, number))
	w.deleteAll(numberKey(subscriptionPrefix, number))
	w.deleteAll(numberKey(receivedPrefix, number))
	b.store.submit(w, true)
}

// storeSession stores what the session of c is now: connected, or away since
// some time and with a will that waits.
func (b *Broker) storeSession(c *conn, w *will, away time.Time) {
	number := c.session.out.number()
	if number == 0 {
		return
	}
	r := sessionRecord{
		client:  c.session.id,
		user:    c.rights.user,
		local:   c.rights.local,
		version: c.client.Properties.ProtocolVersion,
		away:    away,
		will:    w,
	}
	switch d, ok := expiry(c.client); {
	case ok && d == 0:
		r.expiry = forever
	case ok:
		r.expiry = uint32(d / time.Second)
	}
	e := &edit{}
	e.set(numberKey(sessionPrefix, number), r.encode())
	b.store.submit(e, true)
}

// storeAway is storeSession for one that has no will any more, if it is still
// away.
func (b *Broker) storeAway(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.recipient(s.id); c != nil && c.session == s && s.refs == 0 {
		b.storeSession(c, nil, s.away)
	}
}

// storeSubscriptions has what a client was granted on disk before it is told so.
func (b *Broker) storeSubscriptions(c *conn, filters []packets.Subscription, codes []byte) {
	number := c.session.out.number()
	if number == 0 {
		return
	}
	w := &edit{isNew: true}
	for i, f := range filters {
		code := codes[i]
		if answer, ok := c.answers[i]; ok {
			f, code = answer, answer.Qos
		}
		if code >= packets.ErrUnspecifiedError.Code {
			continue
		}
		w.set(subscriptionKey(number, f.Filter), encodeSubscription(&f))
	}
	b.waitFor(c, w)
}

// dropSubscriptions has the store forget filters before the client is told so.
func (b *Broker) dropSubscriptions(c *conn, filters []packets.Subscription) {
	number := c.session.out.number()
	if number == 0 {
		return
	}
	w := &edit{}
	for _, f := range filters {
		w.delete(subscriptionKey(number, f.Filter))
	}
	b.waitFor(c, w)
}

// waitFor waits until w is on disk, or ends the client's connection where it
// cannot be.
func (b *Broker) waitFor(c *conn, w *edit) {
	if b.store.failed() || b.store.wait(w, c.closed) != nil {
		_ = b.disconnect(c.client, packets.ErrQuotaExceeded)
	}
}

func encodeMark(mark uint64) []byte { return binary.BigEndian.AppendUint64(nil, mark) }
