package broker

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble"
)

// An edit is what is written at once, or not at all.
type edit struct {
	ops  []op
	cost int
	// isNew marks what may be refused: when there is no room on the disk, or the
	// disk fails. The rest only follows up on what was taken before, and is
	// written as soon as the disk lets it.
	isNew bool
	// behind is set when w is refused, and has later edits with it refused, too.
	behind *atomic.Bool
	err    error
	// done is told what came of it, in order. It must neither block nor take
	// locks. It may be nil.
	done func(error)
}

// An op sets a key, deletes it, or deletes all keys that begin with it.
type op struct {
	key, value []byte
	kind       opKind
}

type opKind byte

const (
	opSet opKind = iota
	opDelete
	opDeleteAll
)

func (w *edit) set(key, value []byte) {
	w.ops = append(w.ops, op{key, value, opSet})
	w.cost += len(key) + len(value) + 64
}

func (w *edit) delete(key []byte) {
	w.ops = append(w.ops, op{key, nil, opDelete})
	w.cost += len(key) + 64
}

func (w *edit) deleteAll(prefix []byte) {
	w.ops = append(w.ops, op{prefix, nil, opDeleteAll})
	w.cost += len(prefix) + 64
}

// grows reports whether w may be refused for what it stores. One without anything
// to store only keeps its place in the order.
func (w *edit) grows() bool { return w.isNew && len(w.ops) > 0 }

// refuse has nothing of w written, because of err.
func (w *edit) refuse(err error) {
	w.ops, w.err = nil, err
	if w.behind != nil {
		w.behind.Store(true)
	}
}

// follow refuses w where one before it was refused.
func (w *edit) follow() {
	if w.err == nil && w.behind != nil && w.behind.Load() {
		w.refuse(errBehind)
	}
}

func (w *edit) finish() {
	if w.done != nil {
		w.done(w.err)
	}
}

// put adds an op to a batch.
func (o op) put(b *pebble.Batch) error {
	switch o.kind {
	case opSet:
		return b.Set(o.key, o.value, nil)
	case opDelete:
		return b.Delete(o.key, nil)
	default:
		return b.DeleteRange(o.key, prefixEnd(o.key), nil)
	}
}

// prefixEnd is the first key after those that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}
