package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// icingaTable is the settings' table for ic.
func icingaTable(ic *realtest.Icinga) string {
	return fmt.Sprintf("[icinga]\nurl = [%q]\nca = %q\nserver_name = %q\nusername = %q\npassword_file = %q\n",
		ic.URL, ic.CA, ic.ServerName, ic.User, ic.PasswordFile)
}

// inIcinga is the state that Icinga 2.13 stores in a check result: of a host
// that is DOWN what a plugin would have returned, CRITICAL.
func inIcinga(o checks.Object, exitCode int) float64 {
	if o.IsHost() && exitCode == checks.Down.ExitCode() {
		return float64(checks.Critical.ExitCode())
	}
	return float64(exitCode)
}

func TestResultsOfEveryKindArriveInIcingaAsSent(t *testing.T) {
	t.Parallel()
	var objects []checks.Object
	for _, k := range everyKind {
		objects = append(objects, k.object)
	}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := startGateway(t, icingaTable(ic))
	for _, k := range everyKind {
		g.publish(k.object.Topic("nagios"), k.payload())
	}
	var got map[checks.Object]*realtest.IcingaResult
	waitFor(t, "Icinga to show every result", func() bool {
		got = ic.LastCheckResults()
		return !slices.ContainsFunc(objects, func(o checks.Object) bool { return got[o] == nil })
	})
	for _, k := range everyKind {
		t.Run(k.name, func(t *testing.T) {
			got := got[k.object]
			if want := inIcinga(k.object, k.state.ExitCode()); got.State != want {
				t.Errorf("state %v, want %v", got.State, want)
			}
			if got.Output != k.reason {
				t.Errorf("output %.100q, want %.100q", got.Output, k.reason)
			}
			if perfdata := strings.Join(got.PerformanceData, " "); perfdata != k.perfdata {
				t.Errorf("performance data %.100q, want %.100q", perfdata, k.perfdata)
			}
			if at := time.UnixMicro(int64(math.Round(got.ExecutionStart * 1e6))); !at.Equal(kindTime) {
				t.Errorf("checked at %v, want %v", at, kindTime)
			}
			if got.TTL != kindTTL.Seconds() || got.CheckSource != kindSource {
				t.Errorf("holds for %v s, checked by %q; want %v and %q", got.TTL, got.CheckSource, kindTTL, kindSource)
			}
		})
	}
}

// TestBothCoresGetEveryAcknowledgedResult disturbs Icinga while results flow to
// it and to a Nagios beside it, and when the flow has ended. Icinga keeps only the last result of an object,
// which is the last acknowledged one; Nagios gets each once and in order,
// whatever happens to its neighbour.
func TestBothCoresGetEveryAcknowledgedResult(t *testing.T) {
	t.Parallel()
	objects := numberedObjects(5, 19)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 5, Services: 19})
	g := startGateway(t, nagiosTable(n)+icingaTable(ic))
	disturbances := []struct {
		name    string
		disturb func(*stream)
	}{
		{"none", func(s *stream) { s.more(500) }},
		{"gateway killed", func(s *stream) {
			for range 3 {
				g.kill()
				g.start()
				s.more(300)
			}
		}},
		{"Icinga killed", func(s *stream) {
			for range 2 {
				ic.Kill()
				ic.Start()
				s.more(300)
			}
		}},
		{"Icinga reloaded", func(s *stream) {
			for range 2 {
				ic.Reload()
				s.more(300)
			}
		}},
		{"Icinga reloaded at the end", func(s *stream) {
			s.finish()
			ic.Reload()
		}},
		{"Icinga killed afterwards", func(s *stream) {
			s.finish()
			waitFor(t, "Icinga to show each object's last result", func() bool { return lastInIcinga(ic, s.sent) })
			ic.Kill()
			ic.Start()
		}},
		{"Icinga restarted", func(s *stream) {
			ic.Stop()
			ic.Start()
			s.more(300)
		}},
		{"Icinga away", func(s *stream) {
			ic.Stop()
			s.more(500)
			g.kill()
			g.start()
			s.more(500)
			ic.Start()
		}},
		{"all killed", func(s *stream) {
			n.Kill()
			ic.Kill()
			g.kill()
			g.start()
			s.more(300)
			ic.Start()
			n.Start()
		}},
	}
	account := newNagiosAccount(t, n)
	sent := make(map[checks.Object]int)
	for _, d := range disturbances {
		s := startStream(t, g.addr, objects, sent)
		s.more(200)
		d.disturb(s)
		s.finish()
		repeats := account.settle(s)
		if d.name != "all killed" && repeats > 0 {
			t.Errorf("%s: Nagios processed %d results twice", d.name, repeats)
		}
		waitFor(t, "Icinga to show each object's last result", func() bool { return lastInIcinga(ic, sent) })
		t.Logf("%s: %d results acknowledged, %d sent again", d.name, s.acked, s.resent)
	}
}

// lastInIcinga reports whether Icinga holds the last result sent of each object.
func lastInIcinga(ic *realtest.Icinga, sent map[checks.Object]int) bool {
	got := ic.LastCheckResults()
	for o, number := range sent {
		r := got[o]
		if r == nil || r.Output != fmt.Sprintf("number %d", number) || r.State != inIcinga(o, number%2) {
			return false
		}
	}
	return true
}
