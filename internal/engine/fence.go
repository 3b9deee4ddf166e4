package engine

import (
	"io"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/vfs"
)

// A fence stands between Pebble and the disk. Pebble cannot go on after a
// failed write: it ends the process when the log or the MANIFEST cannot be
// written (db.go:857, version_set.go:583) and panics with its locks held when
// the log cannot be rotated (db.go:2679). So it never sees one. The first
// failed write closes the fence: from there on nothing reaches the disk, and
// every write seems to succeed, so that Pebble can be closed in an orderly way.
// What is on disk then is what a power cut at the failed write would have left,
// and is opened again as after one. Nobody may be told that a write succeeded
// before failure was asked.
type fence struct {
	vfs.FS
	failed atomic.Pointer[error]
	notify func() // called once, when the fence closes; must not block
}

// failure returns what closed the fence, or nil.
func (f *fence) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// closed reports whether the fence is closed.
func (f *fence) closed() bool { return f.failed.Load() != nil }

// close closes the fence because of err, unless err is nil.
func (f *fence) close(err error) {
	if err != nil && f.failed.CompareAndSwap(nil, &err) {
		f.notify()
	}
}

// do runs a write to the disk unless the fence is closed.
func (f *fence) do(write func() error) {
	if !f.closed() {
		f.close(write())
	}
}

// open is do for what yields a file: behind the fence an empty one that goes
// nowhere.
func (f *fence) open(open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	f.do(func() (err error) {
		file, err = open()
		return err
	})
	if file == nil {
		nowhere, err := vfs.NewMem().Create("nowhere")
		if err != nil {
			return nil, err
		}
		file = nowhere
	}
	return &fencedFile{File: file, fence: f}, nil
}

func (f *fence) Create(name string) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.Create(name) })
}

func (f *fence) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.OpenReadWrite(name, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string) (vfs.File, error) {
	return f.open(func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname) })
}

// OpenDir opens a directory for its Sync.
func (f *fence) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: dir, fence: f}, nil
}

func (f *fence) Link(oldname, newname string) error {
	f.do(func() error { return f.FS.Link(oldname, newname) })
	return nil
}

func (f *fence) Rename(oldname, newname string) error {
	f.do(func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	f.do(func() error { return f.FS.MkdirAll(dir, perm) })
	return nil
}

// Remove reports its error, for Pebble asks after missing files and lives with
// leftovers.
func (f *fence) Remove(name string) error {
	if f.closed() {
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.closed() {
		return nil
	}
	return f.FS.RemoveAll(name)
}

// Lock does nothing: whoever opens a store has locked its directory, for as long
// as it lives, and may open its Pebble several times in that time.
func (f *fence) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// A fencedFile is a file that Pebble writes.
type fencedFile struct {
	vfs.File
	fence *fence
}

func (f *fencedFile) Write(p []byte) (int, error) {
	f.fence.do(func() error {
		_, err := f.File.Write(p)
		return err
	})
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fence.do(func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	return len(p), nil
}

func (f *fencedFile) Sync() error {
	f.fence.do(f.File.Sync)
	return nil
}

func (f *fencedFile) SyncData() error {
	f.fence.do(f.File.SyncData)
	return nil
}

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	f.fence.do(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, nil
}

// Preallocate is an optimization whose failure Pebble ignores.
func (f *fencedFile) Preallocate(offset, length int64) error {
	if f.fence.closed() {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

// Close must release the descriptor, closed fence or not.
func (f *fencedFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fence.close(err)
	}
	return nil
}
