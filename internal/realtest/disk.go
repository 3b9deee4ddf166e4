package realtest

import (
	"io/fs"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/vfs"
	"github.com/cockroachdb/pebble/vfs/errorfs"
)

// A BrokenDisk fails all writes with ENOSPC, from when it is broken until it is
// mended.
type BrokenDisk struct {
	vfs.FS
	left atomic.Int64 // writes until the first failure; negative: it fails
}

// NewBrokenDisk returns a disk that still works.
func NewBrokenDisk() *BrokenDisk {
	d := &BrokenDisk{}
	d.Mend()
	d.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op, path string) error {
		if op.OpKind() == errorfs.OpKindWrite && op != errorfs.OpFileClose && d.left.Add(-1) < 0 {
			return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	return d
}

// BreakAfter lets n more writes succeed.
func (d *BrokenDisk) BreakAfter(n int64) { d.left.Store(n) }

// Mend makes the disk work again.
func (d *BrokenDisk) Mend() { d.left.Store(1 << 40) }
