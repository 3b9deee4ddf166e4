package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// feedTable is the settings' table for n, with what the feed needs.
func feedTable(n *realtest.Nagios) string {
	return nagiosTable(n) + fmt.Sprintf("log_file = %q\nstatus_file = %q\n", n.LogFile, n.StatusFile)
}

// judged is a line of Nagios's log that may be an event: of which object, and
// what it says.
var judged = regexp.MustCompile(`^\[\d+\] (?:(HOST|SERVICE) (ALERT|DOWNTIME ALERT|FLAPPING ALERT)|EXTERNAL COMMAND): (.*)$`)

// A logbook makes events of Nagios's log as a person would read it.
type logbook struct {
	events map[checks.Object][]string
	now    map[checks.Object]verdict
}

type verdict struct {
	state                          string
	soft, acknowledged, inDowntime bool
}

func readLogbook(lines []string) map[checks.Object][]string {
	b := logbook{map[checks.Object][]string{}, map[checks.Object]verdict{}}
	for _, line := range lines {
		m := judged.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		fields := strings.Split(m[3], ";")
		switch {
		case m[1] == "HOST":
			b.add(checks.Object{Host: fields[0]}, m[2], fields[1:])
		case m[1] == "SERVICE":
			b.add(checks.Object{Host: fields[0], Service: fields[1]}, m[2], fields[2:])
		case fields[0] == "ACKNOWLEDGE_SVC_PROBLEM":
			b.acknowledge(checks.Object{Host: fields[1], Service: fields[2]}, true)
		case fields[0] == "ACKNOWLEDGE_HOST_PROBLEM":
			b.acknowledge(checks.Object{Host: fields[1]}, true)
		}
	}
	return b.events
}

func (b *logbook) add(o checks.Object, kind string, fields []string) {
	v := b.now[o]
	switch kind {
	case "FLAPPING ALERT":
		b.note(o, "flapping")
		return
	case "DOWNTIME ALERT":
		if on := fields[0] == "STARTED"; on != v.inDowntime { // else it began again with a reload
			v.inDowntime = on
			b.now[o] = v
			b.note(o, "downtime")
		}
		return
	}
	state, soft := fields[0], fields[1] == "SOFT"
	changed := state != v.state
	switch {
	case changed:
		b.note(o, "state "+state)
	case v.soft && !soft:
		b.note(o, "hard "+state)
	}
	v.state, v.soft = state, soft
	b.now[o] = v
	if changed && v.acknowledged { // it was not sticky
		b.acknowledge(o, false)
	}
}

func (b *logbook) acknowledge(o checks.Object, on bool) {
	v := b.now[o]
	v.acknowledged = on
	b.now[o] = v
	b.note(o, "acknowledged")
}

func (b *logbook) note(o checks.Object, event string) { b.events[o] = append(b.events[o], event) }

// heard are the events that l has, object by object, as a logbook has them.
// Those that a kill of the gateway made it tell again count once.
func (l *listener) heard() map[checks.Object][]string {
	events, told := map[checks.Object][]string{}, map[int]bool{}
	for _, e := range l.all() {
		if told[e.Seq] {
			continue
		}
		told[e.Seq] = true
		text := e.Change
		if text == "state" || text == "hard" {
			text += " " + e.State
		}
		o := checks.Object{Host: e.Host, Service: e.Service}
		events[o] = append(events[o], text)
	}
	return events
}

// The events at mosquitto_sub are what Nagios's log says: each change once, and
// in its order, whatever is rotated, reloaded, killed or started.
func TestEventsAreWhatNagiossLogSays(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "services.cfg")
	define := func(services ...string) {
		t.Helper()
		var text strings.Builder
		for _, s := range services {
			name, setting, _ := strings.Cut(s, " ")
			fmt.Fprintf(&text, "define service {\n  use test-service\n  host_name h0000\n  service_description %s\n  %s\n}\n", name, setting)
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const still = " flap_detection_enabled 0"
	services := []string{"disk" + still, "load" + still, "retried" + still + "\n  max_check_attempts 3", "flapper", "mark" + still}
	define(services...)
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Includes: []string{file}, Config: []string{
		"enable_flap_detection=1", "low_service_flap_threshold=10", "high_service_flap_threshold=20",
		"log_service_retries=1", "log_external_commands=1",
	}})
	g := startGateway(t, feedTable(n))
	g.follows()
	events := g.listen("checkbus/event/#")
	var log []string // of the files that were rotated
	marks := 0
	agree := func() {
		t.Helper()
		marks++ // Nagios works through results in their order: behind this one nothing is under way
		mark := fmt.Sprintf("mark %d", marks)
		g.publish("nagios/h0000/mark", fmt.Sprintf(`{"exit_code":%d,"reason":%q}`, 1+marks%2, mark))
		n.WaitLog(";HARD;1;" + mark)
		var want, got map[checks.Object][]string
		defer func() {
			if !maps.EqualFunc(want, got, slices.Equal) {
				t.Logf("heard  %q\nlogged %q", got, want)
			}
		}()
		waitFor(t, "the events to be what the log says", func() bool {
			want, got = readLogbook(append(slices.Clone(log), n.Log()...)), events.heard()
			return maps.EqualFunc(want, got, slices.Equal)
		})
	}
	result := func(name string, codes ...int) {
		t.Helper()
		for _, code := range codes {
			g.publish(strings.TrimSuffix("nagios/h0000/"+name, "/"), fmt.Sprintf(`{"exit_code":%d,"reason":"is %d"}`, code, code))
		}
	}

	result("disk", 0, 2, 2, 1, 0)
	result("retried", 0, 2, 2, 2, 2, 0, 1, 0)
	agree()
	result("disk", 2)
	agree()
	n.Command("ACKNOWLEDGE_SVC_PROBLEM;h0000;disk;1;0;0;me;on it")
	agree()
	now := time.Now().Unix()
	n.Command("SCHEDULE_SVC_DOWNTIME;h0000;load;%d;%d;1;0;3600;me;why", now-1, now+3600)
	n.WaitLog("SERVICE DOWNTIME ALERT: h0000;load;STARTED")
	result("load", 2)
	n.Command("DEL_SVC_DOWNTIME;1")
	n.WaitLog("SERVICE DOWNTIME ALERT: h0000;load;CANCELLED")
	agree()
	result("flapper", 0, 2, 0, 2, 0, 2, 0, 2, 0, 2)
	n.WaitLog("SERVICE FLAPPING ALERT: h0000;flapper;STARTED")
	n.Command("DISABLE_SVC_FLAP_DETECTION;h0000;flapper")
	agree()
	result("", 0, 1) // the host, and what it carries
	result("disk", 1, 2)
	result("load", 1, 2)
	result("", 0)
	agree()

	rotated := n.LogFile + ".1"
	n.Command("SCHEDULE_SVC_DOWNTIME;h0000;retried;%d;%d;1;0;3600;me;it lasts", now-1, now+3600)
	n.WaitLog("SERVICE DOWNTIME ALERT: h0000;retried;STARTED")
	result("disk", 1, 0)
	if err := os.Rename(n.LogFile, rotated); err != nil {
		t.Fatal(err)
	}
	result("disk", 2, 0) // into the old file: Nagios keeps it open until it reloads
	result("load", 0)
	waitFor(t, "the last of the old log", func() bool {
		log = realtest.Lines(t, rotated)
		return slices.ContainsFunc(log, func(line string) bool { return strings.Contains(line, "h0000;load;OK") })
	})
	define(append(services, "swap"+still)...)
	n.Reload()
	added := checks.Object{Host: "h0000", Service: "swap"}
	waitFor(t, "the new service", func() bool { return g.knows(added) && strings.Contains(g.logged(), "services=6") })
	result("swap", 2, 0, 2)
	agree()

	n.Command("SAVE_STATE_INFORMATION") // else it forgets what it knew
	saved := func() bool {
		text, _ := os.ReadFile(filepath.Join(n.Dir, "retention.dat"))
		return strings.Contains(string(text), "service_description=swap")
	}
	waitFor(t, "Nagios to save", saved)
	n.Kill()
	n.Start()
	result("disk", 1)
	agree()
	n.Stop()
	n.Start()
	result("disk", 2)
	agree()
	g.kill()
	g.start()
	events.await(t, 2)
	result("disk", 0)
	agree()

	define(services...)
	n.Reload()
	waitFor(t, "the event of the service that is gone", func() bool {
		told := events.heard()[added]
		return slices.Equal(told, []string{"state CRITICAL", "state OK", "state CRITICAL", "removed"})
	})
	if g.knows(added) {
		t.Error("what is gone still has a state")
	}
}

// follows waits until the gateway hears what becomes of its Nagios's objects. Of
// what changed before, it tells but the last.
func (g *gateway) follows() {
	g.t.Helper()
	waitFor(g.t, "the core's states to be followed", func() bool { return strings.Contains(g.logged(), "following the core's states") })
}

// knows reports whether there is a retained state of o.
func (g *gateway) knows(o checks.Object) bool {
	g.t.Helper()
	return g.mosquitto("mosquitto_sub", "-t", o.Topic("checkbus/state"), "--retained-only", "-C", "1", "-W", "1").Run() == nil
}

// A core switch dies: everything behind it changes at once, and again when it
// is back. All of that comes out, of each object in its order, and seq has no gap.
func TestFourThousandServicesOfNagiosChangeAtOnce(t *testing.T) {
	const hosts, services = 40, 100
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: hosts, Services: services, Config: []string{"log_passive_checks=0"}})
	g := startGateway(t, feedTable(n))
	g.follows()
	g.changesAtOnce(hosts, services, 2, 0, 1)
}

// changesAtOnce publishes results of all services on hosts h0000 and so on, once for
// each exit code, which must come out as events.
func (g *gateway) changesAtOnce(hosts, services int, rounds ...int) {
	g.t.Helper()
	events := g.listen("checkbus/event/#")
	for _, code := range rounds {
		for h := range hosts {
			var batch strings.Builder
			for s := range services {
				fmt.Fprintf(&batch, `{"service":"s%03d","exit_code":%d,"reason":"switch"}`+"\n", s, code)
			}
			g.publish(fmt.Sprintf("nagios/h%04d", h), batch.String())
		}
	}
	var seen []told
	waitFor(g.t, "all events", func() bool {
		seen = events.all()
		return len(seen) >= hosts*services*len(rounds)
	})
	times := map[checks.Object]int{}
	for i, e := range seen {
		o := checks.Object{Host: e.Host, Service: e.Service}
		if want := checks.State(rounds[times[o]%len(rounds)]).String(); e.State != want || e.Change != "state" || e.Seq != i+1 {
			g.t.Fatalf("event %d is %+v, want %s and seq %d", i, e, want, i+1)
		}
		times[o]++
	}
	if len(times) != hosts*services || len(seen) != hosts*services*len(rounds) {
		g.t.Errorf("%d events of %d services", len(seen), len(times))
	}
	g.usedLittle()
}
