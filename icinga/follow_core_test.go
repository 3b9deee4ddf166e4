package icinga

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestTheIcingaInUseIsFollowed(t *testing.T) {
	disk := service("disk")
	first := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}})
	second := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk, service("second")}})
	cfg := configOf(first, second)
	cfg.CA = bothAuthorities(t, first, second)
	g := newGateway(t, cfg)
	g.times.failover = 200 * time.Millisecond
	w, _ := g.follow()
	g.start()
	report := func(state checks.State) {
		t.Helper()
		if rejected := g.deliver(checks.Result{Object: disk, State: state}); rejected != nil {
			t.Fatal(rejected)
		}
		w.until(disk, state.String(), func(s checks.Status) bool { return s.State == state })
	}
	report(checks.Warning)
	w.verify(first)
	first.Kill()
	w.until(service("second"), "there", func(checks.Status) bool { return true })
	report(checks.Critical)
	w.verify(second)
}

// Icinga that was killed has forgotten the last results, and the next ones may
// be on their way while it is asked what it holds.
func TestWhatIcingaForgotIsNoChange(t *testing.T) {
	objects := fleet(50)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	report := func(state checks.State) []checks.Result {
		var batch []checks.Result
		for _, o := range objects {
			batch = append(batch, checks.Result{Object: o, State: state, Reason: state.String()})
		}
		return g.accept(batch...)
	}
	g.handOver(report(checks.Warning))
	w.verify(ic)
	ic.Kill()
	waiting := report(checks.Critical)
	ic.Start()
	realtest.Eventually(t, time.Minute, "icinga to be back", g.Up)
	if rejected := g.handOver(waiting); rejected != nil {
		t.Fatal(rejected)
	}
	w.ready(2)
	w.verify(ic)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range objects {
		if s := w.now[o]; s.State != checks.Critical {
			t.Errorf("told %s", show(s))
		}
	}
	if w.forgotten > 0 {
		t.Errorf("%d objects were told to be pending again", w.forgotten)
	}
}

// A worker that ends answers for a moment after it has stopped the downtimes.
func TestAReloadEndsNoDowntime(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: append(fleet(200), disk)})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	if rejected := g.deliver(checks.Result{Object: disk, State: checks.Critical}); rejected != nil {
		t.Fatal(rejected)
	}
	now := float64(time.Now().Unix())
	ic.Do("POST", "/v1/actions/schedule-downtime", map[string]any{
		"type": "Service", "service": disk.String(), "author": "anna", "comment": "disk swap", "start_time": now - 10, "end_time": now + 3600,
	})
	w.until(disk, "in downtime", func(s checks.Status) bool { return s.InDowntime })
	before := len(w.history(disk))
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		for ; ctx.Err() == nil; pause(ctx, time.Millisecond) {
			g.ledger.ask(disk)
		}
	})
	ic.Reload()
	w.ready(2)
	cancel()
	asking.Wait()
	w.verify(ic)
	for _, s := range w.history(disk)[before:] {
		t.Errorf("told %s", show(s))
	}
}

func TestAnAccountWithoutEventsLooksForItself(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{disk},
		Config: `object ApiUser "deaf" { password = CheckbusPassword; permissions = [ "actions/process-check-result",
			"objects/query/Host", "objects/query/Service", "events/ObjectCreated", "events/ObjectDeleted", "status/query" ] }`,
	})
	cfg := configOf(ic)
	cfg.Username = "deaf"
	g := newGateway(t, cfg)
	w, _ := g.follow()
	g.start()
	w.ready(1)
	if rejected := g.deliver(checks.Result{Object: disk, State: checks.Critical}); rejected != nil {
		t.Fatal(rejected)
	}
	ic.Do("POST", "/v1/actions/acknowledge-problem", map[string]any{"type": "Service", "service": disk.String(), "author": "anna", "comment": "on it"})
	w.until(disk, "acknowledged", func(s checks.Status) bool { return s.Acknowledged })
	ic.Do("POST", "/v1/actions/process-check-result", map[string]any{"type": "Service", "service": disk.String(), "exit_status": 1, "plugin_output": "by another"})
	w.until(disk, "reported by another", func(s checks.Status) bool { return s.Reason == "by another" })
	created := service("created")
	ic.Create(created)
	w.until(created, "there", func(checks.Status) bool { return true })
	ic.Delete(created)
	realtest.Eventually(t, time.Minute, "the object to be gone", func() bool { _, ok := w.state(created); return !ok })
	w.verify(ic)
	if n := g.log.count("the account lacks a permission for events"); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
}

// Objects that are gone when they are asked for do not keep the others from
// being told.
func TestObjectsThatAreGoneWhenAskedFor(t *testing.T) {
	objects := fleet(30)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	g.times.glance = time.Hour // what it would find must be found without it
	w, stop := g.follow()
	g.start()
	w.ready(1)
	if rejected := g.deliver(checks.Result{Object: objects[7], State: checks.Critical}); rejected != nil {
		t.Fatal(rejected)
	}
	w.until(objects[7], "critical", func(s checks.Status) bool { return s.State == checks.Critical })
	ic.Do("POST", "/v1/actions/acknowledge-problem", map[string]any{"type": "Service", "service": objects[7].String(), "author": "anna", "comment": "on it"})
	g.ledger.mu.Lock() // all at once
	for _, o := range append(objects, service("gone"), service("gone, too")) {
		g.ledger.add(o, news{ask: true})
	}
	g.ledger.mu.Unlock()
	w.until(objects[7], "acknowledged", func(s checks.Status) bool { return s.Acknowledged })
	g.answered()
	stop()
	if rejected := g.deliver(checks.Result{Object: objects[7], State: checks.Critical}); rejected != nil {
		t.Fatal(rejected)
	}
	if n := len(g.ledger.told) + len(g.ledger.news); n != 0 {
		t.Errorf("%d objects are remembered while nobody follows", n)
	}
}

func TestStatesThatCannotBeReadAreAnOutageOfTheirOwn(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	f, cfg := newFakeIcinga(t, func(submission) (int, string) { return http.StatusOK, success })
	whole := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if broken.Load() && strings.Contains(string(question), "downtime_depth") {
			fmt.Fprint(w, `{"results":[{"name":"web1","attrs":{"flapping":"per`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(question))
		whole.ServeHTTP(w, r)
	})
	g := newGateway(t, cfg)
	g.times.notice = 50 * time.Millisecond
	w, _ := g.follow()
	g.start()
	realtest.Eventually(t, time.Minute, "the outage to be noticed", func() bool { return g.log.count("states cannot be read") == 1 })
	if rejected := g.deliver(checks.Result{Object: service("disk")}); rejected != nil {
		t.Errorf("results are not taken: %v", rejected)
	}
	if g.Follows() {
		t.Error("states are followed that cannot be read")
	}
	broken.Store(false)
	w.ready(1)
	realtest.Eventually(t, time.Minute, "the states to be followed", g.Follows)
	realtest.Eventually(t, time.Minute, "the end of the outage", func() bool { return g.log.count("states are read again") == 1 })
	if n := g.log.count("states cannot be read"); n != 1 {
		t.Errorf("%d lines about the outage, want 1", n)
	}
}
