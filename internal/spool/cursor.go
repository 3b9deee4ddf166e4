package spool

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// readBytes ends a Read, so that a batch of long outputs does not fill the
// memory.
const readBytes = 8 << 20

// A Cursor is one reader's place in the queue. Read and Commit may be called
// by one goroutine each; Position by any.
type Cursor struct {
	queue     *Queue
	name      string
	read      uint64   // under queue.mu
	committed position // under queue.mu, changed by the committer only
}

// Cursor returns the cursor called name, which must be one of Options.Cursors.
// It reads on after what it has committed.
func (q *Queue) Cursor(name string) (*Cursor, error) {
	for _, c := range q.cursors {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("spool %s has no cursor %q", q.dir, name)
}

// Read fills buf with the results after the last one it returned, in the order
// of their Seq without gaps, and returns how many there are. It waits until
// there is at least one, and returns fewer than fit rather than wait for more,
// or when they pass 8 MiB. Only what was acknowledged is read. While the disk
// fails, Read waits as well.
//
// An error is ctx's, ErrClosed, or wraps ErrDamaged and names the Seq. Read
// has not moved then.
func (c *Cursor) Read(ctx context.Context, buf []checks.Result) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	for {
		s, after, upto, err := c.await(ctx)
		if err != nil {
			return 0, err
		}
		n, err := s.read(buf, after, upto)
		failed := s.Failure() != nil
		c.queue.release()
		switch {
		case err == nil:
			c.queue.mu.Lock()
			c.read = after + uint64(n)
			c.queue.mu.Unlock()
			return n, nil
		case !failed:
			return 0, c.queue.explain(err)
		}
	}
}

// await waits until there is a record to read. It returns the store, acquired,
// and the Seq after which and up to which to read.
func (c *Cursor) await(ctx context.Context) (s *store, after, upto uint64, err error) {
	q := c.queue
	for {
		q.mu.Lock()
		if q.final() {
			defer q.mu.Unlock()
			return nil, 0, 0, q.err
		}
		if q.err == nil && q.store.Failure() == nil && c.read < q.durable.seq {
			defer q.mu.Unlock()
			q.users++
			return q.store, c.read, q.durable.seq, nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, 0, ctx.Err()
		}
	}
}

// read decodes the records after the one with Seq after, up to upto.
func (s *store) read(buf []checks.Result, after, upto uint64) (n int, err error) {
	it, err := s.NewIter(&pebble.IterOptions{LowerBound: recordKey(after + 1), UpperBound: recordKey(upto + 1)})
	if err != nil {
		return 0, err
	}
	size := 0
	for it.First(); it.Valid() && n < len(buf) && size < readBytes; it.Next() {
		want := after + uint64(n) + 1
		if buf[n], err = decodeRecord(it.Key(), it.Value(), want); err != nil {
			break
		}
		size += len(it.Value())
		n++
	}
	if failed := it.Close(); failed != nil {
		return 0, fmt.Errorf("record %d: %w", after+uint64(n)+1, failed)
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("record %d is missing", after+1)
	}
	return n, err
}

// decodeRecord decodes the record with Seq want.
func decodeRecord(key, value []byte, want uint64) (checks.Result, error) {
	seq, err := recordSeq(key)
	if err != nil {
		return checks.Result{}, err
	}
	if seq != want {
		return checks.Result{}, fmt.Errorf("record %d is missing, the next is %d", want, seq)
	}
	_, encoded, err := splitValue(value)
	if err != nil {
		return checks.Result{}, fmt.Errorf("record %d: %w", seq, err)
	}
	r, err := decodeResult(encoded)
	if err != nil {
		return checks.Result{}, fmt.Errorf("record %d: %w", seq, err)
	}
	r.Seq = seq
	return r, nil
}

// Commit notes that the reader is done with all results up to and with seq. It
// waits for the group commit, which others share: when it returns nil, no
// crash makes Read hand them out again. After an error it may be called again.
func (c *Cursor) Commit(seq uint64) error {
	q := c.queue
	q.mu.Lock()
	read, committed, end := c.read, c.committed.seq, q.durable
	q.mu.Unlock()
	if seq <= committed {
		return nil
	}
	if seq > read {
		return fmt.Errorf("commit of %d by %s, which has read up to %d", seq, c.name, read)
	}
	to := end
	if seq != end.seq {
		var err error
		if to, err = q.positionAfter(seq); err != nil {
			return err
		}
	}
	done := make(chan error, 1)
	q.mu.Lock()
	q.enqueue(&write{cursor: c, to: to, done: func(err error) { done <- err }})
	return <-done
}

// positionAfter is the position after the record with Seq seq, which is not the
// newest.
func (q *Queue) positionAfter(seq uint64) (position, error) {
	s, err := q.acquire()
	if err != nil {
		return position{}, err
	}
	defer q.release()
	value, err := s.Value(recordKey(seq + 1))
	if err != nil {
		return position{}, q.explain(fmt.Errorf("record %d: %w", seq+1, err))
	}
	before, _, err := splitValue(value)
	if err != nil {
		return position{}, q.explain(fmt.Errorf("record %d: %w", seq+1, err))
	}
	return position{seq, int64(before)}, nil
}

// Position returns the Seq of the last result that was read, and of the last
// one that was committed; 0 when there is none.
func (c *Cursor) Position() (read, committed uint64) {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return c.read, c.committed.seq
}
