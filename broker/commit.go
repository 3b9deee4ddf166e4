package broker

import (
	"fmt"
	"slices"

	"checkbus/checks"
	"checkbus/internal/engine"
)

// run is the committer: the one goroutine that writes.
func (st *store) run() {
	defer close(st.stopped)
	for {
		batch, more := st.next()
		if !more {
			return
		}
		err := st.commit(batch)
		if err == nil {
			st.settle(batch)
			batch, err = nil, st.clean()
		}
		if err != nil && !st.outage(batch, st.explain(err)) {
			return
		}
	}
}

// next waits until something is to be written and returns it; false when the
// store is closing and all is written.
func (st *store) next() (batch []*edit, more bool) {
	for {
		st.mu.Lock()
		switch {
		case st.urgent, len(st.waiting) > 0 && st.closing, st.db.Failure() != nil:
			batch = st.take()
			st.mu.Unlock()
			return batch, true
		case st.closing:
			st.mu.Unlock()
			return nil, false
		}
		st.mu.Unlock()
		<-st.wake
	}
}

// take cuts a batch off what waits; st.mu is held.
func (st *store) take() []*edit {
	n, size := 0, 0
	for n < len(st.waiting) && size < commitBytes {
		size += st.waiting[n].cost
		n++
	}
	batch := st.waiting[:n:n]
	if st.waiting = st.waiting[n:]; len(st.waiting) == 0 {
		st.waiting, st.urgent = nil, false
	}
	return batch
}

// commit writes a batch. What is refused is noted in its edit; an error is the
// disk's.
func (st *store) commit(batch []*edit) error {
	db := st.db // nobody else changes it
	if err := db.Failure(); err != nil {
		return err
	}
	if err := st.checkRoom(batch); err != nil {
		return err
	}
	var ops []op
	for _, w := range batch {
		w.follow()
		ops = append(ops, w.ops...)
	}
	return writeOps(db, ops)
}

// writeOps writes all of ops, or nothing.
func writeOps(db *engine.DB, ops []op) error {
	if len(ops) == 0 {
		return nil
	}
	b := db.NewBatch()
	defer b.Close()
	for _, o := range ops {
		if err := o.put(b); err != nil {
			return err
		}
	}
	return db.Write(b)
}

// clean writes what the sweep wants removed, by itself: the sweep goes by what is
// written.
func (st *store) clean() error {
	w, more := st.sweep()
	if more {
		st.hurry()
	}
	err := writeOps(st.db, w.ops)
	if err != nil {
		st.kept.add(w)
	}
	return err
}

// settle takes a batch off what is pending, and tells what came of it.
func (st *store) settle(batch []*edit) {
	size := 0
	for _, w := range batch {
		size += w.cost
	}
	st.mu.Lock()
	st.pending -= int64(size)
	st.mu.Unlock()
	for _, w := range batch {
		w.finish()
	}
}

// checkRoom refuses what is new in batch when the file system is almost full.
// The rest is written all the same: it makes room.
func (st *store) checkRoom(batch []*edit) error {
	if !slices.ContainsFunc(batch, (*edit).grows) {
		return nil
	}
	free, err := engine.Free(st.opts.Disk, st.opts.Dir)
	if err != nil || free >= st.reserve {
		return err
	}
	for _, w := range batch {
		if w.grows() {
			w.refuse(fmt.Errorf("%w: %d bytes are free on the file system of %s, and %d must stay so",
				checks.ErrFull, free, st.opts.Dir, st.reserve))
		}
	}
	return nil
}
