package spool

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble"

	"checkbus/internal/engine"
)

// open makes the store usable and takes over what it holds.
func (q *Queue) open() error {
	db, err := engine.Open(q.engine())
	if err != nil {
		return q.explain(err)
	}
	if err := q.load(&store{db}); err != nil {
		return q.explain(db.Abandon(err))
	}
	return nil
}

// load takes the positions out of s, makes the cursors what Options.Cursors
// says, and puts s to use.
func (q *Queue) load(s *store) error {
	value, err := s.Value(tailKey)
	if err != nil {
		return fmt.Errorf("position of the newest result: %w", err)
	}
	tail, err := decodePosition(value)
	if err != nil {
		return fmt.Errorf("position of the newest result: %w", err)
	}
	stored, err := s.cursors()
	if err != nil {
		return err
	}
	low := tail
	for name, p := range stored {
		if p.seq > tail.seq {
			return fmt.Errorf("cursor %s is at %d, and the newest result is %d", name, p.seq, tail.seq)
		}
		if p.seq < low.seq {
			low = p
		}
	}
	oldest, err := s.checkRecords(low, tail)
	if err != nil {
		return err
	}
	if err := q.agreeOnCursors(s, stored, low); err != nil {
		return err
	}
	found, err := s.findLatest(oldest.seq, tail.seq)
	if err != nil {
		return err
	}
	if len(q.cursors) == 0 {
		if err := s.dropRecords(found); err != nil {
			return err
		}
		found, oldest = nil, tail
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latest = found
	for _, c := range q.cursors {
		c.committed = stored[c.name]
		c.read = max(c.read, c.committed.seq)
	}
	q.tail, q.durable, q.trimmed, q.lastTrim = tail, tail, oldest, time.Now()
	q.store = s
	q.setErr(nil)
	return nil
}

// dropRecords deletes the records, which nobody reads any more, but for the last
// results, which found has.
func (s *store) dropRecords(found latest) error {
	if len(found) == 0 {
		return nil
	}
	b := s.NewBatch()
	if err := s.moveLast(b, found, math.MaxUint64); err != nil {
		return err
	}
	if err := b.DeleteRange(recordKey(0), []byte{recordPrefix + 1}, nil); err != nil {
		return err
	}
	return s.Write(b)
}

// cursors returns the stored cursors.
func (s *store) cursors() (map[string]position, error) {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: []byte{cursorPrefix}, UpperBound: []byte{cursorPrefix + 1}})
	if err != nil {
		return nil, err
	}
	stored := make(map[string]position)
	for it.First(); it.Valid(); it.Next() {
		name := string(it.Key()[1:])
		p, err := decodePosition(it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cursor %s: %w", name, err), it.Close())
		}
		stored[name] = p
	}
	return stored, it.Close()
}

// checkRecords looks whether the records between low and tail begin and end
// where they should. It returns the position before the oldest record that is
// on disk, at or before low.
func (s *store) checkRecords(low, tail position) (oldest position, err error) {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: recordKey(0), UpperBound: []byte{recordPrefix + 1}})
	if err != nil {
		return position{}, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	oldest = tail
	if it.First() {
		if oldest, err = positionBefore(it); err != nil {
			return oldest, err
		}
	}
	if err := it.Error(); err != nil {
		return oldest, err
	}
	if oldest.seq > low.seq {
		return oldest, fmt.Errorf("record %d and those after it up to %d are missing", low.seq+1, oldest.seq)
	}
	if low.seq == tail.seq {
		return oldest, nil
	}
	if it.Last() {
		last, err := positionBefore(it)
		if err != nil {
			return oldest, err
		}
		if last.seq+1 != tail.seq {
			return oldest, fmt.Errorf("the newest record is %d, want %d", last.seq+1, tail.seq)
		}
	}
	return oldest, it.Error()
}

// positionBefore is the position before the record that it is at.
func positionBefore(it *pebble.Iterator) (position, error) {
	seq, err := recordSeq(it.Key())
	if err != nil {
		return position{}, err
	}
	before, _, err := splitValue(it.Value())
	if err != nil {
		return position{}, fmt.Errorf("record %d: %w", seq, err)
	}
	return position{seq - 1, int64(before)}, nil
}

// agreeOnCursors stores cursors that are new, at position start, and drops
// those that nobody wants any more. stored becomes what is wanted.
func (q *Queue) agreeOnCursors(s *store, stored map[string]position, start position) error {
	b := s.NewBatch()
	wanted := make(map[string]bool)
	for _, c := range q.cursors {
		wanted[c.name] = true
		if _, ok := stored[c.name]; ok {
			continue
		}
		stored[c.name] = start
		if err := b.Set(cursorKey(c.name), start.encode(), nil); err != nil {
			return err
		}
	}
	for name, p := range stored {
		if wanted[name] {
			continue
		}
		q.log.Warn("reader is no longer configured, its place in the spool is dropped", "cursor", name, "seq", p.seq)
		if err := b.Delete(cursorKey(name), nil); err != nil {
			return err
		}
	}
	if b.Empty() {
		return nil
	}
	return s.Write(b)
}
