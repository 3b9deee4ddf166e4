package main

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// subscribeTable is the settings' table for an outside broker; lines are further
// settings in it.
func subscribeTable(m *realtest.Mosquitto, lines ...string) string {
	return fmt.Sprintf("[subscribe]\naddress = [\"mqtt://%s\"]\n%s\n", m.Addr, strings.Join(lines, "\n"))
}

// lasting is the configuration of a Mosquitto that keeps what it acknowledged
// over a stop, and for a gateway that is away.
func lasting(t *testing.T) []string {
	return []string{"persistence true", "persistence_location " + t.TempDir() + "/", "max_queued_messages 0"}
}

// subscribed waits until the gateway has said so often that it is connected to
// its outside broker.
func (g *gateway) subscribed(times int) {
	g.t.Helper()
	waitFor(g.t, "checkbus to be connected to the outside broker", func() bool {
		return strings.Count(g.logged(), "outside broker connected") >= times
	})
}

// TestNagiosGetsEveryResultOfAnOutsideBroker disturbs the way from a publisher
// at a Mosquitto to Nagios. None is processed twice but what the publishers
// themselves had to send again.
func TestNagiosGetsEveryResultOfAnOutsideBroker(t *testing.T) {
	t.Parallel()
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 5, Services: 19})
	outside := realtest.StartMosquitto(t, lasting(t)...)
	g := startGateway(t, nagiosTable(n)+subscribeTable(outside))
	g.subscribed(1)
	account := newNagiosAccount(t, n)
	sent := make(map[checks.Object]int)
	for _, d := range []struct {
		name    string
		disturb func(*stream)
	}{
		{"none", func(s *stream) { s.more(1000) }},
		{"gateway killed", func(s *stream) {
			for range 3 {
				g.kill()
				g.start()
				s.more(500)
			}
		}},
		{"gateway restarted", func(s *stream) {
			for range 2 {
				g.stop()
				g.start()
				s.more(500)
			}
		}},
		{"outside broker restarted", func(s *stream) {
			for range 2 {
				outside.Stop()
				outside.Start()
				s.more(500)
			}
		}},
		{"both", func(s *stream) {
			outside.Stop()
			g.kill()
			outside.Start()
			s.more(500)
			g.start()
		}},
	} {
		s := startStreamOf(t, []way{{false, 1}}, outside.Addr, numberedObjects(5, 19), sent)
		s.more(500)
		d.disturb(s)
		s.finish()
		repeats := account.settle(s)
		t.Logf("%s: %d results acknowledged, %d sent again, %d processed twice", d.name, s.acked, s.resent, repeats)
		if repeats > s.resent {
			t.Errorf("%s: %d results were processed twice, %d were sent again", d.name, repeats, s.resent)
		}
	}
}

// TestAFullSpoolLeavesResultsWithTheOutsideBroker fills the spool while Nagios is
// away; nothing is lost, and nothing refused.
func TestAFullSpoolLeavesResultsWithTheOutsideBroker(t *testing.T) {
	t.Parallel()
	const services = 100
	n := realtest.PrepareNagios(t, realtest.NagiosOptions{Hosts: 1, Services: services})
	outside := realtest.StartMosquitto(t, lasting(t)...)
	g := startGateway(t, nagiosTable(n)+subscribeTable(outside)+"[spool]\nmax_size = \"1MiB\"\n")
	g.subscribed(1)
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "filler"})
	reason := strings.Repeat("x", 16<<10)
	for i := range services {
		m := mqtttest.Message{Topic: fmt.Sprintf("nagios/h0000/s%03d", i), Payload: fmt.Sprintf(`{"exit_code":1,"reason":%q}`, reason), QoS: 1, ID: uint16(i + 1)}
		publisher.Publish(m)
		publisher.Acked(mqtttest.PUBACK, m.ID)
	}
	waitFor(t, "the spool to be full", func() bool { return strings.Contains(g.logged(), "cannot be stored") })
	if rejected := g.command("rejected"); rejected != "" {
		t.Errorf("checkbus rejected says:\n%s", rejected)
	}
	n.Start()
	n.WaitStatus("show every result", func(m map[checks.Object]realtest.NagiosStatus) bool {
		shown := 0
		for o, s := range m {
			if !o.IsHost() && s.Output == reason {
				shown++
			}
		}
		return shown == services
	})
	if log := g.logged(); strings.Count(log, "stored again") == 0 {
		t.Error("the log does not say that results are stored again")
	}
}

// TestEventsAreSeenAtTheOutsideBroker publishes and watches with Mosquitto's
// clients at a Mosquitto, behind which there is a gateway without a core.
func TestEventsAreSeenAtTheOutsideBroker(t *testing.T) {
	t.Parallel()
	outside := realtest.StartMosquitto(t)
	g := startGateway(t, subscribeTable(outside))
	g.subscribed(1)
	there := &gateway{addr: outside.Addr, t: t}
	watcher := there.mosquitto("mosquitto_sub", "-v", "-t", "checkbus/#", "-q", "1")
	out, err := watcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = watcher.Process.Kill()
		_ = watcher.Wait()
	}()
	lines := bufio.NewScanner(out)
	sees := func(parts ...string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatal("mosquitto_sub ended")
		}
		for _, part := range parts {
			if !strings.Contains(lines.Text(), part) {
				t.Fatalf("published %s, want %s", lines.Text(), part)
			}
		}
	}
	sees(`checkbus/status {"state":"online"}`)
	there.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	sees("checkbus/state/web1/disk ", `"state":"CRITICAL"`)
	sees("checkbus/event/web1/disk ", `"state":"CRITICAL"`)
	there.publish("nagios/web1/disk", `garbage`)
	sees("checkbus/rejected/subscribe ", `"payload":"garbage"`)
	waitFor(t, "the journal to have it, too", func() bool { return strings.Contains(g.command("rejected"), "garbage") })
	g.stop()
	sees(`checkbus/status {"state":"offline"}`)
}
