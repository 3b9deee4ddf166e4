// Package icinga hands check results to Icinga 2 through its API, and tells what
// becomes of its objects.
//
// Icinga's 200 is not the end: what was acknowledged shortly before a reload,
// or since the state file was last written before a crash, is gone without a
// word. So the Sink keeps how far each object's results have come, watches
// which worker process answers, and compares after every change.
package icinga

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"checkbus/checks"
)

// A History is what the sink needs of the results accepted so far.
type History struct {
	// Last is the newest accepted result of an object.
	Last func(checks.Object) (checks.Result, bool, error)
	// Each calls f with the newest accepted result of every object.
	Each func(f func(checks.Result) error) error
	// Committed is the Seq up to which this core's results had been handed
	// over when the gateway was started.
	Committed uint64
}

// A Sink hands results to one zone of Icinga 2. Run must run for Submit to get
// anywhere.
type Sink struct {
	history  History
	log      *slog.Logger
	account  *account
	cores    []*core // in order of preference
	objects  *objects
	ledger   *ledger
	finds    rate
	counters counters
	times    times
	seed     maphash.Seed
	queue    string // this gateway's own, of the event stream
	recalled bool   // used by Run alone
	follows  atomic.Bool

	forbidden, unpermitted, unheard, unread alarm

	sending chan struct{} // has one element while somebody hands over
	looking chan struct{} // asks Run to look whether Icinga still runs

	mu      sync.Mutex
	session *session      // nil while there is none
	down    error         // why there is none; nil while one is being prepared
	changed chan struct{} // closed when session or down change
}

// A core is one Icinga.
type core struct {
	url     string
	control *client // questions about the whole
	feed    *client // the event stream
	states  *client // what its objects are
	glances *client // which of them have changed
	lanes   []*lane
}

// A session is the time in which one worker process of Icinga takes results.
type session struct {
	core *core
	over chan struct{} // closed when it ends
}

var errOver = errors.New("icinga is being asked what it holds")

// err is not nil when ctx or the session has ended.
func (s *session) err(ctx context.Context) error {
	select {
	case <-s.over:
		return errOver
	default:
		return ctx.Err()
	}
}

// times are how long things take; tests shorten them.
type times struct {
	look     time.Duration // between two looks at Icinga
	patience time.Duration // of Submit, while Icinga is down
	notice   time.Duration // an outage shorter than this, as of a reload, is not logged
	failover time.Duration // with an Icinga that is down, until the next is tried
	settle   time.Duration // a preferred Icinga must be well for this long
	retry    time.Duration // between two tries of what was ignored
	glance   time.Duration // between two glances at all objects, at least
	slow     time.Duration // between two tries with a wrong account
}

type counters struct {
	taken, repeated, stale, ignored, resent, asked atomic.Uint64
}

// New builds a Sink of valid settings. It reads the certificates and the
// password, and connects in Run.
func New(cfg Config, history History, log *slog.Logger) (*Sink, error) {
	t, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	s := &Sink{
		history: history,
		log:     log.With("sink", "icinga"),
		account: &account{cfg: cfg},
		objects: newObjects(),
		ledger:  newLedger(),
		finds:   rate{perSecond: 10, burst: 20},
		seed:    maphash.MakeSeed(),
		queue:   "checkbus-" + rand.Text(),
		sending: make(chan struct{}, 1),
		looking: make(chan struct{}, 1),
		changed: make(chan struct{}),
		times: times{
			look:     time.Second,
			patience: time.Second,
			notice:   3 * time.Second,
			failover: 5 * time.Second,
			settle:   30 * time.Second,
			retry:    10 * time.Second,
			glance:   500 * time.Millisecond,
			slow:     5 * time.Second,
		},
	}
	if err := s.account.load(); err != nil {
		return nil, err
	}
	for _, url := range cfg.URL {
		client := func() *client { return newClient(url, cfg, t.Clone(), s.account) }
		c := &core{url: url, control: client(), feed: client(), states: client(), glances: client()}
		c.feed.transport.ResponseHeaderTimeout = cfg.Timeout
		for range cfg.Connections {
			link, err := newLink(url, cfg, t.Clone(), s.account)
			if err != nil {
				return nil, err
			}
			c.lanes = append(c.lanes, &lane{sink: s, link: link, doubt: make(map[checks.Object]struct{})})
		}
		s.cores = append(s.cores, c)
	}
	return s, nil
}

// Submit offers batch, keeping each object's order, and returns one verdict a
// result: nil when Icinga has it, or waits for a parent of its object to
// become reachable; an error wrapping checks.ErrRejected when Icinga never
// will; any other when it is worth another try. A result that Icinga holds
// already is not sent again. It waits while Icinga is asked what it holds, and
// returns early when Icinga is down or ctx ends.
func (s *Sink) Submit(ctx context.Context, batch []checks.Result) []error {
	verdicts := make([]error, len(batch))
	session, err := s.enter(ctx)
	if err != nil {
		for i := range verdicts {
			verdicts[i] = err
		}
		return verdicts
	}
	defer s.release()
	lanes := session.core.lanes
	turns := make([][]int, len(lanes))
	for i := range batch {
		n := s.laneOf(batch[i].Object, len(lanes))
		turns[n] = append(turns[n], i)
	}
	var wg sync.WaitGroup
	for n, l := range lanes {
		if len(turns[n]) > 0 {
			wg.Go(func() { l.submit(ctx, session, batch, turns[n], verdicts) })
		}
	}
	wg.Wait()
	return verdicts
}

// laneOf is the lane of an object, the same for as long as the Sink lives.
func (s *Sink) laneOf(o checks.Object, lanes int) int {
	return int(maphash.Comparable(s.seed, o) % uint64(lanes))
}

// Knows reports whether Icinga has o. It is false only when Icinga was asked
// for o within the last seconds and said no: the list of objects may be 5 s
// behind, and Submit asks about an object that is not in it.
func (s *Sink) Knows(o checks.Object) bool {
	return s.objects.has(o) || !s.objects.isAbsent(o, time.Now())
}

// Up reports whether Icinga is there and takes results.
func (s *Sink) Up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session != nil
}

// Stats are figures for an operator.
type Stats struct {
	URL      string // of the Icinga in use; "" while none is
	Objects  int    // hosts and services that Icinga has
	Taken    uint64 // results that Icinga stored
	Repeated uint64 // results that Icinga held already
	Stale    uint64 // results that Icinga dropped for a newer one
	Ignored  uint64 // answers that a parent is unreachable
	Resent   uint64 // results sent again because Icinga had lost them
	Asked    uint64 // objects whose state Icinga was asked for, but for the lists of all
}

// Stats may be called at any time; it takes a moment with very many objects.
func (s *Sink) Stats() Stats {
	stats := Stats{
		Objects:  s.objects.size(),
		Taken:    s.counters.taken.Load(),
		Repeated: s.counters.repeated.Load(),
		Stale:    s.counters.stale.Load(),
		Ignored:  s.counters.ignored.Load(),
		Resent:   s.counters.resent.Load(),
		Asked:    s.counters.asked.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		stats.URL = s.session.core.url
	}
	return stats
}

// enter waits for a session and holds it until release is called. While Icinga
// is down it waits for a moment only, and says why.
func (s *Sink) enter(ctx context.Context) (*session, error) {
	patience := time.NewTimer(s.times.patience)
	defer patience.Stop()
	for {
		s.mu.Lock()
		session, down, changed := s.session, s.down, s.changed
		s.mu.Unlock()
		if session != nil {
			if err := s.hold(ctx); err != nil {
				return nil, err
			}
			if session.err(ctx) == nil {
				return session, nil
			}
			s.release()
		}
		var enough <-chan time.Time
		if down != nil {
			enough = patience.C
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			return nil, fmt.Errorf("icinga unreachable: %w", down)
		case <-changed:
		}
	}
}

// hold waits until nobody hands over.
func (s *Sink) hold(ctx context.Context) error {
	select {
	case s.sending <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Sink) release() { <-s.sending }

// set changes the session, or why there is none, and ends the one before.
func (s *Sink) set(session *session, down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		close(s.session.over)
	}
	s.session, s.down = session, down
	close(s.changed)
	s.changed = make(chan struct{})
}

// look asks Run to look at once whether Icinga still runs.
func (s *Sink) look() {
	select {
	case s.looking <- struct{}{}:
	default:
	}
}
