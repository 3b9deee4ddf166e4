package spool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// A stateEntry is an entry of the table of states, or the Seq of the newest
// event.
type stateEntry struct {
	key   []byte
	value []byte // nil: the object is gone
}

func (e stateEntry) put(b *pebble.Batch) error {
	if e.value == nil {
		return b.Delete(e.key, nil)
	}
	return b.Set(e.key, e.value, nil)
}

// SaveStates keeps what was published last of some objects, and seq as the Seq
// of the newest event, and forgets the objects of changes of kind
// checks.KindRemoved. All of it is stored or nothing. It waits for the group
// commit, which others share. After an error it may be called again.
func (q *Queue) SaveStates(changes []checks.Change, seq uint64) error {
	w := &write{states: make([]stateEntry, 0, len(changes)+1)}
	for i := range changes {
		c := &changes[i]
		e := stateEntry{key: stateKey(c.Object)}
		if c.Kind != checks.KindRemoved {
			e.value = appendChange(nil, c)
		}
		w.states = append(w.states, e)
		w.cost += int64(len(e.key) + len(e.value))
	}
	w.states = append(w.states, stateEntry{eventKey, binary.BigEndian.AppendUint64(nil, seq)})
	done := make(chan error, 1)
	w.done = func(err error) { done <- err }
	q.mu.Lock()
	q.enqueue(w)
	return <-done
}

// EachState calls f with what SaveStates has kept of every object, in the order
// of host and service, and returns the Seq of the newest event. It stops at the
// first error of f and returns it.
func (q *Queue) EachState(f func(checks.Change) error) (seq uint64, err error) {
	s, err := q.acquire()
	if err != nil {
		return 0, err
	}
	defer q.release()
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{statePrefix}, UpperBound: []byte{statePrefix + 1}})
	if err != nil {
		return 0, q.explain(err)
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		c, err := decodeChange(it.Value())
		if err != nil {
			return 0, q.explain(fmt.Errorf("state %q: %w", it.Key(), err))
		}
		if err := f(c); err != nil {
			return 0, err
		}
	}
	if err := it.Error(); err != nil {
		return 0, q.explain(err)
	}
	value, err := s.Value(eventKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err == nil && len(value) != 8:
		err = fmt.Errorf("the number of events has %d bytes, want 8", len(value))
	}
	if err != nil {
		return 0, q.explain(err)
	}
	return binary.BigEndian.Uint64(value), nil
}

func stateKey(o checks.Object) []byte { return appendObject([]byte{statePrefix}, o) }

// changeVersion is the first byte of an encoded change.
//
// Version 1: the version, the state, the previous state, the flags below; the
// lengths of host, service, reason, performance data, origin and kind as
// uvarints, then these six texts without separators; Time and Since as a varint
// of seconds and a uvarint of nanoseconds each; attempt as a varint; Seq in 8
// bytes, big-endian.
const changeVersion = 1

const (
	flagSoft = 1 << iota
	flagAcknowledged
	flagInDowntime
	flagFlapping
)

// appendChange appends the encoding of c to buf.
func appendChange(buf []byte, c *checks.Change) []byte {
	var flags byte
	for i, set := range []bool{c.Soft, c.Acknowledged, c.InDowntime, c.Flapping} {
		if set {
			flags |= 1 << i
		}
	}
	buf = append(buf, changeVersion, byte(c.State), byte(c.Previous), flags)
	texts := [...]string{c.Host, c.Service, c.Reason, c.Perfdata, c.Origin, c.Kind}
	for _, s := range texts {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
	}
	for _, s := range texts {
		buf = append(buf, s...)
	}
	buf = appendTime(buf, c.Time, 0)
	buf = appendTime(buf, c.Since, 0)
	buf = binary.AppendVarint(buf, int64(c.Attempt))
	return binary.BigEndian.AppendUint64(buf, c.Seq)
}

// decodeChange is the reverse of appendChange. Times come back in UTC.
func decodeChange(data []byte) (checks.Change, error) {
	d := decoder{rest: data}
	if v := d.byte(); v != changeVersion {
		d.fail(fmt.Errorf("state encoded in version %d, this program reads %d", v, changeVersion))
	}
	var c checks.Change
	c.State, c.Previous = checks.State(d.byte()), checks.State(d.byte())
	if max(c.State, c.Previous) > checks.Pending {
		d.fail(fmt.Errorf("one of the states %d and %d is none", c.State, c.Previous))
	}
	flags := d.byte()
	c.Soft, c.Acknowledged = flags&flagSoft != 0, flags&flagAcknowledged != 0
	c.InDowntime, c.Flapping = flags&flagInDowntime != 0, flags&flagFlapping != 0
	d.texts(&c.Host, &c.Service, &c.Reason, &c.Perfdata, &c.Origin, &c.Kind)
	c.Time, c.Since = d.time(0), d.time(0)
	c.Attempt = int(d.varint())
	c.Seq = d.uint64()
	if len(d.rest) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.rest)))
	}
	return c, d.err
}
