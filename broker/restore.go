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

// restore opens the store and takes up what it has.
func (b *Broker) restore() error {
	disk := b.cfg.disk
	if disk == nil {
		disk = vfs.Default
	}
	st, err := openStore(b.cfg.Dir, disk, b.log)
	if err != nil {
		return err
	}
	b.store = st
	st.sweep = b.sweep
	r := restorer{b, map[uint64]*mqtt.Client{}}
	for _, load := range []func() error{r.sessions, r.subscriptions, r.received, r.deliveries, r.retained} {
		if err := load(); err != nil {
			return fmt.Errorf("open broker store: %w", errors.Join(st.explain(err), st.closeEngine(err), st.lock.Unlock()))
		}
	}
	b.routes.forget() // of what was published before
	b.mu.Lock()
	b.mostSeen = len(b.sessions)
	b.mu.Unlock()
	go st.run()
	return nil
}

// A restorer takes up what the store has.
type restorer struct {
	broker  *Broker
	clients map[uint64]*mqtt.Client // by the number of their sessions
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

// newest is the largest number in a key with a prefix, or 0.
func (st *store) newest(prefix byte) (number uint64, err error) {
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.Last() {
		number, _, err = cutKey(it.Key())
	}
	return number, errors.Join(err, it.Error())
}

// sessions takes up the sessions. Those whose client was connected
// at a crash are away from now on.
func (r restorer) sessions() error {
	return r.broker.store.each(sessionPrefix, func(key, value []byte) error {
		number, _, err := cutKey(key)
		if err != nil {
			return err
		}
		record, err := decodeSession(value)
		if err != nil {
			return err
		}
		r.broker.store.session = max(r.broker.store.session, number)
		r.clients[number] = r.broker.begin(number, record)
		return nil
	})
}

// begin begins a session as its record says, with what the library has of a client
// that is away.
func (b *Broker) begin(number uint64, r sessionRecord) *mqtt.Client {
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
	return cl
}

func (r restorer) subscriptions() error {
	return r.broker.store.each(subscriptionPrefix, func(key, value []byte) error {
		number, filter, err := cutKey(key)
		cl := r.clients[number]
		if err != nil || cl == nil {
			return err
		}
		sub, err := decodeSubscription(string(filter), value)
		if err != nil {
			return err
		}
		if r.broker.server.Topics.Subscribe(cl.ID, sub) {
			atomic.AddInt64(&r.broker.server.Info.Subscriptions, 1)
		}
		cl.State.Subscriptions.Add(sub.Filter, sub)
		r.broker.mustKeep(&cl.Net.Conn.(*conn).session.filters, costOf(sub.Filter))
		r.broker.withParent(cl.ID, sub)
		return nil
	})
}

func (r restorer) received() error {
	return r.broker.store.each(receivedPrefix, func(key, value []byte) error {
		number, id, err := cutKey(key)
		cl := r.clients[number]
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

// deliveries counts what waits. Those of a session that ended shortly before
// the crash are removed later.
func (r restorer) deliveries() error {
	st := r.broker.store
	var err error
	if st.message, err = st.newest(messagePrefix); err != nil {
		return err
	}
	var ended uint64
	return st.each(deliveryPrefix, func(key, value []byte) error {
		session, message, err := cutDeliveryKey(key)
		if err != nil {
			return err
		}
		d, err := decodeDelivery(value)
		if err != nil {
			return err
		}
		st.session, st.message = max(st.session, session), max(st.message, message)
		if d.phase != released {
			st.refer(message, d.cost)
		}
		cl := r.clients[session]
		if cl == nil {
			if ended != session {
				ended = session
				r.broker.sweeper.end(session)
			}
			return nil
		}
		o := &cl.Net.Conn.(*conn).session.out
		o.load.Add(1)
		o.payloads += int64(d.payload)
		o.disk += int64(d.cost)
		o.last = message
		return nil
	})
}

func (r restorer) retained() error {
	gone := &edit{}
	err := r.broker.store.each(retainedPrefix, func(key, value []byte) error {
		if len(value) == 0 {
			return errRecord
		}
		pk, err := decodeMessage(value[1:])
		if err != nil {
			return err
		}
		pk.FixedHeader.Qos, pk.FixedHeader.Retain = min(value[0], 2), true
		if expired(&pk) {
			gone.delete(append([]byte(nil), key...))
			return nil
		}
		if r.broker.retain(pk, nil) != nil {
			gone.delete(append([]byte(nil), key...)) // there is no room any more
		}
		return nil
	})
	r.broker.store.submit(gone, true)
	return err
}
