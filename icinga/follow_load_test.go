package icinga

import (
	"fmt"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestNoStateIsSkippedWhenResultsComeFast(t *testing.T) {
	objects := fleet(40)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	w.ready(1)
	const rounds = 30
	var batch []checks.Result // each object's results follow each other closely
	for _, o := range objects {
		for n := range rounds {
			batch = append(batch, checks.Result{Object: o, State: checks.State(1 + n%3), Reason: fmt.Sprint(n)})
		}
	}
	if rejected := g.deliver(batch...); rejected != nil {
		t.Fatal(rejected)
	}
	w.verify(ic)
	for _, o := range objects {
		for n, s := range w.history(o) {
			if s.Reason != fmt.Sprint(n) {
				t.Fatalf("state %d of %s is\n%s after\n%s", n, o, show(s), show(w.history(o)[max(n-1, 0)]))
			}
		}
		if n := len(w.history(o)); n != rounds {
			t.Errorf("%d states of %s told, want %d", n, o, rounds)
		}
	}
}

func TestAllServicesChangeAtOnce(t *testing.T) {
	objects := fleet(4000)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	w.ready(1)
	for _, state := range []checks.State{checks.OK, checks.Critical, checks.OK} {
		var batch []checks.Result
		for _, o := range objects {
			batch = append(batch, checks.Result{Object: o, State: state, Reason: state.String(), Perfdata: "a=1"})
		}
		if rejected := g.deliver(batch...); rejected != nil {
			t.Fatal(rejected)
		}
		taken := time.Now()
		for _, o := range objects {
			w.until(o, state.String(), func(s checks.Status) bool { return s.State == state })
		}
		t.Logf("%v: all told %v after the last was taken", state, time.Since(taken))
	}
	w.verify(ic)
	for _, o := range objects {
		if h := w.history(o); len(h) != 3 {
			t.Fatalf("%s: told %d states", o, len(h))
		}
	}
}

// Good results of objects that are well are told without a question, and what
// is told is no different.
func TestGoodResultsAreNotAskedFor(t *testing.T) {
	objects := fleet(100)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	w, _ := g.follow()
	g.start()
	w.ready(1)
	report := func(reason string) {
		t.Helper()
		var batch []checks.Result
		for _, o := range objects {
			batch = append(batch, checks.Result{Object: o, Reason: reason, Perfdata: "'a b'=1  c=2;3;4"}, checks.Result{Object: checks.Object{Host: o.Host}, State: checks.Up, Reason: reason})
		}
		if rejected := g.deliver(batch...); rejected != nil {
			t.Fatal(rejected)
		}
		w.verify(ic)
		g.answered()
	}
	report("first")
	before := g.Stats().Asked
	report("second\nline")
	if n := g.Stats().Asked - before; n > uint64(len(objects)/4) { // a glance may come in between, and see some first
		t.Errorf("icinga was asked for %d objects", n)
	}
}
