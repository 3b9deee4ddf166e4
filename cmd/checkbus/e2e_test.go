package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

// limit is how long anything that must happen may take on a loaded machine.
const limit = 60 * time.Second

// gorace are options of the race detector: a process that ends does so at once.
const gorace = "atexit_sleep_ms=0"

// program is the built command that the end-to-end tests run.
var program string

func TestMain(m *testing.M) {
	code, err := withProgram(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withProgram builds the command for the time of run, with the race detector
// where the tests have it, so that a race in the daemon fails its test.
func withProgram(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "checkbus-test")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "checkbus")
	build := exec.Command("go", "build", "-race="+strconv.FormatBool(underRace()), "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return run(), nil
}

func underRace() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// A gateway is checkbus as an ordinary process with its own settings file, on
// one address for all its lives. Its methods fail the test themselves.
type gateway struct {
	addr     string // its listener, host:port
	dataDir  string
	settings string // the settings file
	env      []string

	t      testing.TB
	log    string // what it writes, in all its lives
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
}

// startGateway runs a gateway until the test ends; tables are further settings.
func startGateway(t testing.TB, tables string) *gateway {
	t.Helper()
	g := prepareGateway(t, filepath.Join(t.TempDir(), "data"), tables)
	g.start()
	return g
}

// prepareGateway writes the settings of a gateway without starting it.
func prepareGateway(t testing.TB, dataDir, tables string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{
		addr:     realtest.FreeAddr(t),
		dataDir:  dataDir,
		settings: filepath.Join(dir, "checkbus.toml"),
		t:        t,
		log:      filepath.Join(dir, "log"),
	}
	if !strings.Contains(tables, "[web]") {
		tables += "\n[web]\naddress = \"127.0.0.1:0\"\n"
	}
	text := fmt.Sprintf("data_dir = %q\n[[listener]]\naddress = %q\n%s", dataDir, g.addr, tables)
	if err := os.WriteFile(g.settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.cleanup)
	return g
}

// start starts the process, which must not be running, and returns when it
// takes connections.
func (g *gateway) start() {
	g.t.Helper()
	for g.cmd == nil {
		g.launch()
	}
}

// launch leaves cmd nil when another process had the port just then.
func (g *gateway) launch() {
	g.t.Helper()
	log, err := os.OpenFile(g.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer log.Close()
	before := len(g.logged())
	cmd := exec.Command(program, "serve", "-config", g.settings)
	cmd.Env = append(append(os.Environ(), "GORACE="+gorace), g.env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.cmd, g.exited = cmd, make(chan struct{})
	go func() {
		defer close(g.exited)
		_ = cmd.Wait() // tests end it, and look at its state
	}()
	said := func() string { return g.logged()[before:] }
	waitFor(g.t, "checkbus to start", func() bool {
		select {
		case <-g.exited:
			if !strings.Contains(said(), "address already in use") {
				g.t.Fatalf("checkbus ended at once:\n%s", said())
			}
			g.cmd = nil
			return true
		default:
			return strings.Contains(said(), "checkbus started")
		}
	})
}

// stop ends the process with SIGTERM, as systemd does, which must succeed.
func (g *gateway) stop() {
	g.t.Helper()
	g.end(syscall.SIGTERM)
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		g.t.Errorf("checkbus ended with %v, want exit code 0", g.cmd.ProcessState)
	}
	g.cmd = nil
}

// kill ends the process with SIGKILL.
func (g *gateway) kill() {
	g.t.Helper()
	g.end(syscall.SIGKILL)
	g.cmd = nil
}

func (g *gateway) end(signal syscall.Signal) {
	g.t.Helper()
	if g.cmd == nil {
		g.t.Fatal("checkbus is not running")
	}
	if !g.alive() {
		g.t.Fatalf("checkbus ended by itself: %v", g.cmd.ProcessState)
	}
	if err := g.cmd.Process.Signal(signal); err != nil {
		g.t.Fatal(err)
	}
	select {
	case <-g.exited:
	case <-time.After(limit):
		_ = g.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, into the log
		<-g.exited
		g.t.Errorf("checkbus did not end on %v", signal)
	}
}

func (g *gateway) alive() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *gateway) cleanup() {
	if g.cmd != nil && g.alive() {
		g.stop()
	} else if g.cmd != nil {
		g.t.Errorf("checkbus ended by itself: %v", g.cmd.ProcessState)
	}
	log := g.logged()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, bad); at >= 0 {
			g.t.Errorf("checkbus: %s", excerpt(log[at:], 8<<10))
		}
	}
	if g.t.Failed() {
		g.t.Logf("the end of checkbus's log:\n%s", log[max(0, len(log)-8<<10):])
	}
}

func excerpt(s string, most int) string { return s[:min(len(s), most)] }

// logged is what the gateway has written so far.
func (g *gateway) logged() string {
	g.t.Helper()
	text, err := os.ReadFile(g.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.t.Fatal(err)
	}
	return string(text)
}

// memory is the most that the process has had resident, in bytes (VmHWM,
// proc_pid_status(5)).
func (g *gateway) memory() int64 {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	_, after, _ := bytes.Cut(text, []byte("VmHWM:"))
	var kb int64
	if _, err := fmt.Sscanf(string(after), "%d kB", &kb); err != nil {
		g.t.Fatalf("VmHWM: %v", err)
	}
	return kb << 10
}

// publish publishes with mosquitto_pub at QoS 1; extra are further options.
func (g *gateway) publish(topic, payload string, extra ...string) {
	g.t.Helper()
	cmd := g.mosquitto("mosquitto_pub", append([]string{"-q", "1", "-t", topic, "-s"}, extra...)...)
	cmd.Stdin = strings.NewReader(payload)
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("mosquitto_pub -t %q: %v\n%s", topic, err, out)
	}
}

// mosquitto is one of Mosquitto's clients, told where the gateway listens.
func (g *gateway) mosquitto(client string, args ...string) *exec.Cmd {
	g.t.Helper()
	host, port, err := net.SplitHostPort(g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	return exec.CommandContext(g.t.Context(), realtest.Need(g.t, client), append([]string{"-h", host, "-p", port}, args...)...)
}

// command runs checkbus with the gateway's settings beside it and returns what
// it prints.
func (g *gateway) command(name string, args ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), program, append([]string{name, "-config", g.settings}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("checkbus %s: %v\n%s", name, err, stderr.String())
	}
	return string(out)
}

// waitFor waits until the condition holds, and fails the test when it does not
// within the limit.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	realtest.Eventually(t, limit, what, holds)
}
