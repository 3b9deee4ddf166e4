package spool

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// The newest result of an object is its newest record as long as that is kept.
// The trim moves it to the table of last results, in the same write that deletes
// the record. Writing the table with every record instead would double what the
// engine has to sort.

// A latest set has the Seq of the newest record of each object that has one, by
// the object's key in the table of last results.
type latest map[string]*uint64

func (n latest) note(key []byte, seq uint64) {
	if at, ok := n[string(key)]; ok {
		*at = seq
		return
	}
	n[string(key)] = &seq
}

// moveLast adds to b the last results, of those in from, whose records go with a
// trim up to seq.
func (s *store) moveLast(b *pebble.Batch, from latest, seq uint64) error {
	for key, at := range from {
		if *at > seq {
			continue
		}
		value, err := s.Value(recordKey(*at))
		if err != nil {
			return fmt.Errorf("record %d: %w", *at, err)
		}
		_, encoded, err := splitValue(value)
		if err != nil {
			return fmt.Errorf("record %d: %w", *at, err)
		}
		putValue(value, *at, encoded)
		if err := b.Set([]byte(key), value, nil); err != nil {
			return err
		}
	}
	return nil
}

// findLatest reads which records after the one with Seq after, up to upto, are
// the newest of their objects.
func (s *store) findLatest(after, upto uint64) (latest, error) {
	found := make(latest)
	buf := make([]checks.Result, 256)
	var key []byte
	for after < upto {
		n, err := s.read(buf, after, upto)
		if err != nil {
			return nil, err
		}
		for _, r := range buf[:n] {
			key = appendLastKey(key[:0], r.Object)
			found.note(key, r.Seq)
		}
		after += uint64(n)
	}
	return found, nil
}

// Last returns the newest committed result of o, whether it was read or not;
// false when there is none. What still waits for its group commit is not seen.
func (q *Queue) Last(o checks.Object) (checks.Result, bool, error) {
	s, err := q.acquire()
	if err != nil {
		return checks.Result{}, false, err
	}
	defer q.release()
	key := appendLastKey(nil, o)
	var seq uint64
	q.mu.Lock()
	if at, ok := q.latest[string(key)]; ok {
		seq = *at
	}
	q.mu.Unlock()
	r, err := lastResult(s, key, seq)
	if errors.Is(err, pebble.ErrNotFound) {
		return checks.Result{}, false, nil
	}
	if err != nil {
		return checks.Result{}, false, q.explain(fmt.Errorf("last result of %s: %w", o, err))
	}
	return r, true, nil
}

// lastResult reads the record seq or, when that is 0 or has just been trimmed,
// the entry key of the table; pebble.ErrNotFound when there is neither.
func lastResult(from pebble.Reader, key []byte, seq uint64) (checks.Result, error) {
	if seq > 0 {
		value, closer, err := from.Get(recordKey(seq))
		if err == nil {
			defer closer.Close()
			return decodeRecord(recordKey(seq), value, seq)
		}
		if !errors.Is(err, pebble.ErrNotFound) {
			return checks.Result{}, err
		}
	}
	value, closer, err := from.Get(key)
	if err != nil {
		return checks.Result{}, err
	}
	defer closer.Close()
	return decodeLast(value)
}

// EachLast calls f with the newest result of every object, as they were when
// EachLast was called, in the order of host and service. It stops at the first
// error of f and returns it. f may use the Queue.
func (q *Queue) EachLast(f func(checks.Result) error) (err error) {
	s, err := q.acquire()
	if err != nil {
		return err
	}
	defer q.release()
	q.mu.Lock()
	records := make(map[string]uint64, len(q.latest))
	for key, at := range q.latest {
		records[key] = *at
	}
	q.mu.Unlock()
	view := s.NewSnapshot()
	defer func() { err = errors.Join(err, view.Close()) }()
	for key, err := range lastKeys(view, slices.Sorted(maps.Keys(records))) {
		var r checks.Result
		if err == nil {
			r, err = lastResult(view, key, records[string(key)])
		}
		if err != nil {
			return q.explain(fmt.Errorf("last result %q: %w", key, err))
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// lastKeys yields the keys of the table and those of records, which are sorted,
// each once and in order. An error ends it.
func lastKeys(from pebble.Reader, records []string) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		it, err := from.NewIter(&pebble.IterOptions{LowerBound: []byte{lastPrefix}, UpperBound: []byte{lastPrefix + 1}})
		if err != nil {
			yield(nil, err)
			return
		}
		defer it.Close()
		for it.First(); it.Valid(); it.Next() {
			for len(records) > 0 && records[0] < string(it.Key()) {
				if !yield([]byte(records[0]), nil) {
					return
				}
				records = records[1:]
			}
			if len(records) > 0 && records[0] == string(it.Key()) {
				records = records[1:]
			}
			if !yield(bytes.Clone(it.Key()), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(nil, err)
			return
		}
		for _, key := range records {
			if !yield([]byte(key), nil) {
				return
			}
		}
	}
}

func decodeLast(value []byte) (checks.Result, error) {
	seq, encoded, err := splitValue(value)
	if err != nil {
		return checks.Result{}, err
	}
	r, err := decodeResult(encoded)
	r.Seq = seq
	return r, err
}
