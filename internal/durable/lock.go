package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked: someone else holds the lock of a directory.
var ErrLocked = errors.New("already in use")

// lockName is the file in a directory that carries its lock. It stays when the
// lock is released: removing it would let two processes lock two files of one
// name.
const lockName = "lock"

// A Lock keeps others out of a directory.
type Lock struct{ file *os.File }

// LockDir locks dir against everyone else who calls it, in this process and in
// others, by flock(2) on the file "lock" in it. The kernel releases the lock
// when the process dies. An error wraps ErrLocked when it is held already.
func LockDir(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s is %w by another process", dir, ErrLocked)
	} else if err != nil {
		err = &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{file: f}, nil
}

// Unlock releases the lock.
func (l *Lock) Unlock() error { return l.file.Close() }
