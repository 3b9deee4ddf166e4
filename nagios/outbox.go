package nagios

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// An outbox is the folder through which batches go to the core.
//
// A batch is written as .new, linked as .run, and renamed to .sent; then the
// core is told of .run, which it removes after it has processed every line. So
// whatever is left after a kill says how far it came:
//
//	.new, perhaps with .run  not handed over: its results come again
//	.sent and .run           handed over, perhaps: told again
//	.sent                    processed: its results are not handed over again
//
// Nothing is synced. The files outlive a kill of any process without that, and
// after a crash of the machine, which shows in the boot's identifier, they are
// not trusted: what the spool still has is handed over again.
//
// Batches of results that are handed over again, since the core has lost them,
// have names of their own and say nothing after a kill: what is left of them is
// removed, and the core asked what it holds.
type outbox struct {
	dir     string
	boot    string
	lock    *os.File // the folder, locked; nil before open
	inotify int
	held    []batch // that have a .sent file, oldest first
}

// open locks the folder, watches it and takes up what is left in it. Calling it
// again renews the watch.
func (o *outbox) open() error {
	if o.lock != nil {
		return o.watch()
	}
	if err := checkBatchDir(o.dir); err != nil {
		return err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	if len(id) < 8 {
		return errors.New("the kernel's boot_id is too short")
	}
	o.boot = string(id[:8])
	lock, err := os.Open(o.dir)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("%s is used by another gateway: %w", o.dir, err), lock.Close())
	}
	if o.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		return errors.Join(fmt.Errorf("inotify: %w", err), lock.Close())
	}
	o.lock = lock
	if err := errors.Join(o.watch(), o.resume()); err != nil {
		return errors.Join(err, o.close())
	}
	return nil
}

// watch makes the removal of a file an event; it may be called again, and has
// to be when the folder was made anew.
func (o *outbox) watch() error {
	if _, err := unix.InotifyAddWatch(o.inotify, o.dir, unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		return &os.PathError{Op: "watch", Path: o.dir, Err: err}
	}
	return nil
}

func (o *outbox) close() error {
	if o.lock == nil {
		return nil
	}
	err := errors.Join(unix.Close(o.inotify), o.lock.Close())
	o.lock, o.held = nil, nil
	return err
}

// resume reads what a former run left. Names that are not a batch's are left
// alone.
func (o *outbox) resume() error {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		b, extension, ok := parseBatchName(e.Name())
		switch {
		case !ok:
		case b.kind == again:
			errs = append(errs, o.remove(e.Name()))
		case b.boot != o.boot:
			errs = append(errs, o.remove(e.Name()))
		case extension == fresh:
			errs = append(errs, o.remove(b.name(run)), o.remove(b.name(fresh)))
		case extension == run:
			if _, err := os.Lstat(o.path(b.name(sent))); errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, o.remove(b.name(run)))
			}
		case extension == sent:
			b.pending = true
			o.held = append(o.held, b)
		}
	}
	slices.SortFunc(o.held, func(a, b batch) int { return cmp.Compare(a.first, b.first) })
	return errors.Join(errs...)
}

func (o *outbox) path(name string) string { return filepath.Join(o.dir, name) }

// remove removes a file that may be gone already.
func (o *outbox) remove(name string) error {
	if err := os.Remove(o.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// put makes the files of a batch of results; the core is not told yet.
func (o *outbox) put(b batch, lines []byte) (batch, error) {
	b.boot, b.pending = o.boot, true
	if err := o.write(b, lines); err != nil {
		return b, errors.Join(err, o.remove(b.name(run)), o.remove(b.name(fresh)))
	}
	o.drop(b)
	o.held = append(o.held, b)
	return b, nil
}

func (o *outbox) write(b batch, lines []byte) error {
	// Not through a link that somebody else with access to the folder made.
	f, err := os.OpenFile(o.path(b.name(fresh)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	// The core reads it as another user. Who else may is up to the folder.
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Link(o.path(b.name(fresh)), o.path(b.name(run))); err != nil {
		return err
	}
	return os.Rename(o.path(b.name(fresh)), o.path(b.name(sent)))
}

// taken reports whether the core has processed b.
func (o *outbox) taken(b batch) (bool, error) {
	if _, err := os.Lstat(o.path(b.name(run))); err == nil {
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	// Nor is the folder gone, or emptied by somebody else.
	if _, err := os.Lstat(o.path(b.name(sent))); errors.Is(err, fs.ErrNotExist) {
		return false, errLost
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// settled notes that b was taken.
func (o *outbox) settled(b batch) {
	for i := range o.held {
		if o.held[i].name("") == b.name("") {
			o.held[i].pending = false
		}
	}
}

// pendings are the batches that the core has not yet removed.
func (o *outbox) pendings() []batch {
	return slices.DeleteFunc(slices.Clone(o.held), func(b batch) bool { return !b.pending })
}

// drop forgets b.
func (o *outbox) drop(b batch) {
	o.held = slices.DeleteFunc(o.held, func(h batch) bool { return h.name("") == b.name("") })
}

// discard forgets b and removes its files, whether it was processed or not.
func (o *outbox) discard(b batch) error {
	o.drop(b)
	return errors.Join(o.remove(b.name(run)), o.remove(b.name(sent)))
}

// forget removes the copies of batches whose results all come before seq: the
// spool has passed them.
func (o *outbox) forget(seq uint64) error {
	var errs []error
	o.held = slices.DeleteFunc(o.held, func(b batch) bool {
		if b.pending || b.last >= seq {
			return false
		}
		errs = append(errs, o.remove(b.name(sent)))
		return true
	})
	return errors.Join(errs...)
}

// wait returns when a file of the folder was removed, or after d.
func (o *outbox) wait(d time.Duration) error {
	_, err := unix.Poll([]unix.PollFd{o.event()}, int(d.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	o.drain()
	return nil
}

// event is what to poll for the removal of a file.
func (o *outbox) event() unix.PollFd {
	return unix.PollFd{Fd: int32(o.inotify), Events: unix.POLLIN}
}

// drain takes the events that have come.
func (o *outbox) drain() {
	var buf [4096]byte
	for {
		if n, err := unix.Read(o.inotify, buf[:]); n <= 0 && err != unix.EINTR {
			return
		}
	}
}
