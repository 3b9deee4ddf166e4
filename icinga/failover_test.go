package icinga

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestResultsGoToTheFirstIcingaThatIsWell(t *testing.T) {
	objects := fleet(20)
	first := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	second := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	cfg := configOf(first, second)
	cfg.CA = bothAuthorities(t, first, second)
	first.Stop()

	g := newGateway(t, cfg)
	g.times.failover, g.times.notice, g.times.settle = 200*time.Millisecond, 200*time.Millisecond, 500*time.Millisecond
	g.times.look = 100 * time.Millisecond
	g.start()
	report := func(reason string) {
		t.Helper()
		var batch []checks.Result
		for _, o := range objects {
			batch = append(batch, checks.Result{Object: o, State: checks.Warning, Reason: reason})
		}
		if rejected := g.deliver(batch...); rejected != nil {
			t.Fatal(rejected)
		}
	}
	uses := func(ic *realtest.Icinga) func() bool {
		return func() bool { return g.Stats().URL == ic.URL }
	}

	report("the first is down from the start")
	g.verify(second)
	first.Start()
	realtest.Eventually(t, time.Minute, "the return to the first", uses(first))
	g.verify(first)
	report("both are well")
	g.verify(first)
	first.Kill()
	realtest.Eventually(t, time.Minute, "the second to be used", uses(second))
	report("the first is gone again")
	g.verify(second)
	if g.log.count("core unreachable") < 1 || g.log.count("core unreachable") != g.log.count("core back") {
		t.Error("the outages are not one line when they start and one when they end")
	}
}

func bothAuthorities(t *testing.T, ics ...*realtest.Icinga) string {
	t.Helper()
	var all []byte
	for _, ic := range ics {
		text, err := os.ReadFile(ic.CA)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnIcingaThatHangsDelaysResults(t *testing.T) {
	objects := fleet(20)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	cfg := configOf(ic)
	cfg.Timeout = time.Second
	g := newGateway(t, cfg)
	g.start()
	batch := func(reason string) []checks.Result {
		var batch []checks.Result
		for _, o := range objects {
			batch = append(batch, checks.Result{Object: o, Reason: reason})
		}
		return batch
	}
	if rejected := g.deliver(batch("before")...); rejected != nil {
		t.Fatal(rejected)
	}
	resume := ic.Pause()
	hanging := g.accept(batch("hanging")...)
	began := time.Now()
	failed := 0
	for i, err := range g.Submit(context.Background(), hanging) {
		if errors.Is(err, checks.ErrRejected) {
			t.Errorf("result %d of a hanging icinga: %v", i, err)
		}
		if err != nil { // a signal may take a moment to stop all threads
			failed++
		}
	}
	if failed == 0 {
		t.Error("icinga did not hang")
	}
	if took := time.Since(began); took >= Defaults().Timeout {
		t.Errorf("Submit took %v with a time limit of 1s", took)
	}
	resume()
	if rejected := g.handOver(hanging); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
}

func TestSubmitEndsWithItsContext(t *testing.T) {
	cfg := configOf(realtest.StartIcinga(t, realtest.IcingaOptions{}))
	cfg.URL = []string{"https://" + realtest.FreeAddr(t)} // nobody is there
	g := newGateway(t, cfg)
	g.times.patience = time.Hour
	g.start()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := g.Submit(ctx, g.accept(checks.Result{Object: service("disk")}))[0]; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Submit = %v", err)
	}
}
