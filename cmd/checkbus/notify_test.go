package main

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestSystemdLearnsOfStartLifeAndStop stands in for systemd: sd_notify(3).
func TestSystemdLearnsOfStartLifeAndStop(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	told := func(want string) {
		t.Helper()
		if err := systemd.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for {
			n, err := systemd.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			switch got := string(buf[:n]); got {
			case want:
				return
			case "READY=1", "WATCHDOG=1": // until it stops it says so again and again
			default:
				t.Fatalf("told %q, want %s", got, want)
			}
		}
	}

	g := prepareGateway(t, filepath.Join(t.TempDir(), "data"), "")
	g.env = []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=100000"}
	g.start()
	told("READY=1")
	for range 3 {
		told("WATCHDOG=1")
	}
	g.stop()
	told("STOPPING=1")
}
