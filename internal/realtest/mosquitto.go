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
	PID  int
}

// StartMosquitto starts a Mosquitto with further lines of configuration, and
// returns when it takes connections. It ends with the test.
func StartMosquitto(t testing.TB, config ...string) *Mosquitto {
	t.Helper()
	program := Need(t, "mosquitto")
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	for range 5 { // the port may be gone by the time Mosquitto takes it
		addr := FreeAddr(t)
		if cmd := runMosquitto(t, program, file, addr, config); cmd != nil {
			return &Mosquitto{Addr: addr, PID: cmd.Process.Pid}
		}
	}
	t.Fatal("mosquitto found no free port")
	return nil
}

// runMosquitto returns nil when the port of addr was taken.
func runMosquitto(t testing.TB, program, file, addr string, config []string) *exec.Cmd {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	// As root it would become the user mosquitto, who cannot write here.
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\nuser root\n%s\n", port, host, strings.Join(config, "\n"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(program, "-c", file)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended says nothing: tests end it
		close(exited)
	}()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-exited
	}
	for {
		conn, err := net.Dial("tcp", addr)
		select {
		case <-exited:
			if err == nil {
				conn.Close() // it was somebody else who answered
			}
			if !strings.Contains(output.String(), "Address already in use") {
				t.Fatalf("mosquitto ended at once:\n%s", output.String())
			}
			return nil
		default:
		}
		if err == nil {
			conn.Close()
			t.Cleanup(stop)
			return cmd
		}
		time.Sleep(5 * time.Millisecond)
	}
}
