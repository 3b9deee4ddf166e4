package spool

import (
	"fmt"
	"maps"
	"time"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
	"checkbus/internal/engine"
)

const (
	// batchBytes ends a group commit, so that one result does not wait for the
	// write of a huge backlog. A single Append may be larger.
	batchBytes = 512 << 10

	// Records that all cursors have committed are deleted as a range, together
	// with the next commit, once there are trimBytes of them or trimEvery has
	// passed. More often would fill the engine with range tombstones.
	trimBytes = 8 << 20
	trimEvery = 5 * time.Second
)

// run is the committer: the one goroutine that writes, and that calls done.
func (q *Queue) run() {
	defer close(q.stopped)
	var down outage
	for {
		batch, more := q.next(&down)
		if !more {
			return
		}
		err := q.commit(batch)
		if err != nil {
			q.fail(err)
		}
		for _, w := range batch {
			if w.err == nil && !w.empty() {
				w.err = err
			}
			w.done(w.err)
		}
		if err != nil {
			q.reopen(&down)
		}
	}
}

// next waits until there is something to do and returns the writes that make
// one batch, possibly none; false when the queue is closing and all is done.
func (q *Queue) next(down *outage) (batch []*write, more bool) {
	for {
		q.mu.Lock()
		batch, closing := q.take(), q.closing
		wait, timed := q.dueIn(down)
		q.mu.Unlock()
		switch {
		case len(batch) > 0:
			return batch, true
		case closing:
			return nil, false
		case !timed:
			<-q.wake
			continue
		case wait <= 0:
			return nil, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// dueIn is how long until there is work without a waiting write: a trim, or a
// store to open again. Not timed: never. q.mu is locked.
func (q *Queue) dueIn(down *outage) (wait time.Duration, timed bool) {
	switch {
	case q.err != nil:
		return down.dueIn()
	case q.store.Failure() != nil:
		return 0, true
	case q.trimmed.seq < q.trimSeq():
		return trimEvery - time.Since(q.lastTrim), true
	}
	return 0, false
}

// take cuts a batch off the waiting writes. q.mu is locked.
func (q *Queue) take() []*write {
	n, size := 0, int64(0)
	for n < len(q.waiting) && size < batchBytes {
		size += q.waiting[n].cost
		n++
	}
	batch := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	q.writing = size
	return batch
}

// commit writes batch. What is refused is noted in its write; an error is the
// disk's, and the store cannot be used any more.
func (q *Queue) commit(batch []*write) error {
	s, err := q.acquire()
	if err != nil {
		return err
	}
	defer q.release()
	if err := s.Failure(); err != nil {
		return q.explain(err)
	}
	if err := q.checkRoom(batch); err != nil {
		q.refuse(batch, err)
	}
	b := s.NewBatch()
	end, err := q.fill(b, batch)
	if err != nil {
		return err
	}
	trim, err := q.trim(s, b)
	if err != nil {
		return err
	}
	if !b.Empty() {
		if err := s.Write(b); err != nil {
			return q.explain(err)
		}
	}
	q.publish(batch, end, trim)
	return b.Close()
}

// checkRoom returns checks.ErrFull when batch has results and the file system
// is almost full. Positions of cursors are written all the same: they make
// room.
func (q *Queue) checkRoom(batch []*write) error {
	for _, w := range batch {
		if len(w.records) == 0 {
			continue
		}
		free, err := engine.Free(q.opts.disk, q.dir)
		if err != nil {
			return err
		}
		if free < q.opts.reserve {
			return fmt.Errorf("%w: %d bytes are free on the file system of %s, and %d must stay so",
				checks.ErrFull, free, q.dir, q.opts.reserve)
		}
		return nil
	}
	return nil
}

// refuse answers all results that are not committed yet with err and gives
// their Seq back.
func (q *Queue) refuse(batch []*write, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, writes := range [][]*write{batch, q.waiting} {
		for _, w := range writes {
			if len(w.records) > 0 {
				w.refuse(err)
			}
		}
	}
	q.tail = q.durable
}

// fill adds the writes of batch to b and returns where the records end then.
// Only the committer changes what it reads of q.
func (q *Queue) fill(b *pebble.Batch, batch []*write) (end position, err error) {
	end = q.durable
	for _, w := range batch {
		if err := w.put(b, end, len(q.cursors) > 0); err != nil {
			return end, err
		}
		end = q.after(end, w)
	}
	if end != q.durable {
		err = b.Set(tailKey, end.encode(), nil)
	}
	return end, err
}

// trimSeq is up to where records may be deleted. Without cursors there are none.
func (q *Queue) trimSeq() uint64 {
	if len(q.cursors) == 0 || q.durable.seq < keepRecent {
		return 0
	}
	return min(q.handedOver().seq, q.durable.seq-keepRecent)
}

// trim adds to b the deletion of the records that may go, when there are enough
// of them. It returns up to where.
func (q *Queue) trim(s *store, b *pebble.Batch) (position, error) {
	seq := q.trimSeq()
	if seq <= q.trimmed.seq {
		return q.trimmed, nil
	}
	to, err := q.positionAfter(seq)
	if err != nil {
		return q.trimmed, err
	}
	if to.bytes-q.trimmed.bytes < trimBytes && time.Since(q.lastTrim) < trimEvery {
		return q.trimmed, nil
	}
	if err := s.moveLast(b, q.latest, seq); err != nil {
		return q.trimmed, q.explain(err)
	}
	return to, b.DeleteRange(recordKey(0), recordKey(seq+1), nil)
}

// publish makes what was committed visible.
func (q *Queue) publish(batch []*write, end, trimmed position) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if trimmed != q.trimmed {
		q.trimmed, q.lastTrim = trimmed, time.Now()
		maps.DeleteFunc(q.latest, func(_ string, at *uint64) bool { return *at <= trimmed.seq })
	}
	seq := q.durable.seq
	for _, w := range batch {
		if len(q.cursors) > 0 {
			seq = w.note(q.latest, seq)
		}
		if c := w.cursor; c != nil && w.to.seq > c.committed.seq {
			c.committed = w.to
		}
	}
	grown := end != q.durable
	q.durable = end
	q.settle()
	if grown {
		q.announce()
	}
}

// settle takes the batch off what is pending. q.mu is locked.
func (q *Queue) settle() {
	q.pending -= q.writing
	q.writing = 0
}
