package icinga

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A gateway stands for the rest of the gateway around a Sink under test: it
// numbers results, remembers the newest of each object, and submits again
// what deserves another try.
type gateway struct {
	*Sink
	t   testing.TB
	log *logged

	mu   sync.Mutex
	seq  uint64
	last map[checks.Object]checks.Result
}

// logged is a log that tests read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte(text))
}

func configOf(ics ...*realtest.Icinga) Config {
	cfg := Defaults()
	for _, ic := range ics {
		cfg.URL = append(cfg.URL, ic.URL)
	}
	cfg.CA, cfg.ServerName = ics[0].CA, ics[0].ServerName
	cfg.Username, cfg.PasswordFile = ics[0].User, ics[0].PasswordFile
	return cfg
}

// newGateway builds a Sink that does not run yet.
func newGateway(t testing.TB, cfg Config) *gateway {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, log: &logged{}, last: make(map[checks.Object]checks.Result)}
	g.build(cfg, 0)
	return g
}

// build makes the Sink, as at a start of the gateway at which all up to
// committed had been handed over.
func (g *gateway) build(cfg Config, committed uint64) {
	g.t.Helper()
	history := History{Last: g.newest, Each: g.each, Committed: committed}
	sink, err := New(cfg, history, slog.New(slog.NewTextHandler(g.log, nil)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.Sink = sink
}

// start runs the Sink until stop is called or the test ends.
func (g *gateway) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				g.t.Errorf("Run = %v", err)
			}
		})
	}
	g.t.Cleanup(func() {
		stop()
		if g.t.Failed() {
			g.t.Logf("the gateway's log:\n%s", g.log.buf.Bytes())
		}
	})
	return stop
}

func (g *gateway) newest(o checks.Object) (checks.Result, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.last[o]
	return r, ok, nil
}

func (g *gateway) each(f func(checks.Result) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.last {
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// accept gives results their Seq and time, in place, as the spool and the bus do.
func (g *gateway) accept(results ...checks.Result) []checks.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range results {
		r := &results[i]
		g.seq++
		r.Seq = g.seq
		r.Executed = time.Now().Truncate(time.Microsecond)
		if before := g.last[r.Object].Executed; !r.Executed.After(before) {
			r.Executed = before.Add(time.Microsecond)
		}
		r.Time, r.Arrived = r.Executed, r.Executed
		if r.Source == "" {
			r.Source = "probe"
		}
		g.last[r.Object] = *r
	}
	return results
}

// deliver accepts and submits until each result is taken or rejected, and
// returns the rejections.
func (g *gateway) deliver(results ...checks.Result) []error {
	g.t.Helper()
	return g.handOver(g.accept(results...))
}

func (g *gateway) handOver(batch []checks.Result) []error {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	var rejected []error
	for len(batch) > 0 {
		var again []checks.Result
		for i, err := range g.Submit(ctx, batch) {
			switch {
			case errors.Is(err, checks.ErrRejected):
				rejected = append(rejected, err)
			case ctx.Err() != nil:
				g.t.Fatalf("not handed over: %v", err)
			case err != nil:
				again = append(again, batch[i])
			}
		}
		batch = again
	}
	return rejected
}

// verify compares what Icinga holds with the newest accepted results.
func (g *gateway) verify(ic *realtest.Icinga) {
	g.t.Helper()
	held := ic.LastCheckResults()
	wrong := 0
	for o, want := range g.last {
		got := held[o]
		if got == nil || micros(got.ExecutionStart) != want.Executed.UnixMicro() || got.Output != want.Reason {
			if wrong++; wrong < 5 {
				g.t.Errorf("icinga holds %+v for %s, want %q of %d", got, o, want.Reason, want.Executed.UnixMicro())
			}
		}
	}
	if wrong > 0 {
		g.t.Errorf("%d of %d objects do not have their last result", wrong, len(g.last))
	}
}

// fleet is n services on hosts of 10.
func fleet(n int) []checks.Object {
	var list []checks.Object
	for i := range n {
		list = append(list, checks.Object{Host: fmt.Sprintf("host%d", i/10), Service: fmt.Sprintf("service%d", i%10)})
	}
	return list
}

func service(name string) checks.Object { return checks.Object{Host: "web1", Service: name} }
