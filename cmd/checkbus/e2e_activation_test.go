package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

// activate runs checkbus as systemd does, with listening sockets of these names
// from descriptor 3 on, until it has started or ended. It returns what it wrote
// and a function that stops it.
func activate(t *testing.T, settings string, names string, sockets ...*os.File) (log func() string, stop func() error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve -config "$1"`, program, settings)
	cmd.Env = append(os.Environ(), fmt.Sprint("LISTEN_FDS=", len(sockets)), "LISTEN_FDNAMES="+names, "GORACE="+gorace)
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = sockets, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	ended := false
	log = func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var result error
	stop = func() error {
		if !ended {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			result, ended = <-exited, true
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	waitFor(t, "checkbus to start or end", func() bool {
		select {
		case result = <-exited:
			ended = true
		default:
		}
		return ended || strings.Contains(log(), "msg=listening")
	})
	return log, stop
}

// systemdSocket opens a socket as systemd does, until the test ends.
func systemdSocket(t *testing.T) (address string, socket *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	socket, err = ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return ln.Addr().String(), socket
}

func TestTheWebServerTakesASocketOfSystemd(t *testing.T) {
	address, socket := systemdSocket(t)
	settings := filepath.Join(t.TempDir(), "checkbus.toml")
	text := fmt.Sprintf("data_dir = %q\n[[listener]]\naddress = \"127.0.0.1:0\"\n[web]\naddress = \"systemd:web\"\n", t.TempDir())
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, stop := activate(t, settings, "web", socket)
	response, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatalf("%v\n%s", err, log())
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %s", response.Status)
	}
	if err := stop(); err != nil {
		t.Errorf("%v\n%s", err, log())
	}
}

func TestSocketsOfSystemd(t *testing.T) {
	address, socket := systemdSocket(t)
	settings := filepath.Join(t.TempDir(), "checkbus.toml")
	text := fmt.Sprintf("data_dir = %q\n[[listener]]\naddress = \"systemd:mqtt\"\nallow_anonymous = true\n[web]\naddress = \"127.0.0.1:0\"\n", t.TempDir())
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	log, stop := activate(t, settings, "mqtt", socket)
	host, port, _ := net.SplitHostPort(address)
	pub := exec.Command(realtest.Need(t, "mosquitto_pub"), "-h", host, "-p", port, "-q", "1", "-t", "nagios/web1", "-m", `{"exit_code":0,"reason":""}`)
	if out, err := pub.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, log())
	}
	if err := stop(); err != nil {
		t.Errorf("%v\n%s", err, log())
	}

	for name, tt := range map[string]struct {
		names   string
		sockets []*os.File
		want    string
	}{
		"another name":  {"http", []*os.File{socket}, "listener: none has the address systemd:http"},
		"one name less": {"http", []*os.File{socket}, "listener: systemd passed no socket named mqtt, only [http]"},
		"none":          {"", nil, "listener: systemd passed no socket named mqtt, only []"},
		"one name more": {"mqtt:http", []*os.File{socket, socket}, "listener: none has the address systemd:http"},
		"a name twice":  {"mqtt:mqtt", []*os.File{socket, socket}, "listener: systemd passed 2 sockets named mqtt"},
	} {
		t.Run(name, func(t *testing.T) {
			log, stop := activate(t, settings, tt.names, tt.sockets...)
			if err := stop(); err == nil || !strings.Contains(log(), tt.want) {
				t.Errorf("%v, and wrote:\n%s\nwant %s", err, log(), tt.want)
			}
		})
	}
}
