package main

import (
	"fmt"
	"slices"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// With two cores a change is one event, told by the core whose object it is:
// Icinga's where it has it, and Nagios's elsewhere.
func TestTwoCoresTellOfAChangeOnce(t *testing.T) {
	t.Parallel()
	disk := checks.Object{Host: "web1", Service: "disk"}
	load := checks.Object{Host: "web1", Service: "load"} // Nagios alone has it
	swap := checks.Object{Host: "web1", Service: "swap"} // Icinga alone has it
	moved := checks.Object{Host: "web1", Service: "moved"}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: []checks.Object{disk, load, moved}})
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk, swap}})
	ic.Create(moved)
	g := startGateway(t, feedTable(n)+icingaTable(ic))
	owners := func(want map[string]string) {
		t.Helper()
		got := map[string]string{}
		waitFor(t, "each object to be its core's", func() bool {
			for o, s := range g.states(5) {
				got[o.Service] = s.Origin
			}
			for service, origin := range want {
				if got[service] != origin {
					return false
				}
			}
			return true
		})
	}
	owners(map[string]string{"disk": "icinga", "load": "nagios", "swap": "icinga", "moved": "icinga", "": "icinga"})
	events := g.listen("checkbus/event/#")
	var want []string
	publish := func(o checks.Object, code int, event string) {
		t.Helper()
		g.publish(o.Topic("nagios"), fmt.Sprintf(`{"exit_code":%d,"reason":"is %d"}`, code, code))
		if event == "" {
			return
		}
		want = append(want, o.Service+" "+event)
		waitFor(t, event, func() bool { return len(events.all()) >= len(want) })
	}
	round := func() {
		t.Helper()
		for _, o := range []checks.Object{disk, swap} {
			publish(o, 2, "state CRITICAL icinga")
			publish(o, 0, "state OK icinga")
		}
		publish(load, 1, "state WARNING nagios")
		publish(load, 0, "state OK nagios")
	}
	round()
	publish(moved, 2, "state CRITICAL icinga")
	n.WaitLog("web1;moved;CRITICAL")
	ic.Delete(moved) // Nagios still has it, and says the same of it
	owners(map[string]string{"moved": "nagios"})
	publish(moved, 0, "state OK nagios")

	n.Kill()
	publish(disk, 2, "state CRITICAL icinga")
	n.Start()
	n.WaitStatus("what came meanwhile", func(m map[checks.Object]realtest.NagiosStatus) bool { return m[disk].State == 2 })
	publish(disk, 0, "state OK icinga")
	ic.Stop()
	publish(disk, 1, "") // Nagios knows at once; it is Icinga's to tell
	publish(load, 2, "state CRITICAL nagios")
	want = append(want, "disk state WARNING icinga")
	ic.Start()
	waitFor(t, "what waited for Icinga", func() bool { return len(events.all()) >= len(want) })
	publish(load, 0, "state OK nagios")
	g.stop()
	g.start()
	events.await(t, 2)
	round()

	var got []string
	for i, e := range events.all() {
		got = append(got, fmt.Sprintf("%s %s %s %s", e.Service, e.Change, e.State, e.Origin))
		if e.Seq != i+1 {
			t.Errorf("event %d has seq %d", i+1, e.Seq)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n%q, want\n%q", got, want)
	}
}
