package realtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// Stop ends it as systemd does, where it runs.
func (m *Mosquitto) Stop() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	<-m.exited
	m.cmd = nil
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
	var output bytes.Buffer
	cmd := exec.Command(Need(m.t, "mosquitto"), "-c", m.file)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended says nothing: tests end it
		close(exited)
	}()
	for {
		conn, err := net.Dial("tcp", m.Addr)
		select {
		case <-exited:
			if err == nil {
				conn.Close() // it was somebody else who answered
			}
			if !strings.Contains(output.String(), "Address already in use") {
				m.t.Fatalf("mosquitto ended at once:\n%s", output.String())
			}
			return false
		default:
		}
		if err == nil {
			conn.Close()
			m.PID, m.cmd, m.exited = cmd.Process.Pid, cmd, exited
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
}
