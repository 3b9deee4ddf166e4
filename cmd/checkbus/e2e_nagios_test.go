package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// nagiosTable is the settings' table for n.
func nagiosTable(n *realtest.Nagios) string {
	return fmt.Sprintf("[nagios]\ncommand_file = %q\nbatch_dir = %q\nobject_cache = %q\n", n.CommandFile, n.BatchDir, n.ObjectCache)
}

// inNagios is what Nagios Core 4.4.6 makes of a text: it writes ";" in the
// first line as ":" (checks.c:37) and drops blanks around it.
func inNagios(first string) string {
	return strings.TrimSpace(strings.ReplaceAll(first, ";", ":"))
}

// fromStatus undoes the escapes of long output in the status file (utils.c,
// parse_check_output).
var fromStatus = strings.NewReplacer(`\n`, "\n", `\\`, `\`)

func TestResultsOfEveryKindArriveInNagiosAsSent(t *testing.T) {
	t.Parallel()
	var objects []checks.Object
	for _, r := range everyKind {
		objects = append(objects, r.object)
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: objects})
	g := startGateway(t, nagiosTable(n))
	for _, r := range everyKind {
		g.publish(r.object.Topic("nagios"), r.payload())
	}
	status := n.WaitStatus("show every result", func(m map[checks.Object]realtest.NagiosStatus) bool {
		return !slices.ContainsFunc(objects, func(o checks.Object) bool { return m[o].LastCheck == 0 })
	})
	for _, r := range everyKind {
		t.Run(r.name, func(t *testing.T) {
			got := status[r.object]
			first, long, _ := strings.Cut(r.reason, "\n")
			if got.State != r.state.ExitCode() {
				t.Errorf("state %d, want %d", got.State, r.state.ExitCode())
			}
			if want := inNagios(first); got.Output != want {
				t.Errorf("output %.100q, want %.100q", got.Output, want)
			}
			if got := fromStatus.Replace(got.LongOutput); got != long {
				t.Errorf("long output %.100q, want %.100q", got, long)
			}
			if got.Perfdata != r.perfdata {
				t.Errorf("performance data %.100q, want %.100q", got.Perfdata, r.perfdata)
			}
			if got.LastCheck != kindTime.Unix() {
				t.Errorf("checked at %d, want %d", got.LastCheck, kindTime.Unix())
			}
		})
	}
}

// TestAWillIsAResult kills a client of Mosquitto's, which leaves a result as
// its will.
func TestAWillIsAResult(t *testing.T) {
	t.Parallel()
	agent := checks.Object{Host: "web1", Service: "agent"}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: []checks.Object{agent}})
	g := startGateway(t, nagiosTable(n))
	client := g.mosquitto("mosquitto_sub", "-t", "checkbus/status",
		"--will-topic", agent.Topic("nagios"), "--will-qos", "1", "--will-payload", `{"exit_code": 2, "reason": "the agent died"}`)
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != `{"state":"online"}`+"\n" {
		t.Fatalf("the gateway says %q, %v", line, err)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // it was killed
	n.WaitStatus("show the will", func(m map[checks.Object]realtest.NagiosStatus) bool {
		return m[agent].State == 2 && m[agent].Output == "the agent died"
	})
}

// A nagiosAccount follows nagios.log and keeps account of the numbered results
// that Nagios has processed.
type nagiosAccount struct {
	t       *testing.T
	log     *bufio.Reader
	rest    string                // a line that is not complete yet
	count   map[checks.Object]int // processed without a gap: 1 to count
	newest  map[checks.Object]int // the number processed last
	repeats int
}

func newNagiosAccount(t *testing.T, n *realtest.Nagios) *nagiosAccount {
	t.Helper()
	f, err := os.Open(n.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &nagiosAccount{t: t, log: bufio.NewReader(f), count: make(map[checks.Object]int), newest: make(map[checks.Object]int)}
}

// processed is the line with which Nagios processes a result. The one about a
// passive check after it shows the result before (4.4.6).
var processed = regexp.MustCompile(`^\[\d+\] EXTERNAL COMMAND: PROCESS_(?:HOST|SERVICE)_CHECK_RESULT;([^;]+);(?:([^;]+);)?\d;number (\d+)\n$`)

// read takes what the log has gained.
func (a *nagiosAccount) read() {
	a.t.Helper()
	for {
		line, err := a.log.ReadString('\n')
		a.rest += line
		if err == io.EOF {
			return
		}
		if err != nil {
			a.t.Fatal(err)
		}
		if m := processed.FindStringSubmatch(a.rest); m != nil {
			number, _ := strconv.Atoi(m[3]) // digits
			a.add(checks.Object{Host: m[1], Service: m[2]}, number)
		}
		a.rest = ""
	}
}

// add takes note of a result: the next one of its object, or one processed
// before.
func (a *nagiosAccount) add(o checks.Object, number int) {
	a.t.Helper()
	a.newest[o] = number
	if number <= a.count[o] {
		a.repeats++
		return
	}
	if number > a.count[o]+1 {
		a.t.Errorf("%v: Nagios processed number %d after %d", o, number, a.count[o])
	}
	a.count[o] = number
}

// settle waits until Nagios has processed all that the stream sent, each object's
// last result last, and returns how many it has processed again since the
// settlement before.
func (a *nagiosAccount) settle(s *stream) (repeats int) {
	a.t.Helper()
	waitFor(a.t, "Nagios to process everything", func() bool {
		a.read()
		return maps.Equal(a.count, s.sent) && maps.Equal(a.newest, s.sent)
	})
	repeats, a.repeats = a.repeats, 0
	return repeats
}

// TestNagiosGetsEveryAcknowledgedResult disturbs the way from publisher to core
// while results flow. Each object's results arrive without a gap and in order,
// and none twice but for a kill or a stop of Nagios in the middle of a batch: that
// is replayed, and holds at most 1,000 results.
func TestNagiosGetsEveryAcknowledgedResult(t *testing.T) {
	t.Parallel()
	const batch = 1000
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 10, Services: 19})
	g := startGateway(t, nagiosTable(n))
	disturbances := []struct {
		name    string
		disturb func(*stream)
		repeats int // at most
	}{
		{name: "none", disturb: func(s *stream) { s.more(1000) }},
		{name: "gateway killed", disturb: func(s *stream) {
			for range 5 {
				g.kill()
				g.start()
				s.more(500)
			}
		}},
		{name: "gateway restarted", disturb: func(s *stream) {
			for range 2 {
				g.stop()
				g.start()
				s.more(500)
			}
		}},
		{name: "Nagios killed", disturb: func(s *stream) {
			for range 3 {
				n.Kill()
				n.Start()
				s.more(500)
			}
		}, repeats: 3 * batch},
		{name: "Nagios reloaded", disturb: func(s *stream) {
			for range 2 {
				n.Reload()
				s.more(500)
			}
		}},
		{name: "Nagios restarted", disturb: func(s *stream) {
			for range 2 {
				n.Stop()
				n.Start()
				s.more(500)
			}
		}, repeats: 2 * batch},
		{name: "Nagios away", disturb: func(s *stream) {
			n.Stop()
			s.more(2000)
			g.kill()
			g.start()
			s.more(2000)
			n.Start()
		}, repeats: batch},
	}
	account := newNagiosAccount(t, n)
	sent := make(map[checks.Object]int)
	for _, d := range disturbances {
		s := startStream(t, g.addr, numberedObjects(10, 19), sent)
		s.more(500)
		d.disturb(s)
		s.finish()
		repeats := account.settle(s)
		t.Logf("%s: %d results acknowledged, %d sent again, %d processed twice", d.name, s.acked, s.resent, repeats)
		if repeats > d.repeats {
			t.Errorf("%s: %d results were processed twice, want at most %d", d.name, repeats, d.repeats)
		}
		n.WaitStatus("show each object's last result", func(m map[checks.Object]realtest.NagiosStatus) bool {
			return maps.EqualFunc(m, sent, func(got realtest.NagiosStatus, number int) bool {
				return got.Output == fmt.Sprintf("number %d", number) && got.State == number%2
			})
		})
	}
}

// A killed Nagios goes on from its retention file, here none: nobody publishes
// again, and a problem must not look well until somebody does.
func TestAProblemOutlivesAKillOfNagiosAndTheGateway(t *testing.T) {
	t.Parallel()
	disk := checks.Object{Host: "web1", Service: "disk"}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: []checks.Object{disk}})
	g := startGateway(t, feedTable(n))
	g.publish(disk.Topic("nagios"), `{"exit_code": 2, "reason": "97%"}`)
	isCritical := func(m map[checks.Object]realtest.NagiosStatus) bool {
		return m[disk].State == 2 && m[disk].Output == "97%"
	}
	n.WaitStatus("show the problem", isCritical)
	kill := func() {
		t.Helper()
		n.Kill()
		if err := os.Remove(n.StatusFile); err != nil { // so that it is the next one's word that counts
			t.Fatal(err)
		}
	}
	kill()
	n.Start()
	n.WaitStatus("show the problem after a kill", isCritical)
	kill()
	g.kill()
	g.start()
	n.Start()
	n.WaitStatus("show the problem after a kill of both", isCritical)
}
