package broker

import (
	"errors"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble"
)

// sweepRecords is how many deliveries are removed between two commits.
const sweepRecords = 4096

// A sweeper knows what is to be removed from the store.
type sweeper struct {
	mu    sync.Mutex
	ended []uint64             // sessions
	full  map[*outbox]struct{} // that have more than they may
}

// end has what waited for a session removed.
func (s *sweeper) end(session uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, session)
}

// shorten has the oldest of an outbox removed.
func (s *sweeper) shorten(o *outbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full == nil {
		s.full = map[*outbox]struct{}{}
	}
	s.full[o] = struct{}{}
}

// next returns what is to be done.
func (s *sweeper) next() (ended uint64, full []*outbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) > 0 {
		ended = s.ended[0]
	}
	for o := range s.full {
		full = append(full, o)
	}
	clear(s.full)
	return ended, full
}

// finished notes that nothing is left of the first ended session.
func (s *sweeper) finished() (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = s.ended[1:]
	return len(s.ended) > 0
}

// sweep returns what is to be removed now, and whether there is more. The
// committer calls it between two commits.
func (b *Broker) sweep() (w *edit, more bool) {
	ended, full := b.sweeper.next()
	w = &edit{}
	if ended != 0 {
		done, err := b.store.removeSession(w, ended)
		b.sweepFailed(err)
		more = !done && err == nil
		if done {
			more = b.sweeper.finished()
		}
	}
	for _, o := range full {
		b.sweepFailed(o.trim(w, b.queueOf(o.id)))
	}
	if excess := b.store.size() - b.cfg.MaxStored; excess > 0 {
		if o := b.largest(); o != nil {
			o.mu.Lock()
			limit := Queue{Messages: int(o.load.Load()), Bytes: o.disk - min(max(excess, o.disk/8), o.disk)}
			o.mu.Unlock()
			b.sweepFailed(o.trim(w, limit))
			more = more || len(w.ops) > 0
		}
	}
	return w, more
}

func (b *Broker) sweepFailed(err error) {
	if err != nil {
		b.seldom[readFailed].log(func(count int) { b.log.Error("cannot read what waits for clients", "err", err, "count", count) })
	}
}

// largest is the outbox that takes most on disk.
func (b *Broker) largest() *outbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	var most *outbox
	var size int64
	for _, s := range b.sessions {
		s.out.mu.Lock()
		if s.out.disk > size {
			most, size = &s.out, s.out.disk
		}
		s.out.mu.Unlock()
	}
	return most
}

// removeSession removes some of what waited for a session that is over, and
// reports whether that was all.
func (st *store) removeSession(w *edit, session uint64) (done bool, err error) {
	_, removed, err := st.records(session, 0, func(message uint64, r deliveryRecord) bool {
		w.delete(deliveryKey(session, message))
		if r.phase != released {
			st.release(w, message, r.cost)
		}
		return true
	})
	return err == nil && removed < sweepRecords, err
}

// records calls f for up to sweepRecords of a session's records after one message
// while it returns true. last is the last message.
func (st *store) records(session, after uint64, f func(message uint64, r deliveryRecord) bool) (last uint64, n int, err error) {
	db, err := st.acquire()
	if err != nil {
		return 0, 0, err
	}
	defer st.free()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: deliveryKey(session, after+1), UpperBound: numberKey(deliveryPrefix, session+1)})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid() && n < sweepRecords; it.Next() {
		_, message, err := cutDeliveryKey(it.Key())
		if err != nil {
			return last, n, err
		}
		r, err := decodeDelivery(it.Value())
		if err != nil {
			return last, n, st.explain(err)
		}
		if !f(message, r) {
			break
		}
		last = message
		n++
	}
	return last, n, it.Error()
}

// trim removes the oldest of a stored session that are not in flight, until it
// has no more than q allows. Those not yet committed are left for the next time,
// and so are all until the disk has what the last connection made of them.
func (o *outbox) trim(w *edit, q Queue) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.number() == 0 {
		return nil
	}
	dropped := 0
	defer func() {
		o.broker.dropped(o.id, dropped)
		if o.exceeds(q) {
			o.broker.sweeper.shorten(o)
		}
	}()
	if o.unwritten.Load() > 0 {
		return nil
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(d *delivery) bool {
		if d.gone || d.id != 0 || !d.committed || !o.exceeds(q) {
			return d.gone
		}
		o.leave(d)
		o.forget(w, d.number, deliveryRecord{cost: d.stored, payload: len(d.packet.Payload)})
		dropped++
		return true
	})
	after := max(o.read, o.trimmed)
	last, _, err := o.broker.store.records(o.number(), after, func(message uint64, r deliveryRecord) bool {
		if !o.exceeds(q) || message > o.arrived && o.client != nil {
			return false
		}
		if r.phase == queued {
			o.forget(w, message, r)
			dropped++
		}
		return true
	})
	o.trimmed = max(o.trimmed, last)
	return err
}

// exceeds reports whether more waits than q allows; o.mu is held.
func (o *outbox) exceeds(q Queue) bool { return o.load.Load() > int64(q.Messages) || o.disk > q.Bytes }

// forget has w remove a message that waits on disk; o.mu is held.
func (o *outbox) forget(w *edit, message uint64, r deliveryRecord) {
	o.load.Add(-1)
	o.payloads -= int64(r.payload)
	o.disk -= int64(r.cost)
	w.delete(deliveryKey(o.number(), message))
	o.broker.store.release(w, message, r.cost)
}
