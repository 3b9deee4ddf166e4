package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

const (
	retried = `object Service "retried" { import "checkbus-service"; host_name = "web1"; max_check_attempts = 3 }
`
	flapper = `object Service "flapper" { import "checkbus-service"; host_name = "web1"; enable_flapping = true }
`
)

// What becomes of Icinga's objects arrives at mosquitto_sub: each change once,
// whoever caused it, and none because something was restarted.
func TestIcingasChangesAreEvents(t *testing.T) {
	t.Parallel()
	disk, swap := checks.Object{Host: "web1", Service: "disk"}, checks.Object{Host: "web1", Service: "swap"}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{disk},
		Config:  retried + flapper,
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
		if o.IsHost() {
			body = map[string]any{"type": "Host", "host": o.Host, "author": "anna", "comment": "on it"}
		}
		for i := 0; i < len(more); i += 2 {
			body[more[i].(string)] = more[i+1]
		}
		ic.Do("POST", "/v1/actions/"+name, body)
	}
	published := 0
	publish := func(object string, code int) {
		t.Helper()
		published++
		g.publish("nagios/"+object, fmt.Sprintf(`{"exit_code":%d,"reason":"result %d"}`, code, published))
	}

	publish("web1/disk", 0)
	publish("web1/disk", 2)
	expect("web1/disk state CRITICAL")
	action("acknowledge-problem", disk)
	expect("web1/disk acknowledged CRITICAL")
	for range 4 {
		publish("web1/retried", 1)
	}
	expect("web1/retried state WARNING", "web1/retried hard WARNING")
	publish("web1/retried", 0)
	expect("web1/retried state OK")
	now := float64(time.Now().Unix())
	action("schedule-downtime", disk, "start_time", now-10, "end_time", now+3600, "fixed", true)
	expect("web1/disk downtime CRITICAL")
	action("remove-downtime", disk)
	expect("web1/disk downtime CRITICAL")
	publish("web1", 0)
	publish("web1", 1)
	expect("web1/ state DOWN")
	action("acknowledge-problem", checks.Object{Host: "web1"})
	expect("web1/ acknowledged DOWN")
	publish("web1/retried", 2) // behind a host that is down
	expect("web1/retried state CRITICAL")
	publish("web1", 0)
	expect("web1/ state UP", "web1/ acknowledged UP")
	publish("web1/retried", 0)
	expect("web1/retried state OK")

	g.kill()
	action("process-check-result", disk, "exit_status", 1, "plugin_output", "by another")
	g.start()
	events.await(t, 2)
	waitFor(t, "the state", func() bool { return g.states(4)[disk].State == "WARNING" })
	publish("web1/disk", 1) // Icinga forgets the other's result when it is killed
	ic.Kill()
	ic.Start()
	publish("web1/disk", 0)
	expect("web1/disk state OK")
	ic.Create(swap)
	publish("web1/swap", 3)
	expect("web1/swap state UNKNOWN")
	ic.Delete(swap)
	expect("web1/swap removed UNKNOWN")
	for range 2 {
		publish("web1/flapper", 2)
		expect("web1/flapper state CRITICAL")
		publish("web1/flapper", 0)
		expect("web1/flapper state OK")
	}
	publish("web1/flapper", 2)
	expect("web1/flapper state CRITICAL")
	publish("web1/flapper", 0)
	expect("web1/flapper state OK", "web1/flapper flapping OK")
	action("schedule-downtime", disk, "start_time", now-10, "end_time", now+3600, "fixed", true)
	expect("web1/disk downtime OK") // which the reload does not end
	ic.Configure(realtest.IcingaOptions{Objects: []checks.Object{disk, {Host: "web2"}}, Config: retried})
	ic.Reload()
	expect("web1/flapper removed OK")
	publish("web2", 1)
	expect("web2/ state DOWN")
	if states := g.states(4); states[disk].Origin != "icinga" || states[disk].State != "OK" {
		t.Errorf("states %+v", states)
	}
}

func TestFourThousandServicesOfIcingaChangeAtOnce(t *testing.T) {
	const hosts, services = 40, 100
	var objects []checks.Object
	for i := range hosts * services {
		objects = append(objects, checks.Object{Host: fmt.Sprintf("h%04d", i/services), Service: fmt.Sprintf("s%03d", i%services)})
	}
	g := startGateway(t, icingaTable(realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})))
	g.states(hosts*services + hosts) // all are followed
	g.changesAtOnce(hosts, services, 2, 0)
}
