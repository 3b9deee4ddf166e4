// Package engine opens the storage engine, Pebble, for stores of what must
// survive kill -9 and a power cut, through disks that are full for a while. The
// owner of a store has one write under way at a time.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"checkbus/internal/durable"
)

// The directory of a store holds the owner's lock and Pebble's directory. A new
// one is made aside and renamed, so that dirName is a whole store or is not there.
const (
	dirName    = "db"
	newDirName = "db.new"
)

// formatKey has the format of the store, one byte.
var formatKey = []byte("f")

// Options say what a store is, and what it may use.
type Options struct {
	Dir    string
	Name   string // what it is, for errors: "spool"
	Format byte   // a store of another format is refused
	// MemTable is the size of Pebble's memtable, of which it has two while one is
	// flushed, and Cache that of its cache of blocks, in bytes.
	MemTable, Cache int
	// Disk is the file system below.
	Disk vfs.FS
	Log  *slog.Logger
	// Failed is called once when the store fails, and must not block.
	Failed func()
}

// A DB is one opened Pebble. After a failed write it is of no use any more: it is
// to be closed, and can be opened again.
type DB struct {
	*pebble.DB
	fence *fence
}

// Open opens the store, which is never created.
func Open(o Options) (*DB, error) {
	path := filepath.Join(o.Dir, dirName)
	if err := verifyLogs(path); err != nil {
		return nil, err
	}
	s, err := open(path, o, true)
	if err != nil {
		return nil, err
	}
	if err := s.checkFormat(o); err != nil {
		return nil, s.Abandon(err)
	}
	return s, nil
}

func open(dir string, o Options, mustExist bool) (*DB, error) {
	f := &fence{FS: o.Disk, notify: o.Failed}
	cache := pebble.NewCache(int64(o.Cache))
	defer cache.Unref()
	db, err := pebble.Open(dir, &pebble.Options{
		FS:                          f,
		Cache:                       cache,
		ErrorIfNotExists:            mustExist,
		FormatMajorVersion:          pebble.FormatVirtualSSTables,
		MemTableSize:                uint64(o.MemTable),
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                256,
		// Keeps keys of different kinds in tables of their own, so that a
		// compaction of the one does not rewrite the other: twice the speed.
		FlushSplitBytes:       2 << 20,
		FlushDelayDeleteRange: 10 * time.Second,
		Logger:                engineLogger{o.Log, f},
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
	return &DB{db, f}, nil
}

// Failure returns what failed, or nil.
func (s *DB) Failure() error { return s.fence.failure() }

// Abandon closes a store that is of no use because of err, and returns why: what
// failed first, if anything did.
func (s *DB) Abandon(err error) error {
	if failed := s.Failure(); failed != nil {
		err = failed
	}
	return errors.Join(err, s.Close())
}

// Write writes b and syncs it. After an error it is not known whether b is
// stored.
func (s *DB) Write(b *pebble.Batch) error {
	if err := s.Failure(); err != nil {
		return err
	}
	return errors.Join(s.Apply(b, pebble.Sync), s.Failure())
}

// Value returns a copy of the value of key; pebble.ErrNotFound when there is
// none.
func (s *DB) Value(key []byte) ([]byte, error) {
	value, closer, err := s.Get(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), value...), closer.Close()
}

// Create makes a store that has what fill puts into it, unless there is one. It
// refuses a directory that holds anything else: it is not this program's, or a
// store that lost its main part.
func Create(o Options, fill func(*pebble.Batch) error) error {
	path := filepath.Join(o.Dir, dirName)
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "lock", newDirName, "lost+found":
		default:
			return fmt.Errorf("there is no %s, but %s, which is no part of a %s", dirName, e.Name(), o.Name)
		}
	}
	aside := filepath.Join(o.Dir, newDirName)
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	s, err := open(aside, o, false)
	if err != nil {
		return err
	}
	b := s.NewBatch()
	err = errors.Join(b.Set(formatKey, []byte{o.Format}, nil), fill(b))
	if err == nil {
		err = s.Write(b)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	return durable.SyncDir(o.Dir)
}

// errFormat: the store is sound, but not one that this program reads.
var errFormat = errors.New("wrong format")

// checkFormat refuses a Pebble that is no such store, or one of another format.
func (s *DB) checkFormat(o Options) error {
	value, err := s.Value(formatKey)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%w: it is no %s of checkbus", errFormat, o.Name)
	case err != nil:
		return err
	case len(value) != 1 || value[0] != o.Format:
		return fmt.Errorf("%w: it has format %x, this program reads format %d", errFormat, value, o.Format)
	}
	return nil
}

// harmless are the errors of a disk that an operator, or time, can mend without
// touching the store, and that of a store which is sound and not ours.
var harmless = []error{
	errFormat,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.ESTALE, syscall.ETIMEDOUT,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM,
}

// Damaged reports whether an error of a store means damage of what is in it,
// rather than a disk that refuses.
func Damaged(err error) bool {
	return !slices.ContainsFunc(harmless, func(target error) bool { return errors.Is(err, target) })
}

// Free returns how many bytes are free on the file system of dir.
func Free(disk vfs.FS, dir string) (int64, error) {
	usage, err := disk.GetDiskUsage(dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(min(usage.AvailBytes, 1<<62)), nil
}

// Reserve is what must be free on the file system of a store for it to grow, in
// bytes. The engine needs it to write out its memory, to compact, and to be
// opened again.
const Reserve = 64 << 20

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
