package icinga

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestUnknownObjectsAreRejectedAndTheirNeighboursTaken(t *testing.T) {
	known, unknown := service("disk"), service("dusk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{known}})
	g := newGateway(t, configOf(ic))
	if !g.Knows(unknown) {
		t.Error("an object is unknown before the list is read")
	}
	g.start()
	batch := g.accept(checks.Result{Object: unknown}, checks.Result{Object: known, Reason: "fine"}, checks.Result{Object: checks.Object{Host: "nowhere"}})
	verdicts := g.Submit(context.Background(), batch)
	if !errors.Is(verdicts[0], checks.ErrUnknownObject) || verdicts[1] != nil || !errors.Is(verdicts[2], checks.ErrUnknownObject) {
		t.Errorf("Submit = %v", verdicts)
	}
	if g.Knows(unknown) || !g.Knows(known) || !g.Knows(checks.Object{Host: "web1"}) {
		t.Error("Takes does not say what Icinga said")
	}
}

func TestObjectsThatComeAndGoWhileIcingaRuns(t *testing.T) {
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{{Host: "web1"}}})
	g := newGateway(t, configOf(ic))
	g.start()
	added := service("added")
	if rejected := g.deliver(checks.Result{Object: checks.Object{Host: "web1"}}); rejected != nil {
		t.Fatal(rejected)
	}
	ic.Create(added)
	if rejected := g.deliver(checks.Result{Object: added, Reason: "at once"}); rejected != nil {
		t.Errorf("an object created a moment ago: %v", rejected)
	}
	g.verify(ic)

	refused := service("refused")
	if rejected := g.deliver(checks.Result{Object: refused}); rejected == nil {
		t.Error("taken for an object that does not exist")
	}
	ic.Create(refused)
	realtest.Eventually(t, time.Minute, "the event of the new object", func() bool { return g.Knows(refused) })
	if rejected := g.deliver(checks.Result{Object: refused}); rejected != nil {
		t.Errorf("an object created after its first result: %v", rejected)
	}

	ic.Delete(added)
	if rejected := g.deliver(checks.Result{Object: added}); rejected == nil {
		t.Error("taken for an object that was deleted")
	}
	delete(g.last, added)
	g.verify(ic)
}

// The event stream may tell of the first only, and of the second 5 s later.
func TestAnObjectDeletedAndCreatedAgainTakesResults(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}})
	g := newGateway(t, configOf(ic))
	g.start()
	g.hear(&event{Type: "ObjectDeleted", ObjectType: "Service", ObjectName: disk.String()})
	if !g.Knows(disk) {
		t.Error("refused without a question")
	}
	if rejected := g.deliver(checks.Result{Object: disk}); rejected != nil {
		t.Error(rejected)
	}
}

func TestAReloadBringsTheNewList(t *testing.T) {
	before, after := service("before"), service("after")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{before}})
	g := newGateway(t, configOf(ic))
	g.start()
	if rejected := g.deliver(checks.Result{Object: before}, checks.Result{Object: after}); len(rejected) != 1 {
		t.Errorf("rejected %v, want one", rejected)
	}
	ic.Configure(realtest.IcingaOptions{Objects: []checks.Object{after}})
	ic.Reload()
	realtest.Eventually(t, time.Minute, "the new list", func() bool { return g.objects.has(after) && !g.objects.has(before) })
	if rejected := g.deliver(checks.Result{Object: before}, checks.Result{Object: after}); len(rejected) != 1 {
		t.Errorf("rejected %v, want one", rejected)
	}
}

// A 404 costs Icinga 8 ms, and it answers one at a time.
func TestManyUnknownObjectsDoNotBotherIcinga(t *testing.T) {
	known := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{known}})
	g := newGateway(t, configOf(ic))
	g.start()
	var batch []checks.Result
	for i := range 10_000 {
		batch = append(batch, checks.Result{Object: service(fmt.Sprint("unknown", i))})
	}
	batch = append(batch, checks.Result{Object: known, Reason: "fine"})
	if rejected := g.deliver(batch...); len(rejected) != 10_000 {
		t.Errorf("%d rejected, want 10000", len(rejected))
	}
	g.objects.mu.RLock()
	asked := len(g.objects.absent)
	g.objects.mu.RUnlock()
	if asked > 200 {
		t.Errorf("icinga was asked for %d objects", asked)
	}
	if got := ic.LastCheckResult(known); got == nil || got.Output != "fine" {
		t.Errorf("icinga holds %+v for the known object", got)
	}
}

func TestResultsForUnreachableObjectsAreKeptUntilTheParentIsBack(t *testing.T) {
	router, child := checks.Object{Host: "router"}, checks.Object{Host: "child"}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{router, child},
		Config:  `object Dependency "uplink" { parent_host_name = "router"; child_host_name = "child"; disable_checks = true }`,
	})
	g := newGateway(t, configOf(ic))
	g.times.retry = 50 * time.Millisecond
	g.start()
	rejected := g.deliver(
		checks.Result{Object: router, State: checks.Down, Reason: "dead"},
		checks.Result{Object: child, State: checks.Up, Reason: "first"},
	)
	if rejected != nil {
		t.Fatal(rejected)
	}
	if rejected := g.deliver(checks.Result{Object: child, State: checks.Down, Reason: "second"}); rejected != nil {
		t.Fatal(rejected)
	}
	if got := ic.LastCheckResult(child); got != nil && got.Output == "second" {
		t.Fatalf("icinga took a result for an unreachable object: %+v", got)
	}
	if rejected := g.deliver(checks.Result{Object: router, State: checks.Up, Reason: "alive"}); rejected != nil {
		t.Fatal(rejected)
	}
	realtest.Eventually(t, time.Minute, "the kept result", func() bool {
		got := ic.LastCheckResult(child)
		return got != nil && got.Output == "second"
	})
	g.verify(ic)
}
