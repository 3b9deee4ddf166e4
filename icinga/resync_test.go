package icinga

import (
	"fmt"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// underLoad submits one result after another, in batches as they come, at
// perSecond in all for as long as during runs, and then for a moment more.
func (g *gateway) underLoad(objects []checks.Object, perSecond int, during func()) {
	g.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		during()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var end <-chan time.Time
	began, sent := time.Now(), 0
	for {
		select {
		case <-done:
			done, end = nil, time.After(500*time.Millisecond)
		case <-end:
			return
		case <-tick.C:
		}
		due := int(time.Since(began).Seconds() * float64(perSecond))
		var batch []checks.Result
		for ; sent < due; sent++ {
			batch = append(batch, checks.Result{
				Object: objects[sent%len(objects)],
				State:  checks.State(sent / len(objects) % 4),
				Reason: fmt.Sprintf("result %d", sent),
			})
		}
		if rejected := g.deliver(batch...); rejected != nil {
			g.t.Errorf("rejected: %v", rejected)
			return
		}
	}
}

func TestNoAcknowledgedResultIsLostByARestartOfIcinga(t *testing.T) {
	tests := map[string]func(*realtest.Icinga){
		"reload":          (*realtest.Icinga).Reload,
		"stop and start":  func(ic *realtest.Icinga) { ic.Stop(); ic.Start() },
		"kill and start":  func(ic *realtest.Icinga) { ic.Kill(); ic.Start() },
		"kill and reload": func(ic *realtest.Icinga) { ic.Kill(); ic.Start(); ic.Reload() },
	}
	objects := fleet(1000)
	for name, disturb := range tests {
		t.Run(name, func(t *testing.T) {
			ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
			g := newGateway(t, configOf(ic))
			g.start()
			g.underLoad(objects, 600, func() {
				g.waitTaken(400)
				disturb(ic)
				g.waitTaken(g.Stats().Taken + 100)
			})
			realtest.Eventually(t, time.Minute, "the session", func() bool { return g.Stats().URL != "" })
			g.verify(ic)
			t.Logf("%+v", g.Stats())
		})
	}
}

func (g *gateway) waitTaken(n uint64) {
	realtest.Eventually(g.t, 60*time.Second, "results to be taken", func() bool { return g.Stats().Taken >= n })
}

func TestWhatIcingaLostIsSentAgainOnce(t *testing.T) {
	objects := fleet(100)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	g.start()
	for range 2 {
		for _, o := range objects {
			if rejected := g.deliver(checks.Result{Object: o, State: checks.Critical, Reason: "broken"}); rejected != nil {
				t.Fatal(rejected)
			}
		}
	}
	ic.Kill()
	ic.Start()
	realtest.Eventually(t, time.Minute, "all to be sent again", func() bool { return g.Stats().Resent >= 100 })
	ic.Reload()
	ic.Reload()
	if rejected := g.deliver(checks.Result{Object: objects[0], Reason: "fine"}); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
	if got := g.Stats(); got.Resent < 100 || got.Taken != 201+got.Resent {
		t.Errorf("stats = %+v, want the last result of each object sent again, and those of the moment before the reload", got)
	}
}

// A crash of the gateway leaves results that were handed over but not
// committed; they come again, and must not count as further check attempts.
func TestARestartedGatewayKnowsWhatItHandedOver(t *testing.T) {
	objects := fleet(50)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	stop := g.start()
	var batch []checks.Result
	for _, o := range objects {
		batch = append(batch, checks.Result{Object: o, State: checks.Critical, Reason: "broken"})
	}
	if rejected := g.deliver(batch...); rejected != nil {
		t.Fatal(rejected)
	}
	stop()

	g.build(configOf(ic), batch[19].Seq)
	stop = g.start()
	if rejected := g.handOver(batch[20:]); rejected != nil {
		t.Fatal(rejected)
	}
	if got := g.Stats(); got.Taken != 0 || got.Repeated != 30 || got.Resent != 0 {
		t.Errorf("after a restart of the gateway: %+v", got)
	}
	stop()

	ic.Kill()
	ic.Start()
	g.build(configOf(ic), batch[19].Seq)
	g.start()
	if rejected := g.handOver(batch[20:]); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
	if got := g.Stats(); got.Taken != 50 || got.Resent != 20 {
		t.Errorf("after a crash of both: %+v", got)
	}
}
