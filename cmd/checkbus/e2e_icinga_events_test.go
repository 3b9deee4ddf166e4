package main

import (
	"fmt"
	"slices"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// What becomes of Icinga's objects arrives at mosquitto_sub: each change once,
// whoever caused it, and none because something was restarted.
func TestIcingasChangesAreEvents(t *testing.T) {
	t.Parallel()
	disk, swap := checks.Object{Host: "web1", Service: "disk"}, checks.Object{Host: "web1", Service: "swap"}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{disk},
		Config:  `object Service "retried" { import "checkbus-service"; host_name = "web1"; max_check_attempts = 3 }`,
	})
	g := startGateway(t, icingaTable(ic))
	events := g.listen("checkbus/event/#")
	// What changed while the gateway was not there is told at its start, when
	// the subscriber may not be back yet.
	const meanwhile = "web1/disk state WARNING"
	var want []string
	expect := func(more ...string) {
		t.Helper()
		want = append(want, more...)
		var got []string
		waitFor(t, fmt.Sprintf("events %q", more), func() bool {
			got = nil
			for _, e := range events.all() {
				if text := fmt.Sprintf("%s/%s %s %s", e.Host, e.Service, e.Change, e.State); text != meanwhile {
					got = append(got, text)
				}
			}
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Fatalf("events\n%q, want\n%q", got, want)
		}
	}
	action := func(name string, o checks.Object, more ...any) {
		t.Helper()
		body := map[string]any{"type": "Service", "service": o.String(), "author": "anna", "comment": "on it"}
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		ic.Do("POST", "/v1/actions/"+name, body)
	}
	published := 0
	publish := func(service string, code int) {
		t.Helper()
		published++
		g.publish("nagios/web1/"+service, fmt.Sprintf(`{"exit_code":%d,"reason":"result %d"}`, code, published))
	}

	publish("disk", 0)
	publish("disk", 2)
	expect("web1/disk state CRITICAL")
	action("acknowledge-problem", disk)
	expect("web1/disk acknowledged CRITICAL")
	for range 4 {
		publish("retried", 1)
	}
	expect("web1/retried state WARNING", "web1/retried hard WARNING")

	g.kill()
	action("process-check-result", disk, "exit_status", 1, "plugin_output", "by another")
	g.start()
	events.await(t, 2)
	waitFor(t, "the state", func() bool { return g.states(3)[disk].State == "WARNING" })
	publish("disk", 1) // Icinga forgets the other's result when it is killed
	ic.Kill()
	ic.Start()
	publish("disk", 0)
	expect("web1/disk state OK")
	ic.Create(swap)
	publish("swap", 3)
	expect("web1/swap state UNKNOWN")
	ic.Delete(swap)
	expect("web1/swap removed UNKNOWN")
	if states := g.states(3); states[disk].Origin != "icinga" || states[disk].State != "OK" {
		t.Errorf("states %+v", states)
	}
}
