package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// These define a service of web1 that Nagios, or Icinga 2, checks with a
// plugin every second, and while its problem is soft when it is told to.
const (
	lookedAfterByNagios = `
define command {
  command_name look
  command_line %s
}
define service {
  use                   test-service
  host_name             web1
  service_description   active
  check_command         look
  active_checks_enabled 1
  check_interval        1
  retry_interval        3600
  max_check_attempts    2
}
`
	lookedAfterByIcinga = `
object CheckCommand "look" { command = [ %q ] }
object Service "active" {
  host_name = "web1"
  check_command = "look"
  check_interval = 1s
  retry_interval = 1h
  max_check_attempts = 2
}
`
)

// What a core finds out by itself arrives at mosquitto_sub as what is published
// does: each change once.
func TestChangesOfActiveChecksAreEvents(t *testing.T) {
	t.Parallel()
	mark := []checks.Object{{Host: "web1", Service: "mark"}}
	cores := map[string]func(t *testing.T, plugin string) (settings string, check func()){
		"nagios": func(t *testing.T, plugin string) (string, func()) {
			file := filepath.Join(t.TempDir(), "active.cfg")
			if err := os.WriteFile(file, fmt.Appendf(nil, lookedAfterByNagios, plugin), 0o644); err != nil {
				t.Fatal(err)
			}
			n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: mark, Includes: []string{file}, Config: []string{
				"execute_service_checks=1", "interval_length=1", "check_result_reaper_frequency=1", "service_inter_check_delay_method=n", "log_service_retries=1",
			}})
			return feedTable(n), func() { n.Command("SCHEDULE_FORCED_SVC_CHECK;web1;active;%d", time.Now().Unix()) }
		},
		"icinga": func(t *testing.T, plugin string) (string, func()) {
			ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: mark, Config: fmt.Sprintf(lookedAfterByIcinga, plugin)})
			return icingaTable(ic), func() {
				ic.Do("POST", "/v1/actions/reschedule-check", map[string]any{"type": "Service", "service": "web1!active", "force": true})
			}
		},
	}
	for name, start := range cores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plugin, verdict := filepath.Join(t.TempDir(), "look"), filepath.Join(t.TempDir(), "verdict")
			say := func(code int) {
				t.Helper()
				err := os.WriteFile(verdict+".new", fmt.Appendf(nil, "echo is %d\nexit %d\n", code, code), 0o644)
				if err == nil {
					err = os.Rename(verdict+".new", verdict)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(plugin, []byte("#!/bin/sh\n. "+verdict+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			say(0)
			settings, check := start(t, plugin)
			g := startGateway(t, settings)
			events := g.listen("checkbus/event/#")
			active := checks.Object{Host: "web1", Service: "active"}
			waitFor(t, "the first check", func() bool { return g.states(3)[active].State == "OK" }) // that is no event
			var want []string
			expect := func(more string) {
				t.Helper()
				want = append(want, more+" by "+name)
				var got []string
				waitFor(t, more, func() bool {
					got = nil
					for _, e := range events.all() {
						got = append(got, fmt.Sprintf("%s %s %s by %s", e.Service, e.Change, e.State, e.Origin))
					}
					return len(got) >= len(want)
				})
				if !slices.Equal(got, want) {
					t.Fatalf("events\n%q, want\n%q", got, want)
				}
			}
			say(2)
			expect("active state CRITICAL")
			check() // not before: a soft state of Icinga's that does not last may not be seen
			expect("active hard CRITICAL")
			say(0)
			expect("active state OK")
			g.publish("nagios/web1/mark", `{"exit_code":1,"reason":"behind it"}`)
			expect("mark state WARNING")
		})
	}
}
