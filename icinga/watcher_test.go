package icinga

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A watcher remembers what it was told, and complains of what is told in the
// wrong order.
type watcher struct {
	t testing.TB

	mu   sync.Mutex
	alls int // calls of SawAll
	now  map[checks.Object]checks.Status
	seen map[checks.Object][]checks.Status // since the first SawAll
	lost map[checks.Object]int

	forgotten int // objects that became pending again
}

func newWatcher(t testing.TB) *watcher {
	return &watcher{
		t:    t,
		now:  make(map[checks.Object]checks.Status),
		seen: make(map[checks.Object][]checks.Status),
		lost: make(map[checks.Object]int),
	}
}

// follow follows g until stop is called or the test ends.
func (g *gateway) follow() (w *watcher, stop func()) {
	w = newWatcher(g.t)
	return w, g.followWith(w)
}

func (g *gateway) followWith(w checks.Watcher) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Follow(ctx, w) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("Follow = %v", err)
		}
	})
	g.t.Cleanup(stop)
	return stop
}

func (w *watcher) Saw(s checks.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alls == 0 {
		w.t.Errorf("told of %s before all were told", s.Object)
	}
	before, ok := w.now[s.Object]
	if ok && before == s {
		w.t.Errorf("told twice: %s", show(s))
	}
	if s.Time.Before(before.Time) {
		w.t.Errorf("told what is older: %s after %s", show(s), show(before))
	}
	w.now[s.Object] = s
	w.seen[s.Object] = append(w.seen[s.Object], s)
}

func (w *watcher) SawAll(all []checks.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alls++
	before := w.now
	w.now = make(map[checks.Object]checks.Status, len(all))
	for _, s := range all {
		w.now[s.Object] = s
		if b, ok := before[s.Object]; ok && s.State == checks.Pending && b.State != checks.Pending {
			w.forgotten++
		}
	}
}

func (w *watcher) Lost(o checks.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.now[o]; !ok {
		w.t.Errorf("told that %s is gone, which was not there", o)
	}
	delete(w.now, o)
	w.lost[o]++
}

func (w *watcher) state(o checks.Object) (checks.Status, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.now[o]
	return s, ok
}

func (w *watcher) history(o checks.Object) []checks.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen[o])
}

func (w *watcher) snapshots() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alls
}

// until waits until o is as is says, and returns it.
func (w *watcher) until(o checks.Object, what string, is func(checks.Status) bool) checks.Status {
	w.t.Helper()
	var s checks.Status
	realtest.Eventually(w.t, time.Minute, o.String()+" to be "+what, func() bool {
		var ok bool
		s, ok = w.state(o)
		return ok && is(s)
	})
	return s
}

// ready waits until all objects have been told.
func (w *watcher) ready(snapshots int) {
	w.t.Helper()
	realtest.Eventually(w.t, 60*time.Second, "all objects to be told", func() bool { return w.snapshots() >= snapshots })
}

// verify waits until what was told is what Icinga says of all its objects.
func (w *watcher) verify(ic *realtest.Icinga) {
	w.t.Helper()
	var says map[checks.Object]checks.Status
	same := func() bool {
		says = statesOf(ic)
		w.mu.Lock()
		defer w.mu.Unlock()
		return maps.Equal(says, w.now)
	}
	deadline := time.Now().Add(time.Minute)
	for !same() {
		if time.Now().After(deadline) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for o, s := range says {
				if w.now[o] != s {
					w.t.Errorf("icinga says\n%s, told\n%s", show(s), show(w.now[o]))
				}
			}
			w.t.Fatalf("%d objects told, icinga has %d", len(w.now), len(says))
		}
	}
}

// answered waits until there is nothing left to ask for.
func (g *gateway) answered() {
	g.t.Helper()
	realtest.Eventually(g.t, time.Minute, "all to be answered", func() bool {
		g.ledger.mu.Lock()
		defer g.ledger.mu.Unlock()
		return len(g.ledger.asking)+len(g.ledger.news) == 0
	})
}

// statesOf reads what Icinga says of all objects, by another way than the Sink.
func statesOf(ic *realtest.Icinga) map[checks.Object]checks.Status {
	all := make(map[checks.Object]checks.Status)
	for o, a := range ic.Attributes() {
		s := checks.Status{Object: o, State: checks.Pending, InDowntime: a.Number("downtime_depth") > 0}
		s.Flapping = a["flapping"] == true && a["enable_flapping"] == true
		expiry := a.Number("acknowledgement_expiry")
		s.Acknowledged = a.Number("acknowledgement") > 0 && (expiry == 0 || expiry > float64(time.Now().Unix()))
		if r, ok := a["last_check_result"].(map[string]any); ok {
			result := realtest.Attributes(r)
			s.State = checks.State(a.Number("state"))
			if o.IsHost() {
				s.State = checks.Up + checks.State(a.Number("state"))
				if s.State == checks.Down && a["last_reachable"] == false {
					s.State = checks.Unreachable
				}
			}
			s.Soft, s.Attempt = a.Number("state_type") == 0, int(a.Number("check_attempt"))
			s.Reason, _ = result["output"].(string)
			items, _ := result["performance_data"].([]any)
			for i, item := range items {
				if i > 0 {
					s.Perfdata += " "
				}
				s.Perfdata += item.(string)
			}
			s.Time = time.UnixMicro(int64(result.Number("execution_end")*1e6 + 0.5)).UTC()
			if since := a.Number("last_state_change"); since > 0 {
				s.Since = time.UnixMicro(int64(since*1e6 + 0.5)).UTC()
			}
		}
		all[o] = s
	}
	return all
}

// show prints all of s; its %v is the object's name.
func show(s checks.Status) string { return fmt.Sprintf("%#v", s) }
