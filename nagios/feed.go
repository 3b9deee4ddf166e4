package nagios

import (
	"bufio"
	"context"
	"errors"
	"io"
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
	// feedPoll is how often the files are looked at without an event: for those
	// that come in another folder, and where the kernel has no more watches.
	feedPoll = 250 * time.Millisecond
	// feedPatience is how long a file may be missing before that is logged: a
	// core that starts removes its status file and writes another.
	feedPatience = 5 * time.Second
)

// A feed tells what the core makes of its objects: from its log, line by line,
// and from its status file, whenever that is written.
type feed struct {
	logFile, statusFile, querySocket string

	log       *slog.Logger
	format    format
	handovers *handovers
	resync    *resync
	reception *atomic.Pointer[reception]
	follows   *atomic.Bool
}

// Follow tells w what the core says of its objects, from a first SawAll on,
// until ctx ends. It needs Config.LogFile. While the core is down its last word
// stands; after each of its starts comes another SawAll. What a start has lost of
// the results that were handed over before is handed over again, and waited for,
// first.
func (s *Sink) Follow(ctx context.Context, w checks.Watcher) error {
	s.handovers.watch(true)
	defer s.handovers.watch(false)
	f := feed{
		logFile: filepath.Clean(s.cfg.LogFile), statusFile: filepath.Clean(s.cfg.StatusFile), // as events name them
		querySocket: s.cfg.QuerySocket,
		log:         s.log, format: s.format, handovers: s.handovers, reception: &s.reception, follows: &s.follows,
		resync: &resync{log: s.log, committed: s.history.Committed, restore: s.restore},
	}
	return f.follow(ctx, w)
}

// Follows reports whether the core's log and status file could be read lately.
func (s *Sink) Follows() bool { return s.follows.Load() }

func (f *feed) follow(ctx context.Context, w checks.Watcher) error {
	view := newView(f, w)
	defer view.tail.close()
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer f.resync.group.Wait()
	defer cancel()
	changed, checked := make(chan struct{}, 1), make(chan checkLine)
	helpers.Go(func() { f.watch(ctx, changed) })
	if f.querySocket != "" {
		helpers.Go(func() { f.listen(ctx, checked) })
	}
	poll := time.NewTicker(feedPoll)
	defer poll.Stop()
	for {
		view.look(ctx)
		f.follows.Store(view.began && !view.logAway.logged && !view.statusAway.logged)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-f.handovers.wake:
		case <-poll.C:
		case c := <-checked:
			view.checked(ctx, c)
		}
	}
}

// watch tells changed of each change of the two files until ctx ends. Where
// the kernel does not tell, the poll has to do.
func (f *feed) watch(ctx context.Context, changed chan<- struct{}) {
	changes, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("core's files not watched: changes are seen late", "after", feedPoll, "err", err)
		return
	}
	defer changes.Close()
	add := func() {
		for _, path := range []string{f.logFile, f.statusFile} {
			_ = changes.Add(filepath.Dir(path)) // a missing file is noted elsewhere
		}
	}
	add()
	again := time.NewTicker(feedPoll) // a folder may be made anew
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			add()
			continue
		case e := <-changes.Events:
			if e.Name != f.logFile && e.Name != f.statusFile {
				continue
			}
		case err := <-changes.Errors:
			f.log.Debug("events of the core's files lost", "err", err)
		}
		select {
		case changed <- struct{}{}:
		default: // it is to look anyway
		}
	}
}

// A view is how far the feed has read.
type view struct {
	*feed
	picture *picture
	tail    *tail
	lines   *bufio.Reader // for the status file
	read    stamp         // of the status file that was read last
	readErr error         // what was wrong with that
	began   bool          // the log is open where the first status file ends

	logAway, statusAway absence
}

func newView(f *feed, w checks.Watcher) *view {
	v := &view{
		feed: f, picture: newPicture(f.format, w), lines: bufio.NewReaderSize(nil, maxStatusLine),
		logAway:    absence{log: f.log, what: "log", path: f.logFile},
		statusAway: absence{log: f.log, what: "status file", path: f.statusFile},
	}
	v.tail = newTail(f.logFile, v.line)
	return v
}

// look takes up what is new. The order matters: results that the core has
// processed, and a status file that is there, say nothing that is not in the log
// already, so the log is read behind them and taken up first.
func (v *view) look(ctx context.Context) {
	v.resync.note(time.Now())
	processed := v.handovers.processed()
	status, written, err := v.openStatus()
	v.statusAway.note(err)
	if status != nil {
		defer status.Close()
	}
	if !v.began {
		if status != nil {
			v.begin(ctx, status, written)
		}
		v.handovers.done(processed)
		return
	}
	v.logAway.note(v.tail.drain())
	restarted := status != nil && v.readStatus(ctx, status, written)
	if restarted {
		v.resync.await(ctx)
		processed = v.handovers.processed()
		v.logAway.note(v.tail.drain())
	}
	now := time.Now()
	for _, b := range processed {
		for _, r := range b.newest() {
			v.picture.processed(r, now)
		}
	}
	v.handovers.done(processed)
	if restarted {
		v.picture.tellAll()
	}
}

// begin takes up a first status file and what the log says since it was
// written, and tells all that at once.
func (v *view) begin(ctx context.Context, status io.Reader, written time.Time) {
	if v.readStatus(ctx, status, written); v.readErr != nil {
		return
	}
	// Not later than now: a clock that was wrong then would hide the log.
	if err := v.tail.begin(min(v.picture.program.created, written.Unix(), time.Now().Unix())); err != nil {
		v.logAway.note(err)
		return
	}
	v.logAway.note(v.tail.drain())
	v.began = true
	v.picture.tellAll()
	v.log.Info("following the core's states", "objects", len(v.picture.objects))
}

// openStatus opens the status file when it is another than the last one that
// was read, and says when it was written.
func (v *view) openStatus() (*os.File, time.Time, error) {
	now, err := stampOf(v.statusFile)
	if err != nil {
		return nil, time.Time{}, err
	}
	if now == v.read {
		return nil, time.Time{}, v.readErr
	}
	f, err := os.Open(v.statusFile)
	if err != nil {
		return nil, time.Time{}, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, errors.Join(err, f.Close())
	}
	v.read = stamp{fi.Size(), fi.ModTime(), inode(fi)}
	return f, fi.ModTime(), nil
}

// readStatus takes up a status file, and reports whether it is the first since a
// start or reload of the core: then all is to be told.
func (v *view) readStatus(ctx context.Context, status io.Reader, written time.Time) (isFirst bool) {
	v.lines.Reset(status)
	isFirst, v.readErr = v.picture.snapshot(v.lines, written)
	v.lines.Reset(nil)
	v.reception.Store(v.picture.reception)
	if v.readErr == nil {
		v.resync.compare(ctx, v.picture, isFirst)
	}
	return isFirst
}

// checked takes up what Naemon says of a check, behind what it logged about it.
// Of results of the gateway's own more is known.
func (v *view) checked(ctx context.Context, c checkLine) {
	v.look(ctx)
	if !v.handovers.has(c.Object) {
		v.picture.checked(c, time.Now())
	}
}

func (v *view) line(line []byte, at time.Time) {
	l, ok := parseLine(line)
	if !ok {
		return
	}
	var r *checks.Result
	if l.kind == alert {
		r = v.handovers.find(l, v.format)
	}
	v.picture.line(l, r, at)
}

// An absence is a file that cannot be read: one log line when that lasts, and
// one when it ends.
type absence struct {
	log        *slog.Logger
	what, path string
	since      time.Time // zero while the file is there
	logged     bool
}

func (a *absence) note(err error) {
	switch {
	case err == nil:
		if a.logged {
			a.log.Info("core's file back", "file", a.what, "path", a.path)
		}
		a.since, a.logged = time.Time{}, false
	case a.since.IsZero():
		a.since = time.Now()
	case !a.logged && time.Since(a.since) > feedPatience:
		a.logged = true
		a.log.Warn("state changes not followed: core's file not readable", "file", a.what, "path", a.path, "err", err)
	}
}
