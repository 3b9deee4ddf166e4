package realtest

import (
	"io/fs"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/vfs"
	"github.com/cockroachdb/pebble/vfs/errorfs"
)

// A BrokenDisk fails all writes with ENOSPC, from when it is broken until it is
// mended. Where the first that fails is a sync, what was written before it is there
// nevertheless.
type BrokenDisk struct {
	vfs.FS
	left atomic.Int64 // writes until the first failure; negative: it fails
}

// NewBrokenDisk returns a disk that still works.
func NewBrokenDisk() *BrokenDisk {
	d := &BrokenDisk{}
	d.Mend()
	d.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op, path string) error {
		if op.OpKind() != errorfs.OpKindWrite || op == errorfs.OpFileClose {
			return nil
		}
		return d.write(path)
	}))
	return d
}

// BreakAfter lets n more writes succeed.
func (d *BrokenDisk) BreakAfter(n int64) { d.left.Store(n) }

// Mend makes the disk work again.
func (d *BrokenDisk) Mend() { d.left.Store(1 << 40) }

// write counts a write, and fails when the disk is broken.
func (d *BrokenDisk) write(path string) error {
	if d.left.Add(-1) < 0 {
		return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	}
	return nil
}

func (d *BrokenDisk) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	return d.file(name, f, err)
}

func (d *BrokenDisk) OpenReadWrite(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, opts...)
	return d.file(name, f, err)
}

func (d *BrokenDisk) ReuseForWrite(oldname, newname string) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname)
	return d.file(newname, f, err)
}

func (d *BrokenDisk) file(path string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &brokenFile{f, d, path}, nil
}

// A brokenFile fails those syncs that errorfs lets through (v1.1.5).
type brokenFile struct {
	vfs.File
	disk *BrokenDisk
	path string
}

func (f *brokenFile) SyncData() error {
	if err := f.disk.write(f.path); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *brokenFile) SyncTo(length int64) (full bool, err error) {
	if err := f.disk.write(f.path); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
