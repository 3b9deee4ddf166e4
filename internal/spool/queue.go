// Package spool keeps accepted results on disk, in order, until every core has
// taken them: a queue with one cursor a reader, and a table of the newest
// result of each object.
//
// What Append acknowledged survives kill -9 and a power cut. Appends and
// cursor positions share group commits: all that waits becomes one synchronous
// write of the storage engine, Pebble.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"checkbus/checks"
	"checkbus/internal/durable"
	"checkbus/internal/engine"
)

// ErrClosed: the queue is closed.
var ErrClosed = errors.New("spool closed")

// ErrDamaged: what is on disk is not what was written. Nothing mends that by
// itself; the error says where and what to do.
var ErrDamaged = errors.New("spool damaged")

// Options say how much a Queue may hold and who reads it.
type Options struct {
	// MaxBytes bounds the records that some cursor has not committed, by their
	// encoded length; 0 is no bound. The disk holds more for a while: the table
	// of last results, what is committed and not yet trimmed (at most
	// trimBytes), and the engine's log.
	MaxBytes int64
	// Cursors names the readers. One that the store knows and that is missing
	// here is dropped, lest it hold the trim for ever. One that the store does
	// not know yet starts at the oldest record that another cursor still
	// waits for: whoever adds a second core, or replaces one by another, loses
	// nothing that was still to be delivered, and the new core gets each
	// object's results in order. Without cursors no records are kept at all.
	Cursors []string
	Log     *slog.Logger

	disk    vfs.FS // for tests: a disk that fails
	reserve int64  // for tests: free bytes below which appends are refused
}

// A Queue is an open spool. All its methods may be called from any goroutine.
type Queue struct {
	dir  string
	opts Options
	log  *slog.Logger
	lock *durable.Lock

	wake    chan struct{} // tells the committer that there is something to do
	stopped chan struct{} // closed when the committer has ended

	mu      sync.Mutex
	store   *store
	err     error // why there is no store to use: ErrClosed, ErrDamaged, the disk
	users   int   // of store
	idle    sync.Cond
	changed chan struct{} // closed and replaced when durable or err changes
	closing bool

	waiting  []*write
	pending  int64    // bytes of waiting, and of the batch being written
	writing  int64    // bytes of the batch being written
	tail     position // of the newest result, committed or not
	durable  position // of the newest committed one
	trimmed  position // records up to here are deleted
	lastTrim time.Time
	latest   latest // changed by the committer only
	cursors  []*Cursor
}

// Open opens the spool in the directory dir, and creates one when dir is
// missing or empty. A damaged store, one of a newer format, one in use by another
// process and a directory with other content are errors that name dir; nothing
// is ever begun anew in their place.
func Open(dir string, o Options) (*Queue, error) {
	if o.disk == nil {
		o.disk = vfs.Default
	}
	if o.reserve == 0 {
		o.reserve = engine.Reserve
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	q := &Queue{
		dir:     dir,
		opts:    o,
		log:     o.Log.With("spool", dir),
		lock:    lock,
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		changed: make(chan struct{}),
	}
	q.idle.L = &q.mu
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.Cursors))) {
		q.cursors = append(q.cursors, &Cursor{queue: q, name: name})
	}
	err = engine.Create(q.engine(), fillNew)
	if err != nil {
		err = fmt.Errorf("%s: %w", dir, err)
	} else {
		err = q.open()
	}
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", errors.Join(err, lock.Unlock()))
	}
	go q.run()
	return q, nil
}

// Append queues results for the next group commit and returns without waiting
// for the disk. It sets their Seq, in the order of the calls, which is also the
// order in which readers get them. done is called once for each call, in the
// order of the calls, on one goroutine that everybody shares, so it must not
// block:
//
//   - nil: the results are on disk and survive a power cut.
//   - an error that wraps checks.ErrFull: MaxBytes is reached or the file system
//     is almost full. None of them is stored, and their Seq means nothing.
//   - an error that wraps checks.ErrInvalid: the same, for ever, since they take
//     more than MaxBytes.
//   - any other: the disk failed, or the queue is closed. Whether they are
//     stored is unknown, as after a crash.
//
// With no results Append only keeps its place in the order, and gets nil.
// results may be used again when Append has returned.
func (q *Queue) Append(results []checks.Result, done func(error)) {
	w := encodeWrite(results)
	w.done = done
	q.mu.Lock()
	if err := q.admit(w); err != nil {
		w.refuse(err)
	}
	for i := range results {
		results[i].Seq = 0
		if w.err == nil {
			results[i].Seq = q.tail.seq + uint64(i) + 1
		}
	}
	q.tail = q.after(q.tail, w)
	q.enqueue(w)
}

// admit returns why w cannot be taken, if so.
func (q *Queue) admit(w *write) error {
	if len(w.records) == 0 {
		return nil
	}
	if q.err != nil || q.opts.MaxBytes <= 0 || len(q.cursors) == 0 {
		return q.err
	}
	size := w.size()
	if size > q.opts.MaxBytes {
		return fmt.Errorf("%w: its results take %d bytes at once, and the spool may hold %d in all", checks.ErrInvalid, size, q.opts.MaxBytes)
	}
	if held := q.tail.bytes - q.handedOver().bytes; held+size > q.opts.MaxBytes {
		return fmt.Errorf("%w: it holds %d of %d bytes", checks.ErrFull, held, q.opts.MaxBytes)
	}
	return nil
}

// after is the position that follows p when w is written. Without cursors no
// records are kept, and only the Seq grows.
func (q *Queue) after(p position, w *write) position {
	p.seq += uint64(len(w.records))
	if len(q.cursors) > 0 {
		p.bytes += w.size()
	}
	return p
}

// handedOver is what all cursors have committed.
func (q *Queue) handedOver() position {
	low := q.durable
	for _, c := range q.cursors {
		if c.committed.seq < low.seq {
			low = c.committed
		}
	}
	return low
}

// writeCost is about the memory of a write without results.
const writeCost = 256

// enqueue hands w to the committer. It is called with q.mu locked, and unlocks
// it.
func (q *Queue) enqueue(w *write) {
	if q.closing {
		q.mu.Unlock()
		w.done(ErrClosed)
		return
	}
	q.waiting = append(q.waiting, w)
	w.cost += writeCost
	q.pending += w.cost
	q.mu.Unlock()
	q.nudge()
}

// nudge wakes the committer.
func (q *Queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Pending is about how many bytes of memory wait for their group commit.
// Append never refuses because of it: its caller bounds it.
func (q *Queue) Pending() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending
}

// acquire returns the store for use until release, or why there is none.
func (q *Queue) acquire() (*store, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return nil, q.err
	}
	q.users++
	return q.store, nil
}

func (q *Queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.users--; q.users == 0 {
		q.idle.Broadcast()
	}
}

// Close commits what is queued, answers every Append, wakes readers with
// ErrClosed, and closes the store. Appends that come later get ErrClosed.
func (q *Queue) Close() error {
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return ErrClosed
	}
	q.closing = true
	q.mu.Unlock()
	q.nudge()
	<-q.stopped
	return errors.Join(q.closeStore(ErrClosed), q.lock.Unlock())
}

// closeStore ends the use of the store because of err. It waits for those who
// are using it.
func (q *Queue) closeStore(err error) error {
	q.mu.Lock()
	q.setErr(err)
	for q.users > 0 {
		q.idle.Wait()
	}
	s := q.store
	q.store = nil
	q.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// setErr notes why the store cannot be used, or nil, and wakes those who wait
// for a change. q.mu is locked.
func (q *Queue) setErr(err error) {
	q.err = err
	q.announce()
}

// final reports whether the store will not be usable again. q.mu is locked.
func (q *Queue) final() bool {
	return errors.Is(q.err, ErrClosed) || errors.Is(q.err, ErrDamaged)
}

// announce wakes those who wait for a change. q.mu is locked.
func (q *Queue) announce() {
	close(q.changed)
	q.changed = make(chan struct{})
}
