package nagios

import (
	"errors"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// Nagios drops passive results without a word where it takes none, by its
// configuration or by an operator's command. They are refused for it.
func TestResultsThatTheCoreDropsAreRejected(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 1, Includes: []string{objectFile(t, serviceWith("deaf", "passive_checks_enabled 0"))}})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	follow(t, s)
	host, open, deaf := checks.Object{Host: "h0000"}, service("s000"), service("deaf")
	seq := uint64(0)
	// expect waits until results of these objects, and of no others, are refused.
	expect := func(what string, closed ...checks.Object) {
		t.Helper()
		refused := map[checks.Object]bool{}
		for _, o := range closed {
			refused[o] = true
		}
		all := []checks.Object{host, open, deaf}
		waitFor(t, what, func() bool {
			for _, o := range all {
				if err := s.reception.Load().check(o); (err != nil) != refused[o] {
					return false
				}
			}
			return true
		})
		var batch []checks.Result
		for _, o := range all {
			seq++
			r := checks.Result{Object: o, Seq: seq, State: checks.OK, Reason: what}
			if o.IsHost() {
				r.State = checks.Up
			}
			batch = append(batch, r)
		}
		for i, err := range s.Submit(t.Context(), batch) {
			if o := all[i]; refused[o] != (err != nil) || err != nil && (!errors.Is(err, checks.ErrRejected) || errors.Is(err, checks.ErrUnknownObject)) {
				t.Errorf("%s: a result of %v: %v", what, o, err)
			}
		}
		n.WaitStatus(what, func(m map[checks.Object]realtest.NagiosStatus) bool {
			for _, o := range all {
				if (m[o].Output == what) == refused[o] {
					return false
				}
			}
			return true
		})
	}

	expect("as configured", deaf)
	n.Command("ENABLE_PASSIVE_SVC_CHECKS;h0000;deaf")
	n.Command("DISABLE_PASSIVE_SVC_CHECKS;h0000;s000")
	n.Command("STOP_ACCEPTING_PASSIVE_HOST_CHECKS")
	expect("turned round, and hosts are off", host, open)
	n.Command("START_ACCEPTING_PASSIVE_HOST_CHECKS")
	n.Command("STOP_ACCEPTING_PASSIVE_SVC_CHECKS")
	expect("services are off, which closes hosts as well", host, open, deaf)
	n.Command("START_ACCEPTING_PASSIVE_SVC_CHECKS")
	n.Command("ENABLE_PASSIVE_SVC_CHECKS;h0000;s000")
	expect("everything is on")
}

// What the status file says may be old.
func TestResultsOfAnObjectThatWasJustOpenedAreNotLost(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Includes: []string{objectFile(t, serviceWith("deaf", "passive_checks_enabled 0"))}})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	deaf := service("deaf")
	s.reception.Store(&reception{hosts: true, services: true, closed: map[checks.Object]struct{}{deaf: {}}})
	n.Command("ENABLE_PASSIVE_SVC_CHECKS;h0000;deaf")
	if err := s.Submit(t.Context(), []checks.Result{{Object: deaf, Seq: 1, State: checks.Critical, Reason: "just opened"}})[0]; !errors.Is(err, checks.ErrRejected) {
		t.Errorf("verdict %v", err)
	}
	n.WaitStatus("the result", func(m map[checks.Object]realtest.NagiosStatus) bool { return m[deaf].Output == "just opened" })
}
