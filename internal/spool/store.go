package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"checkbus/internal/durable"
)

// The directory of a spool holds the lock and Pebble's directory. A new one is
// made aside and renamed, so that "db" is a whole store or is not there.
const (
	dbName    = "db"
	newDBName = "db.new"
)

// What Pebble may use of memory: two memtables while one is flushed, and the
// cache of blocks.
const (
	memTableSize = 8 << 20
	cacheSize    = 8 << 20
)

// A store is one opened Pebble behind its fence.
type store struct {
	*pebble.DB
	fence *fence
}

// openStore opens the Pebble in dir, which is never created. disk is the file
// system below; notify is called once when the store fails.
func openStore(dir string, disk vfs.FS, log *slog.Logger, notify func()) (*store, error) {
	return openPebble(dir, disk, log, notify, true)
}

func openPebble(dir string, disk vfs.FS, log *slog.Logger, notify func(), mustExist bool) (*store, error) {
	f := &fence{FS: disk, notify: notify}
	cache := pebble.NewCache(cacheSize)
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		FS:                          f,
		Cache:                       cache,
		ErrorIfNotExists:            mustExist,
		FormatMajorVersion:          pebble.FormatVirtualSSTables,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                256,
		// Keeps records and last results in tables of their own, so that a
		// compaction of the one does not rewrite the other: twice the speed.
		FlushSplitBytes:       2 << 20,
		FlushDelayDeleteRange: 10 * time.Second,
		Logger:                engineLogger{log, f},
		EventListener:         &pebble.EventListener{BackgroundError: f.close},
	})
	if failed := f.failure(); failed != nil {
		err = failed
	}
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return nil, err
	}
	return &store{db, f}, nil
}

// apply writes b and syncs it. After an error it is not known whether b is
// stored.
func (s *store) apply(b *pebble.Batch) error {
	if err := s.fence.failure(); err != nil {
		return err
	}
	return errors.Join(s.Apply(b, pebble.Sync), s.fence.failure())
}

// get returns a copy of the value of key; pebble.ErrNotFound when there is
// none.
func (s *store) get(key []byte) ([]byte, error) {
	value, closer, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), value...), closer.Close()
}

// createStore makes an empty store in dir/db, unless there is one. It refuses
// a directory that holds anything else: it is not this program's, or a store
// that lost its main part.
func createStore(dir string, disk vfs.FS, log *slog.Logger) error {
	path := filepath.Join(dir, dbName)
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lock", newDBName, "lost+found":
		default:
			return fmt.Errorf("there is no %s, but %s, which is no part of a spool", dbName, e.Name())
		}
	}
	aside := filepath.Join(dir, newDBName)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	s, err := openPebble(aside, disk, log, func() {}, false)
	if err != nil {
		return err
	}
	b := s.NewBatch()
	err = errors.Join(b.Set(formatKey, []byte{format}, nil), b.Set(tailKey, position{}.encode(), nil))
	if err == nil {
		err = s.apply(b)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// errFormat: the store is sound, but not one that this program reads.
var errFormat = errors.New("wrong format")

// checkFormat refuses a Pebble that is no spool, or one of another format.
func (s *store) checkFormat() error {
	value, err := s.get(formatKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%w: it is no spool of checkbus", errFormat)
	case err != nil:
		return err
	case len(value) != 1 || value[0] != format:
		return fmt.Errorf("%w: it has format %x, this program reads format %d", errFormat, value, format)
	}
	return nil
}

// An engineLogger passes Pebble's messages on at debug level. Fatalf must not
// return in Pebble's view; here it closes the fence, and whatever Pebble does
// after it stays in memory.
type engineLogger struct {
	log   *slog.Logger
	fence *fence
}

func (l engineLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("storage engine", "message", fmt.Sprintf(format, args...))
	}
}

func (l engineLogger) Fatalf(format string, args ...any) {
	l.fence.close(fmt.Errorf(format, args...))
}
