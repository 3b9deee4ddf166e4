package spool

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// A write is something that waits for its group commit: the results of one
// Append, the position of a cursor, or states.
type write struct {
	records []record
	buf     []byte // the keys and encodings of records, one after another
	cursor  *Cursor
	to      position // of cursor
	states  []stateEntry
	cost    int64 // about the memory it takes while it waits
	err     error // why it is not going to be written
	done    func(error)
}

// A record is a result of a write: where its key in the table of last results
// and its encoding end in buf.
type record struct{ key, end int }

// encodeWrite encodes results.
func encodeWrite(results []checks.Result) *write {
	if len(results) == 0 {
		return &write{}
	}
	size := 0
	for i := range results {
		r := &results[i]
		size += textSize(r) + maxEncodedHead + 2 + len(r.Host) + len(r.Service)
	}
	w := &write{records: make([]record, len(results)), buf: make([]byte, 0, size)}
	for i := range results {
		w.buf = appendLastKey(w.buf, results[i].Object)
		w.records[i].key = len(w.buf)
		w.buf = appendResult(w.buf, &results[i])
		w.records[i].end = len(w.buf)
	}
	w.cost = int64(cap(w.buf) + 16*len(w.records))
	return w
}

// empty reports whether w only keeps a place in the order.
func (w *write) empty() bool { return len(w.records) == 0 && w.cursor == nil && len(w.states) == 0 }

// refuse gives w's results up because of err.
func (w *write) refuse(err error) { w.records, w.buf, w.err = nil, nil, err }

// size is the room that w takes against Options.MaxBytes.
func (w *write) size() int64 {
	size := int64(0)
	for _, r := range w.records {
		size += recordSize(r.end - r.key)
	}
	return size
}

// put adds w to b. at is where its first record goes; keep says whether records
// are kept or only the last results.
func (w *write) put(b *pebble.Batch, at position, keep bool) error {
	if w.cursor != nil {
		return b.Set(cursorKey(w.cursor.name), w.to.encode(), nil)
	}
	for _, e := range w.states {
		if err := e.put(b); err != nil {
			return err
		}
	}
	start := 0
	for _, r := range w.records {
		key, encoded := w.buf[start:r.key], w.buf[r.key:r.end]
		start = r.end
		at.seq++
		var op *pebble.DeferredBatchOp
		if keep {
			op = b.SetDeferred(9, 8+len(encoded))
			op.Key[0] = recordPrefix
			binary.BigEndian.PutUint64(op.Key[1:], at.seq)
			putValue(op.Value, uint64(at.bytes), encoded)
		} else {
			op = b.SetDeferred(len(key), 8+len(encoded))
			copy(op.Key, key)
			putValue(op.Value, at.seq, encoded)
		}
		if err := op.Finish(); err != nil {
			return err
		}
		at.bytes += recordSize(len(encoded))
	}
	return nil
}

// note tells n of w's records, which follow the one with Seq seq, and returns
// the Seq of the last.
func (w *write) note(n latest, seq uint64) uint64 {
	start := 0
	for _, r := range w.records {
		seq++
		n.note(w.buf[start:r.key], seq)
		start = r.end
	}
	return seq
}

func putValue(value []byte, number uint64, encoded []byte) {
	binary.BigEndian.PutUint64(value, number)
	copy(value[8:], encoded)
}
