package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// told is what these tests look at of a state or event.
type told struct {
	Host, Service, State, Previous, Change, Origin string
	Seq                                            int
}

// A listener follows what a gateway publishes with mosquitto_sub, which comes
// back after each loss of the gateway.
type listener struct {
	mu     sync.Mutex
	seen   []told
	online int // times that it has subscribed
}

// listen follows a topic filter until the test ends.
func (g *gateway) listen(filter string) *listener {
	g.t.Helper()
	cmd := g.mosquitto("mosquitto_sub", "-q", "1", "-t", filter, "-t", "checkbus/status")
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	l := &listener{}
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e told
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				g.t.Errorf("mosquitto_sub says %s: %v", lines.Bytes(), err)
			}
			l.mu.Lock()
			switch e.State {
			case "online":
				l.online++
			case "offline":
			default:
				l.seen = append(l.seen, e)
			}
			l.mu.Unlock()
		}
	})
	g.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		reading.Wait()
		_ = cmd.Wait() // it was told to end
	})
	l.await(g.t, 1)
	return l
}

// await waits until l has subscribed n times.
func (l *listener) await(t testing.TB, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("subscription %d", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.online >= n
	})
}

func (l *listener) all() []told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}

// states reads the retained states of n objects. One that changes meanwhile may
// come more than once.
func (g *gateway) states(n int) map[checks.Object]told {
	g.t.Helper()
	cmd := g.mosquitto("mosquitto_sub", "-q", "1", "-t", "checkbus/state/#", "-W", "60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	states := map[checks.Object]told{}
	for lines := json.NewDecoder(out); len(states) < n; {
		var s told
		if err := lines.Decode(&s); err != nil {
			g.t.Fatalf("%d of %d states: %v", len(states), n, err)
		}
		states[checks.Object{Host: s.Host, Service: s.Service}] = s
	}
	return states
}

// deliver publishes messages, and those that are not acknowledged once more on
// another connection, when again is closed.
func (g *gateway) deliver(messages []mqtttest.Message, again <-chan struct{}) {
	for first := true; len(messages) > 0; first = false {
		if !first {
			<-again
		}
		nc, err := net.Dial("tcp", g.addr)
		if err != nil {
			g.t.Error(err)
			return
		}
		out := mqtttest.Options{ID: "p", Persistent: true}.Encode()
		for i := range messages {
			out = append(out, messages[i].Encode(false)...)
			messages[i].Dup = true
		}
		_, err = nc.Write(out)
		in := bufio.NewReader(nc)
		for err == nil && len(messages) > 0 {
			var header [4]byte // all answers are of this size
			if _, err = io.ReadFull(in, header[:]); err == nil && header[0]>>4 == mqtttest.PUBACK {
				id := binary.BigEndian.Uint16(header[2:])
				messages = slices.DeleteFunc(messages, func(m mqtttest.Message) bool { return m.ID == id })
			}
		}
		nc.Close()
	}
}

// Through kills each object's change is one event. Those of the last moment
// before a kill may come twice, with the same seq; those that are told while
// the subscriber is away are missing, and their seq too.
func TestEventsSurviveKills(t *testing.T) {
	const kills, each = 3, 300
	g := startGateway(t, "")
	events := g.listen("checkbus/event/#")
	var delivering sync.WaitGroup
	for kill := range kills {
		var messages []mqtttest.Message
		for i := range each {
			topic := fmt.Sprintf("nagios/web%d/disk", kill*each+i)
			messages = append(messages, mqtttest.Message{Topic: topic, Payload: `{"exit_code":2,"reason":"full"}`, QoS: 1, ID: uint16(1 + i)})
		}
		before := len(events.all()) + kill*each/4
		back := make(chan struct{})
		delivering.Go(func() { g.deliver(messages, back) })
		waitFor(t, "some events", func() bool { return len(events.all()) > before })
		g.kill()
		g.start()
		events.await(t, 2+kill)
		close(back)
		delivering.Wait()
	}
	// The last is surely told while the subscriber is there.
	g.publish("nagios/last", `{"exit_code":1,"reason":""}`)
	var seen []told
	waitFor(t, "the last event", func() bool {
		seen = events.all()
		return slices.ContainsFunc(seen, func(e told) bool { return e.Host == "last" })
	})
	const n = kills*each + 1
	bySeq := map[int]checks.Object{}
	for o, s := range g.states(n) {
		if other, taken := bySeq[s.Seq]; taken || s.Seq < 1 || s.Seq > n || s.State != "CRITICAL" && s.State != "DOWN" {
			t.Errorf("%v: %+v; seq is also that of %v", o, s, other)
		}
		bySeq[s.Seq] = o
	}
	objects := map[checks.Object]bool{}
	for _, e := range seen {
		o := checks.Object{Host: e.Host, Service: e.Service}
		if bySeq[e.Seq] != o || e.Change != "state" || e.Previous != "PENDING" {
			t.Errorf("event %+v, and seq is that of %v", e, bySeq[e.Seq])
		}
		objects[o] = true
	}
	t.Logf("%d events, %d of them again, %d objects told while the subscriber was away", len(seen), len(seen)-len(objects), n-len(objects))
}

// What changes in Nagios while the gateway is there, or is not, is one event
// each, and the last word is Nagios's own.
func TestEventsOfNagiosGoOnAfterAStop(t *testing.T) {
	const n = 20
	nagios := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: n})
	g := startGateway(t, feedTable(nagios))
	events := g.listen("checkbus/event/#")
	waitFor(t, "all states", func() bool { return len(g.states(n+1)) == n+1 })
	change := func(code int) {
		for i := range n {
			g.publish(fmt.Sprintf("nagios/h0000/s%03d", i), fmt.Sprintf(`{"exit_code":%d,"reason":"round %d"}`, code, code))
		}
		waitFor(t, "their events", func() bool {
			all := events.all()
			return len(all) >= n && !slices.ContainsFunc(all[len(all)-n:], func(e told) bool { return e.State != checks.State(code).String() })
		})
	}
	change(2)
	change(1)
	g.stop()
	for i := range n {
		nagios.Command("PROCESS_SERVICE_CHECK_RESULT;h0000;s%03d;0;back", i)
	}
	nagios.WaitLog("h0000;s019;OK;HARD;1;back")
	g.start()
	events.await(t, 2)
	waitFor(t, "Nagios's last word", func() bool {
		for o, s := range g.states(n + 1) {
			if !o.IsHost() && (s.State != "OK" || s.Previous != "WARNING" || s.Origin != "nagios") {
				return false
			}
		}
		return true
	})
	change(3)
	// Two before, one meanwhile, which the subscriber was away for, and one after.
	times := map[checks.Object]int{}
	for _, e := range events.all() {
		times[checks.Object{Host: e.Host, Service: e.Service}]++
	}
	for o, k := range times {
		if k < 3 || k > 4 {
			t.Errorf("%v: %d events", o, k)
		}
	}
	seqs := map[int]bool{}
	for _, s := range g.states(n + 1) {
		if s.Service != "" && (s.Seq <= 3*n || s.Seq > 4*n || seqs[s.Seq]) {
			t.Errorf("%+v: seq is not one of the last %d of %d", s, n, 4*n)
		}
		seqs[s.Seq] = true
	}
}

func TestAStopRepeatsNoEvent(t *testing.T) {
	g := startGateway(t, "")
	for i := range 3 {
		events := g.listen("checkbus/event/#")
		g.publish("nagios/web1/disk", fmt.Sprintf(`{"exit_code":%d,"reason":"full"}`, 1+i))
		waitFor(t, "an event", func() bool { return len(events.all()) > 0 })
		g.stop()
		g.start()
		events.await(t, 2)
		if seen := events.all(); len(seen) != 1 || seen[0].Seq != 1+i {
			t.Errorf("events %+v", seen)
		}
		if s := g.states(1)[checks.Object{Host: "web1", Service: "disk"}]; s.Seq != 1+i || s.State != []string{"WARNING", "CRITICAL", "UNKNOWN"}[i] {
			t.Errorf("state %+v", s)
		}
	}
}

func TestWatchOverTLSWithAPassword(t *testing.T) {
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	cert, key := ca.Issue(t, dir, "server")
	passwords, secret := filepath.Join(dir, "passwd"), filepath.Join(dir, "secret")
	setPassword(t, passwords, "me", "xyz")
	if err := os.WriteFile(secret, []byte("xyz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, fmt.Sprintf("tls_cert = %q\ntls_key = %q\n[access]\npassword_file = %q\n", cert, key, passwords))
	auth := []string{"--cafile", ca.File, "-u", "me", "-P", "xyz"}
	g.publish("nagios/me/disk", `{"exit_code":2,"reason":"full"}`, auth...)
	watch := func(file string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, "watch", "-address", g.addr, "-ca", ca.File, "-user", "me", "-password-file", file)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n') // nothing when it ends
		_ = cmd.Process.Signal(syscall.SIGINT)           // it may have ended
		return line, cmd.Wait()
	}
	if line, err := watch(secret); err != nil || !strings.Contains(line, "CRITICAL me!disk: full") {
		t.Errorf("it says %q, %v", line, err)
	}
	if line, err := watch(cert); err == nil || line != "" {
		t.Errorf("with a wrong password it says %q", line)
	}
}
