package spool

import (
	"github.com/cockroachdb/pebble"

	"checkbus/internal/engine"
)

// What the engine may use of memory: two memtables while one is flushed, and the
// cache of blocks.
const (
	memTableSize = 8 << 20
	cacheSize    = 8 << 20
)

// A store is the opened engine of a spool.
type store struct{ *engine.DB }

// engine says how the store is opened.
func (q *Queue) engine() engine.Options {
	return engine.Options{
		Dir:      q.dir,
		Name:     "spool",
		Format:   format,
		MemTable: memTableSize,
		Cache:    cacheSize,
		Disk:     q.opts.disk,
		Log:      q.log,
		Failed:   q.nudge,
	}
}

// fillNew puts into a new store what each has.
func fillNew(b *pebble.Batch) error { return b.Set(tailKey, position{}.encode(), nil) }
