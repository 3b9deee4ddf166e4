package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"checkbus/checks"
	"checkbus/internal/durable"
	"checkbus/internal/engine"
)

const (
	// storeMemTable and storeCache are what the engine may use of memory.
	storeMemTable = 4 << 20
	storeCache    = 4 << 20
	// storeFormat is the format of the records, see record.go.
	storeFormat = 1
	// mostPending is how many bytes may wait for the disk before new messages
	// are refused, so that a hanging disk costs no memory.
	mostPending = 64 << 20
	// commitBytes ends a group commit.
	commitBytes = 1 << 20
	// lazyDelay is how long a write that nobody waits for may wait for others to
	// go with.
	lazyDelay = 100 * time.Millisecond
	// storedCost is what a stored message takes beside its record, in bytes.
	storedCost = 128
)

var (
	errStoreClosed = errors.New("broker store closed")
	errStoreDown   = errors.New("broker store cannot be used now")
)

// A store keeps on disk what must survive a crash: sessions that outlive their
// connection, with what waits for them, and the retained messages of clients.
// One goroutine writes, all that waits in one synchronous write of the engine,
// in the order of the submit calls.
type store struct {
	opts    engine.Options
	reserve int64 // bytes that must stay free on the file system
	log     *slog.Logger
	lock    *durable.Lock
	wake    chan struct{} // tells the committer that there is something to do
	stopped chan struct{} // closed when the committer has ended

	// sweep is asked after each commit what is to be removed, and whether it is to
	// be asked again soon.
	sweep func() (w *edit, more bool)

	mu      sync.Mutex
	db      *engine.DB // nil while it cannot be used
	users   int        // of db
	idle    sync.Cond
	err     error // why nothing can be stored
	closing bool
	waiting []*edit
	urgent  bool  // somebody waits for what waits
	pending int64 // bytes of what waits and is being written
	session uint64
	message uint64 // the newest numbers given
	refs    references
	bytes   int64 // messages that are referred to, each once
	kept    keptEdits
}

// openStore opens the store in dir, and creates one when dir is missing or
// empty. A damaged one is an error that says what to do.
func openStore(dir string, disk vfs.FS, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open broker store: %w", err)
	}
	lock, err := durable.LockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open broker store: %w", err)
	}
	st := &store{
		reserve: engine.Reserve,
		log:     log.With("store", dir),
		lock:    lock,
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		refs:    references{},
	}
	st.idle.L = &st.mu
	st.opts = engine.Options{
		Dir: dir, Name: "broker store", Format: storeFormat, MemTable: storeMemTable, Cache: storeCache,
		Disk: disk, Log: st.log, Failed: st.nudge,
	}
	err = engine.Create(st.opts, func(*pebble.Batch) error { return nil })
	if err == nil {
		st.db, err = engine.Open(st.opts)
	}
	if err != nil {
		return nil, fmt.Errorf("open broker store: %w", errors.Join(st.explain(err), lock.Unlock()))
	}
	return st, nil
}

// explain gives an error of the engine what its reader needs to know.
func (st *store) explain(err error) error {
	if !engine.Damaged(err) {
		return fmt.Errorf("%s: %w", st.opts.Dir, err)
	}
	return fmt.Errorf("%s is damaged: %w; stop checkbus and restore the directory, or move it away: "+
		"sessions, what waits for them, and retained messages are lost then", st.opts.Dir, err)
}

// submit hands w to the committer. Unless it is lazy somebody waits for it.
func (st *store) submit(w *edit, lazy bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.closing:
		w.refuse(errStoreClosed)
	case w.grows() && st.err != nil:
		w.refuse(st.err)
	case w.grows() && st.pending > mostPending:
		w.refuse(fmt.Errorf("%w: the disk is too slow, try again later", checks.ErrFull))
	}
	if st.closing {
		w.finish() // those before it fare no better
		return
	}
	if len(st.waiting) == 0 && lazy {
		time.AfterFunc(lazyDelay, st.hurry)
	}
	st.waiting = append(st.waiting, w)
	st.pending += int64(w.cost)
	if !lazy {
		st.urgent = true
		st.nudge()
	}
}

// hurry has what waits written soon.
func (st *store) hurry() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.urgent = true
	st.nudge()
}

func (st *store) nudge() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// flush waits until all that was submitted before is written, and returns an
// error when it is not, or cancel is closed.
func (st *store) flush(cancel <-chan struct{}) error {
	return st.wait(&edit{}, cancel)
}

// wait submits w and waits for it.
func (st *store) wait(w *edit, cancel <-chan struct{}) error {
	done := make(chan error, 1)
	w.done = func(err error) { done <- err }
	st.submit(w, false)
	select {
	case err := <-done:
		return err
	case <-cancel:
		return errors.New("canceled")
	}
}

// refer counts one more session that waits for a message, which takes cost bytes,
// and reports whether it is the first.
func (st *store) refer(message uint64, cost int) (first bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	first = st.refs.add(message)
	if first {
		st.bytes += int64(cost)
	}
	return first
}

// release notes that a session waits for a message no more, and has w delete it
// when it was the last.
func (st *store) release(w *edit, message uint64, cost int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.refs.release(message) {
		st.bytes -= int64(cost)
		w.delete(numberKey(messagePrefix, message))
	}
}

// nextSession returns a number for a new session.
func (st *store) nextSession() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.session++
	return st.session
}

// nextMessage returns a number for a new message.
func (st *store) nextMessage() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.message++
	return st.message
}

// failed reports whether the disk fails now.
func (st *store) failed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err != nil
}

// size is how many bytes of messages are waited for.
func (st *store) size() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.bytes
}

// acquire returns the engine for use until free, or why there is none.
func (st *store) acquire() (*engine.DB, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.db == nil || st.db.Failure() != nil {
		return nil, errors.Join(errStoreDown, st.err)
	}
	st.users++
	return st.db, nil
}

func (st *store) free() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.users--; st.users == 0 {
		st.idle.Broadcast()
	}
}

// close writes what waits and closes the store.
func (st *store) close() error {
	st.mu.Lock()
	st.closing = true
	st.mu.Unlock()
	st.nudge()
	<-st.stopped
	return errors.Join(st.closeEngine(nil), st.lock.Unlock())
}

// closeEngine waits for those who use the engine, and closes it because of err.
func (st *store) closeEngine(err error) error {
	st.mu.Lock()
	st.err = err
	for st.users > 0 {
		st.idle.Wait()
	}
	db := st.db
	st.db = nil
	st.mu.Unlock()
	if db == nil {
		return nil
	}
	return db.Close()
}
