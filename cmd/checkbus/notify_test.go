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
	said := make(chan string, 10_000)
	go func() { // as systemd does, at any time: a socket holds but a few, and who writes to it waits
		defer close(said)
		buf := make([]byte, 4096)
		for {
			n, err := systemd.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { // after the gateway's
		_ = systemd.Close()
		for range said {
		}
	})
	told := func(want string) {
		t.Helper()
		end := time.After(limit)
		for {
			select {
			case got := <-said:
				switch got {
				case want:
					return
				case "READY=1", "WATCHDOG=1": // until it stops it says so again and again
				default:
					t.Fatalf("told %q, want %s", got, want)
				}
			case <-end:
				t.Fatalf("not told %s", want)
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
