package spool

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// Last returns the newest committed result of o, whether it was read or not;
// false when there is none. What still waits for its group commit is not seen.
func (q *Queue) Last(o checks.Object) (checks.Result, bool, error) {
	s, err := q.acquire()
	if err != nil {
		return checks.Result{}, false, err
	}
	defer q.release()
	value, err := s.get(appendLastKey(nil, o))
	if errors.Is(err, pebble.ErrNotFound) {
		return checks.Result{}, false, nil
	}
	var r checks.Result
	if err == nil {
		r, err = decodeLast(value)
	}
	if err != nil {
		return checks.Result{}, false, q.explain(fmt.Errorf("last result of %s: %w", o, err))
	}
	return r, true, nil
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
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{lastPrefix}, UpperBound: []byte{lastPrefix + 1}})
	if err != nil {
		return q.explain(err)
	}
	defer func() {
		if failed := it.Close(); err == nil && failed != nil {
			err = q.explain(failed)
		}
	}()
	for it.First(); it.Valid(); it.Next() {
		r, err := decodeLast(it.Value())
		if err != nil {
			return q.explain(fmt.Errorf("last result %q: %w", it.Key()[1:], err))
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
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

// Recent calls f with the newest results, oldest first, whether they were read
// or not: at least the last 8192 where there are so many and there are cursors.
// It stops at the first error of f and returns it.
func (q *Queue) Recent(f func(checks.Result) error) error {
	s, err := q.acquire()
	if err != nil {
		return err
	}
	defer q.release()
	q.mu.Lock()
	upto, after := q.durable.seq, q.trimmed.seq
	q.mu.Unlock()
	if upto > keepRecent {
		after = max(after, upto-keepRecent)
	}
	buf := make([]checks.Result, 256)
	for after < upto {
		n, err := s.read(buf, after, upto)
		if err != nil {
			return q.explain(err)
		}
		for _, r := range buf[:n] {
			if err := f(r); err != nil {
				return err
			}
		}
		after += uint64(n)
	}
	return nil
}
