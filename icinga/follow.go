package icinga

import (
	"context"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"checkbus/checks"
)

const (
	// maxNames bounds the objects of one question: 500 take Icinga 12 ms.
	maxNames = 500
	// maxMissing bounds how many questions may fail at a time because Icinga has
	// one of the objects no longer: each takes 3 to 8 ms.
	maxMissing = 20
	// After questions that took Icinga a time t, the next ones wait for askRest
	// times t, and after a glance the next one for glanceRest times t: so
	// glances take 1/31 of a core at the most, with any number of objects.
	askRest, maxAskRest = 4, 50 * time.Millisecond
	glanceRest          = 30
	// maxOverdue bounds how long a new Icinga is not believed, because it lacks
	// what is on its way to it.
	maxOverdue = 5 * time.Second
)

// Follow tells w what the Icinga in use says of its hosts and services, until
// ctx ends: all of them at the beginning and after each change of Icinga's
// process, and then each that changes. Run must run meanwhile, and only one
// Follow.
//
// Three sources say where there may be a change: results that Icinga took,
// its event stream, and a glance at all objects twice a second, or less often
// where there are many. What the object is then is always asked for, by one
// goroutine, so that nothing older follows what is newer; but for a good result
// of an object that was good before.
func (s *Sink) Follow(ctx context.Context, w checks.Watcher) error {
	f := follower{sink: s, ledger: s.ledger, watcher: w}
	for {
		session := s.await(ctx)
		if session == nil {
			return nil
		}
		if session != f.session {
			f.session, f.failing, f.wait = session, time.Time{}, 0
		}
		began := time.Now()
		err := f.attend(ctx)
		s.follows.Store(false)
		if session.err(ctx) != nil {
			continue
		}
		if time.Since(began) > time.Minute {
			f.failing, f.wait = time.Time{}, 0
		}
		f.failed(err)
		pause(ctx, f.wait)
	}
}

// Follows reports whether Icinga answered the last question for states.
func (s *Sink) Follows() bool { return s.follows.Load() }

// await waits for a session; nil when ctx ends before.
func (s *Sink) await(ctx context.Context) *session {
	for {
		s.mu.Lock()
		session, changed := s.session, s.changed
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if session != nil {
			return session
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// A follower tells a watcher what one Icinga after another says.
type follower struct {
	sink    *Sink
	ledger  *ledger
	watcher checks.Watcher
	session *session
	missing int // questions that failed in this round, for an object that is gone

	failing time.Time     // since when states cannot be read for long; zero while they can
	said    bool          // that they cannot
	wait    time.Duration // until the next try
}

// failed says, once a minute at most, that states cannot be read although
// results are taken.
func (f *follower) failed(err error) {
	f.sink.look()
	if f.failing.IsZero() {
		f.failing = time.Now()
	}
	if !f.said && time.Since(f.failing) >= f.sink.times.notice && f.sink.unread.due() {
		f.sink.log.Warn("states cannot be read", "url", f.session.core.url, "err", err)
		f.said = true
	}
	f.wait = min(max(2*f.wait, 20*time.Millisecond), maxWait)
}

// attend follows one worker process of Icinga until its session ends.
func (f *follower) attend(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-f.session.over:
			return errOver
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	g.Go(func() error {
		f.ledger.begin()
		defer f.ledger.end()
		f.awaitOverdue(ctx)
		if err := f.tellAll(ctx); err != nil {
			return err
		}
		g.Go(func() error { return f.glances(ctx) })
		return f.tellNews(ctx)
	})
	return g.Wait()
}

// awaitOverdue waits for a moment until objects of which Icinga lost the last
// result have got the next, so that what it forgot is not told as a change.
func (f *follower) awaitOverdue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, maxOverdue)
	defer cancel()
	for f.sink.objects.isOverdue() && ctx.Err() == nil {
		pause(ctx, 5*time.Millisecond)
	}
}

// tellAll tells what all objects are.
func (f *follower) tellAll(ctx context.Context) error {
	var all []checks.Status
	for _, kind := range []string{hosts, services} {
		err := f.session.core.states.list(ctx, kind, statusAttrs, func(e *entry) {
			r := e.reading()
			all = append(all, r.Status)
			f.ledger.note(r)
		})
		if err != nil {
			return err
		}
	}
	f.watcher.SawAll(all)
	f.sink.follows.Store(true)
	if f.said {
		f.sink.log.Info("states are read again", "url", f.session.core.url)
	}
	f.said = false
	return nil
}

// tellNews tells what the ledger has until ctx ends. It rests after each round
// of questions, so that results that come fast are asked for together.
func (f *follower) tellNews(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ledger.wake:
		}
		news := f.ledger.take()
		for _, o := range news.removed {
			f.watcher.Lost(o)
		}
		for _, s := range news.states {
			f.watcher.Saw(s)
		}
		if len(news.unread) == 0 {
			continue
		}
		began := time.Now()
		if err := f.askAll(ctx, news.unread); err != nil {
			return err
		}
		pause(ctx, min(askRest*time.Since(began), maxAskRest))
	}
}

// askAll asks for objects of both kinds.
func (f *follower) askAll(ctx context.Context, list []checks.Object) error {
	f.missing = 0
	of := make(map[string][]checks.Object)
	for _, o := range list {
		of[kind(o)] = append(of[kind(o)], o)
	}
	for kind, list := range of {
		for some := range slices.Chunk(list, maxNames) {
			if err := f.ask(ctx, kind, some); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask asks for objects of one kind, and tells what they are. One that is gone
// makes the whole question fail, so it is parted until that one is found. With
// too many of them the rest is left to the next glance.
func (f *follower) ask(ctx context.Context, kind string, list []checks.Object) error {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.String()
	}
	f.sink.counters.asked.Add(uint64(len(list)))
	err := f.session.core.states.named(ctx, kind, names, statusAttrs, func(e *entry) {
		if !e.isStopping() { // else the next glance finds what is new, or the next worker tells all
			f.answer(e.reading())
		}
	})
	switch {
	case err == nil:
		f.ledger.answered(list)
		return nil
	case !isStatus(err, http.StatusNotFound):
		return err
	}
	f.missing++
	if len(list) == 1 || f.missing > maxMissing {
		f.ledger.answered(list)
		if len(list) == 1 {
			f.ledger.remove(list[0])
		}
		return nil
	}
	half := len(list) / 2
	if err := f.ask(ctx, kind, list[:half]); err != nil {
		return err
	}
	return f.ask(ctx, kind, list[half:])
}

// answer tells what an object was since it was told last, and what it is now,
// unless another result has changed it since: then it is asked for again.
func (f *follower) answer(r reading) {
	list := f.ledger.takePassed(r.Object)
	if n := len(list); n == 0 || !r.Time.Before(list[n-1].Time) {
		list = append(list, r)
	}
	for _, r := range list {
		if f.ledger.note(r) {
			f.watcher.Saw(r.Status)
		}
	}
}

// glances looks again and again whether all objects are what the watcher was
// told.
func (f *follower) glances(ctx context.Context) error {
	for {
		pause(ctx, f.sink.times.glance)
		began := time.Now()
		n := f.ledger.beginGlance()
		for kind, attrs := range glanceAttrs {
			err := f.session.core.glances.list(ctx, kind, attrs, func(e *entry) { f.ledger.compare(e, n) })
			if err != nil {
				return err
			}
		}
		f.ledger.endGlance(n)
		pause(ctx, glanceRest*time.Since(began)-f.sink.times.glance)
	}
}
