package realtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Mosquitto is a real Mosquitto broker on a free loopback port.
type Mosquitto struct {
	Addr string // host:port of its plain MQTT listener, open to anybody
	PID  int    // while it runs

	t      testing.TB
	file   string        // its configuration
	config []string      // further lines of it
	cmd    *exec.Cmd     // nil while it is stopped
	exited chan struct{} // closed when cmd has ended
}

// StartMosquitto starts a Mosquitto with further lines of configuration, and
// returns when it takes connections. It ends with the test.
func StartMosquitto(t testing.TB, config ...string) *Mosquitto {
	t.Helper()
	m := &Mosquitto{t: t, file: filepath.Join(t.TempDir(), "mosquitto.conf"), config: config}
	t.Cleanup(m.Stop)
	for range 5 { // the port may be gone by the time Mosquitto takes it
		m.Addr = FreeAddr(t)
		if m.launch() {
			return m
		}
	}
	t.Fatal("mosquitto found no free port")
	return nil
}

// Stop ends it as systemd does, where it runs. A signal that comes just before its
// main loop is lost.
func (m *Mosquitto) Stop() {
	for m.cmd != nil {
		_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-m.exited:
			m.cmd = nil
		case <-time.After(time.Second):
		}
	}
}

// Start starts it again, where it was.
func (m *Mosquitto) Start() {
	m.t.Helper()
	Eventually(m.t, time.Minute, "mosquitto takes its port again", m.launch)
}

// launch reports false when the port was taken.
func (m *Mosquitto) launch() bool {
	m.t.Helper()
	host, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		m.t.Fatal(err)
	}
	// As root it would become the user mosquitto, who cannot write here.
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nuser root\n%s\n", port, host, strings.Join(m.config, "\n"))
	if err := os.WriteFile(m.file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(Need(m.t, "mosquitto"), "-c", m.file)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	var log strings.Builder
	running, exited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(exited)
		began := sync.OnceFunc(func() { close(running) })
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if strings.HasSuffix(lines.Text(), " running") { // all its listeners are there
				began()
			}
		}
		_ = cmd.Wait() // how it ended says nothing: tests end it
	}()
	select {
	case <-running:
		m.PID, m.cmd, m.exited = cmd.Process.Pid, cmd, exited
		return true
	case <-exited:
		if !strings.Contains(log.String(), "Address already in use") {
			m.t.Fatalf("mosquitto ended at once:\n%s", log.String())
		}
		return false
	}
}
