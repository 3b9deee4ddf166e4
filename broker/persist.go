package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
	mqtt "github.com/mochi-mqtt/server/v2"
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

// endOutbox forgets what waits for a session that is over.
func (b *Broker) endOutbox(s *session) {
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

// storeAway is storeSession for one that is away, and has no will any more.
func (b *Broker) storeAway(s *session) {
	if c := b.recipient(s.id); c != nil && c.session == s {
		b.storeSession(c, nil, s.away)
	}
}

// storeSubscriptions has what a client was granted on disk before it is told so.
func (b *Broker) storeSubscriptions(c *conn, filters []packets.Subscription, codes []byte) {
	number := c.session.out.number()
	if number == 0 {
		return
	}
	w := &edit{}
	for i, f := range filters {
		if granted, ok := c.granted[i]; ok {
			f = granted
		} else if codes[i] >= packets.ErrUnspecifiedError.Code {
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

// waitFor waits until w is on disk. While the disk fails it ends the client's
// connection instead.
func (b *Broker) waitFor(c *conn, w *edit) {
	if b.store.failed() {
		_ = b.disconnect(c.client, packets.ErrServerUnavailable)
	}
	_ = b.store.wait(w, c.closed) // an error comes with the end of the connection
}

func encodeMark(mark uint64) []byte { return binary.BigEndian.AppendUint64(nil, mark) }

// restore opens the store and takes up what it has.
func (b *Broker) restore() error {
	st, err := openStore(b.cfg.Dir, vfs.Default, b.log)
	if err != nil {
		return err
	}
	b.store = st
	st.sweep = b.sweep
	for _, load := range []func() error{b.loadSessions, b.loadSubscriptions, b.loadReceived, b.loadDeliveries, b.loadRetained} {
		if err := load(); err != nil {
			return fmt.Errorf("open broker store: %w", errors.Join(st.explain(err), st.closeEngine(err), st.lock.Unlock()))
		}
	}
	b.mu.Lock()
	b.mostSeen = len(b.sessions)
	b.mu.Unlock()
	go st.run()
	return nil
}

// each calls f for all keys with a prefix.
func (st *store) each(prefix byte, f func(key, value []byte) error) (err error) {
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			return fmt.Errorf("key %q: %w", it.Key(), err)
		}
	}
	return it.Error()
}

// loadSessions begins all sessions anew, away. Those whose client was connected
// at a crash are away from now on.
func (b *Broker) loadSessions() error {
	b.restored = map[uint64]*mqtt.Client{}
	return b.store.each(sessionPrefix, func(key, value []byte) error {
		number, _, err := cutKey(key)
		if err != nil {
			return err
		}
		r, err := decodeSession(value)
		if err != nil {
			return err
		}
		b.store.session = max(b.store.session, number)
		b.restoreSession(number, r)
		return nil
	})
}

func (b *Broker) restoreSession(number uint64, r sessionRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := newSession(b, r.client)
	s.user, s.kept, s.lasting, s.away, s.will = r.user, true, true, r.away, r.will
	if s.away.IsZero() {
		s.away = time.Now()
	}
	if r.expiry != forever {
		s.ends = s.away.Add(time.Duration(r.expiry) * time.Second)
	}
	s.out.session.Store(number)
	b.stored.Add(1)
	b.sessions[s.id] = s

	cl := b.server.NewClient(nil, "", s.id, false)
	cl.Properties.ProtocolVersion = r.version
	cl.Properties.Props.SessionExpiryInterval = r.expiry
	cl.Stop(packets.ErrServerShuttingDown)
	c := &conn{session: s, client: cl, ended: true, rights: rights{user: r.user, client: r.client, local: r.local, all: strings.HasPrefix(r.client, bridgePrefix), access: &b.access}}
	c.moved.L = &c.mu
	cl.Net.Conn = c
	if s.will != nil {
		s.will.rights = c.rights
	}
	b.server.Clients.Add(cl)
	b.restored[number] = cl
}

func (b *Broker) loadSubscriptions() error {
	return b.store.each(subscriptionPrefix, func(key, value []byte) error {
		number, filter, err := cutKey(key)
		cl := b.restored[number]
		if err != nil || cl == nil {
			return err
		}
		sub, err := decodeSubscription(string(filter), value)
		if err != nil {
			return err
		}
		if b.server.Topics.Subscribe(cl.ID, sub) {
			atomic.AddInt64(&b.server.Info.Subscriptions, 1)
		}
		cl.State.Subscriptions.Add(sub.Filter, sub)
		return nil
	})
}

func (b *Broker) loadReceived() error {
	return b.store.each(receivedPrefix, func(key, value []byte) error {
		number, id, err := cutKey(key)
		cl := b.restored[number]
		if err != nil || cl == nil {
			return err
		}
		if len(id) != 2 || len(value) != 8 {
			return errRecord
		}
		cl.Net.Conn.(*conn).session.received[binary.BigEndian.Uint16(id)] = binary.BigEndian.Uint64(value)
		return nil
	})
}

// loadDeliveries counts what waits. Those of a session that ended shortly before
// the crash are removed later.
func (b *Broker) loadDeliveries() error {
	st := b.store
	err := st.each(messagePrefix, func(key, _ []byte) error {
		number, _, err := cutKey(key)
		st.message = max(st.message, number)
		return err
	})
	if err != nil {
		return err
	}
	var ended uint64
	return st.each(deliveryPrefix, func(key, value []byte) error {
		session, message, err := cutDeliveryKey(key)
		if err != nil {
			return err
		}
		r, err := decodeDelivery(value)
		if err != nil {
			return err
		}
		st.session, st.message = max(st.session, session), max(st.message, message)
		if r.phase != released {
			st.refer(message, r.cost)
		}
		cl := b.restored[session]
		if cl == nil {
			if ended != session {
				ended = session
				b.sweeper.end(session)
			}
			return nil
		}
		o := &cl.Net.Conn.(*conn).session.out
		o.load.Add(1)
		o.payloads += int64(r.payload)
		o.disk += int64(r.cost)
		o.last = message
		return nil
	})
}

func (b *Broker) loadRetained() error {
	expiredOnes := &edit{}
	err := b.store.each(retainedPrefix, func(key, value []byte) error {
		if len(value) == 0 {
			return errRecord
		}
		pk, err := decodeMessage(value[1:])
		if err != nil {
			return err
		}
		pk.FixedHeader.Qos, pk.FixedHeader.Retain = min(value[0], 2), true
		if expired(&pk) {
			expiredOnes.delete(append([]byte(nil), key...))
			return nil
		}
		return b.retain(pk, nil)
	})
	b.store.submit(expiredOnes, true)
	b.restored = nil
	return err
}
