package nagios

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"checkbus/checks"
)

const (
	// settleTime is how long the object cache has to stay as it is before it
	// counts as written: the core writes it in place, in pieces.
	settleTime = time.Second
	// objectsPoll is how often the object cache is looked at without an event.
	objectsPoll = 30 * time.Second
)

// errRewriting is an object cache that is being written just now.
var errRewriting = errors.New("the object cache is being written")

// objects is what the core knows, as its object cache says.
type objects struct {
	path string // empty: everything is known
	log  *slog.Logger
	set  atomic.Pointer[objectSet] // nil before the first reading

	mu      sync.Mutex
	read    stamp     // of the file when it was last read
	err     error     // what that reading found wrong
	seen    stamp     // of the file as it was last seen
	seenAt  time.Time // since when
	missing bool      // the last attempt failed, and was logged
}

// A stamp tells one state of a file from another.
type stamp struct {
	size     int64
	modified time.Time
	inode    uint64
}

func newObjects(path string, log *slog.Logger) *objects {
	if path != "" {
		path = filepath.Clean(path) // as events name it
	}
	return &objects{path: path, log: log}
}

// knows reports whether the core has o; true as long as nothing was read.
func (o *objects) knows(ob checks.Object) bool {
	set := o.set.Load()
	return set == nil || set.has(ob)
}

// A lookup answers for the results of one batch, the same for all of an
// object, so that none overtakes another.
type lookup struct {
	objects   *objects
	set       *objectSet
	refreshed bool
	err       error // of the refresh
}

// check is knows for a result on its way to the core: an object may have been
// added a moment ago, so before the first is refused the cache is looked at
// again. The error wraps checks.ErrUnknownObject, or is errRewriting.
func (l *lookup) check(ob checks.Object) error {
	if l.objects.path == "" {
		return nil
	}
	if l.set == nil {
		l.set = l.objects.set.Load()
	}
	if !l.refreshed && (l.set == nil || !l.set.has(ob)) {
		l.refreshed = true
		l.err = l.objects.refresh()
		l.set = l.objects.set.Load()
	}
	switch {
	case l.set == nil || l.set.has(ob):
		return nil
	case errors.Is(l.err, errRewriting):
		return l.err
	case ob.IsHost():
		return fmt.Errorf("%w: nagios knows no host %q", checks.ErrUnknownObject, ob.Host)
	}
	return fmt.Errorf("%w: nagios knows no service %q on host %q", checks.ErrUnknownObject, ob.Service, ob.Host)
}

// await waits for the first reading of a cache that was written a moment ago,
// at most until firstReading has passed or ctx ends.
func (o *objects) await(ctx context.Context) {
	for end := time.Now().Add(firstReading); o.path != "" && o.set.Load() == nil && time.Now().Before(end); {
		if err := o.refresh(); !errors.Is(err, errRewriting) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tick):
		}
	}
}

// firstReading is how long results wait for the objects that the core knows,
// after the start; a core that is still writing them takes none yet.
const firstReading = 5 * time.Second

// refresh reads the cache when it has changed since it was last read. What was
// read stays when the file is gone or no longer readable; the error has been
// logged then.
func (o *objects) refresh() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.reread()
	switch {
	case err == nil:
		o.missing = false
	case !errors.Is(err, errRewriting) && !o.missing:
		o.missing = true
		o.log.Warn("object cache not readable", "path", o.path, "err", err)
	}
	return err
}

func (o *objects) reread() error {
	now, err := stampOf(o.path)
	if err != nil {
		return err
	}
	if now == o.read {
		return o.err
	}
	if now != o.seen {
		o.seen, o.seenAt = now, time.Now()
	}
	if time.Since(now.modified) < settleTime && time.Since(o.seenAt) < settleTime {
		return errRewriting
	}
	f, err := os.Open(o.path)
	if err != nil {
		return err
	}
	defer f.Close()
	set, err := readObjects(f)
	if after, err := stampOf(o.path); err != nil || after != now {
		return errRewriting
	}
	o.read, o.err = now, err
	if err != nil {
		return err
	}
	o.set.Store(set)
	o.log.Info("object cache read", "hosts", set.hosts, "services", set.services)
	return nil
}

func stampOf(path string) (stamp, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if !fi.Mode().IsRegular() {
		return stamp{}, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	return stamp{fi.Size(), fi.ModTime(), inode(fi)}, nil
}

// follow keeps the set up to date until ctx ends.
func (o *objects) follow(ctx context.Context) error {
	if o.path == "" {
		<-ctx.Done()
		return nil
	}
	changes, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the object cache: %w", err)
	}
	defer changes.Close()
	watched := false
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-changes.Events:
			if e.Name == o.path {
				again.Reset(settleTime)
			}
		case err := <-changes.Errors:
			o.log.Warn("object cache watch failed", "err", err)
		case <-again.C:
			if !watched {
				watched = changes.Add(filepath.Dir(o.path)) == nil
			}
			if errors.Is(o.refresh(), errRewriting) {
				again.Reset(settleTime)
			} else {
				again.Reset(objectsPoll)
			}
		}
	}
}
