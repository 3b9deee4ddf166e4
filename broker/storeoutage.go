package broker

import (
	"maps"
	"slices"
	"time"

	"checkbus/internal/engine"
)

// keptEdits are those that wait for the end of an outage, by key, so that they
// do not grow with its length.
type keptEdits struct {
	ops    map[string]op
	ranges []op
	done   []func(error)
}

func (k *keptEdits) add(w *edit) {
	if k.ops == nil {
		k.ops = map[string]op{}
	}
	for _, o := range w.ops {
		if o.kind == opDeleteAll {
			k.ranges = append(k.ranges, o) // of a session that is over, so the order does not matter
		} else {
			k.ops[string(o.key)] = o
		}
	}
	if w.done != nil {
		k.done = append(k.done, w.done)
	}
}

// finish tells what came of all, and forgets them.
func (k *keptEdits) finish(err error) {
	for _, done := range k.done {
		done(err)
	}
	*k = keptEdits{}
}

// refuse takes w back: whether it is on disk is not known.
func (k *keptEdits) refuse(w *edit, err error) {
	undo := &edit{}
	for _, o := range w.ops {
		switch o.key[0] {
		case deliveryPrefix, messagePrefix, receivedPrefix:
			undo.delete(o.key)
		default: // memory has it, as what is retained, or a subscription
			undo.ops = append(undo.ops, o)
		}
	}
	k.add(undo)
	w.refuse(err)
	w.finish()
}

// After a failure of the disk the store is opened again at once, then at
// growing intervals.
const (
	reopenFirst = 100 * time.Millisecond
	reopenMost  = 5 * time.Second
)

// outage refuses what is new and keeps the rest until the store can be opened
// again. It reports whether to go on: a store that is closing gives up.
func (st *store) outage(batch []*edit, cause error) bool {
	since := time.Now()
	st.log.Error("broker store failed, messages that need it are refused", "err", cause)
	_ = st.closeEngine(cause) // its error follows from the one that is known
	st.hold(batch, cause)
	for pause := reopenFirst; ; pause = min(2*pause, reopenMost) {
		st.hold(st.takeAll(), cause)
		db, err := st.reopen()
		if err == nil {
			st.mu.Lock()
			st.db, st.err = db, nil
			st.mu.Unlock()
			st.log.Info("broker store works again", "after", time.Since(since))
			st.kept.finish(nil)
			return true
		}
		cause = st.explain(err)
		if !st.pause(pause, cause) {
			st.hold(st.takeAll(), cause)
			st.kept.finish(cause)
			return false
		}
	}
}

// takeAll is take without a limit.
func (st *store) takeAll() []*edit {
	st.mu.Lock()
	defer st.mu.Unlock()
	batch := st.waiting
	st.waiting, st.urgent = nil, false
	return batch
}

// hold sorts a batch into what is refused and what is kept. All that is refused
// with something to store may be on disk, whatever came before it.
func (st *store) hold(batch []*edit, cause error) {
	size := 0
	for _, w := range batch {
		size += w.cost
		switch {
		case w.grows():
			st.kept.refuse(w, cause)
		case w.isNew:
			w.follow()
			w.finish()
		default:
			st.kept.add(w)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pending -= int64(size)
}

// reopen opens the store and writes what was kept.
func (st *store) reopen() (*engine.DB, error) {
	db, err := engine.Open(st.opts)
	if err != nil {
		return nil, err
	}
	ops := slices.Concat(slices.Collect(maps.Values(st.kept.ops)), st.kept.ranges)
	if err := writeOps(db, ops); err != nil {
		return nil, db.Abandon(err)
	}
	return db, nil
}

// pause waits, with an answer to what comes meanwhile, and reports whether to go
// on: not when the store is closing.
func (st *store) pause(d time.Duration, cause error) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		st.mu.Lock()
		closing := st.closing
		st.mu.Unlock()
		if closing {
			return false
		}
		select {
		case <-st.wake:
			st.hold(st.takeAll(), cause)
		case <-timer.C:
			return true
		}
	}
}
