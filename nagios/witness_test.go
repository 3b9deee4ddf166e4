package nagios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A witness is a watcher that remembers all it was told.
type witness struct {
	mu   sync.Mutex
	now  map[checks.Object]checks.Status
	told map[checks.Object][]checks.Status // one after another
	alls int                               // calls of SawAll
	lost []checks.Object
}

func newWitness() *witness {
	return &witness{now: make(map[checks.Object]checks.Status), told: make(map[checks.Object][]checks.Status)}
}

func (w *witness) Saw(s checks.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw(s)
}

func (w *witness) saw(s checks.Status) {
	w.now[s.Object] = s
	w.told[s.Object] = append(w.told[s.Object], s)
}

func (w *witness) SawAll(all []checks.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alls++
	clear(w.now)
	for _, s := range all {
		w.saw(s)
	}
}

func (w *witness) Lost(o checks.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.now, o)
	w.lost = append(w.lost, o)
}

func (w *witness) get(o checks.Object) (checks.Status, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.now[o]
	return s, ok
}

func (w *witness) count() (objects, alls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.now), w.alls
}

// verdicts are the states that were told of o, as the log writes them, each
// once: "CRITICAL;SOFT;1".
func (w *witness) verdicts(o checks.Object) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, s := range w.told[o] {
		kind := "HARD"
		if s.Soft {
			kind = "SOFT"
		}
		all = append(all, fmt.Sprintf("%s;%s;%d", s.State, kind, s.Attempt))
	}
	return slices.Compact(all)
}

// await waits until ok is true of o.
func (w *witness) await(t testing.TB, o checks.Object, what string, ok func(checks.Status) bool) checks.Status {
	t.Helper()
	var s checks.Status
	waitFor(t, fmt.Sprintf("%v to be %s", o, what), func() bool {
		var known bool
		s, known = w.get(o)
		return known && ok(s)
	})
	return s
}

// withFeed is the settings' change for a feed from n.
func withFeed(n *realtest.Nagios) func(*Config) {
	return func(c *Config) { c.LogFile, c.StatusFile = n.LogFile, n.StatusFile }
}

// follow makes a witness of what s says of its core until the test ends, and
// returns when it has the first picture.
func follow(t testing.TB, s *Sink) *witness {
	t.Helper()
	w := newWitness()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitFor(t, "the first picture", func() bool {
		_, alls := w.count()
		return alls > 0
	})
	return w
}

// objectFile writes object definitions into a file for NagiosOptions.Includes.
func objectFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "more.cfg")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceWith defines a service of h0000 with further settings, one a line.
func serviceWith(name string, settings ...string) string {
	return fmt.Sprintf("define service {\n  use test-service\n  host_name h0000\n  service_description %s\n  %s\n}\n",
		name, strings.Join(settings, "\n  "))
}

// logged are the states that n's log says of o since the last of its starts, as
// verdicts has them.
func logged(n *realtest.Nagios, o checks.Object) []string {
	prefix := "SERVICE ALERT: " + o.Host + ";" + o.Service + ";"
	if o.IsHost() {
		prefix = "HOST ALERT: " + o.Host + ";"
	}
	var all []string
	for _, line := range n.Log() {
		if _, rest, ok := strings.Cut(line, prefix); ok {
			fields := strings.SplitN(rest, ";", 4)
			all = append(all, strings.Join(fields[:3], ";"))
		}
	}
	return slices.Compact(all)
}

// agree waits until the witness has of every object what n's status file says.
func agree(t testing.TB, n *realtest.Nagios, w *witness) {
	t.Helper()
	var wrong string
	wait := func() bool {
		wrong = ""
		status := n.Status()
		if objects, _ := w.count(); objects != len(status) {
			wrong = fmt.Sprintf("%d objects told, %d in the status file", objects, len(status))
		}
		for o, want := range status {
			s, _ := w.get(o)
			if got := asStored(s); got != want {
				wrong = fmt.Sprintf("%v is told as %+v, stored as %+v", o, got, want)
			}
		}
		return wrong == "" && len(status) > 0
	}
	defer func() {
		if wrong != "" {
			t.Log(wrong)
		}
	}()
	waitFor(t, "what is told to be what the status file says", wait)
}

// asStored is s as the status file writes it.
func asStored(s checks.Status) realtest.NagiosStatus {
	if s.State == checks.Pending {
		return realtest.NagiosStatus{State: -1, InDowntime: s.InDowntime}
	}
	first, long, _ := strings.Cut(s.Reason, "\n")
	return realtest.NagiosStatus{
		State: s.State.ExitCode(), Soft: s.Soft, Attempt: s.Attempt,
		Output: first, LongOutput: strings.ReplaceAll(strings.ReplaceAll(long, `\`, `\\`), "\n", `\n`), Perfdata: s.Perfdata,
		LastCheck: s.Time.Unix(), Acknowledged: s.Acknowledged, InDowntime: s.InDowntime, Flapping: s.Flapping,
	}
}
