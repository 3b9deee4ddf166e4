// Package realtest runs the real daemons and clients that tests talk to, as
// ordinary processes in temporary folders on free loopback ports.
package realtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
)

// Need returns the path of a program that comes from the distribution. Where
// it is missing the test is skipped, but fails when CHECKBUS_REAL=require, as
// "make test" and CI set it.
func Need(t testing.TB, program string) string {
	t.Helper()
	for _, p := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	missing(t, program)
	return ""
}

// missing ends a test that needs what is not installed.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CHECKBUS_REAL") == "require" {
		t.Fatalf("%s is not installed; make deps installs it", what)
	}
	t.Skipf("%s is not installed; make deps installs it", what)
}

// FreeAddr returns a loopback address that nothing listened on a moment ago. It
// is none that connections are given (ip(7), ip_local_port_range), and none that
// this process got before.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range ports {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+(offset+given.Add(1))%ports)
		if l, err := net.Listen("tcp", addr); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return addr
		}
	}
	t.Fatalf("no port from %d to %d is free", firstPort, firstPort+ports-1)
	return ""
}

// The ports that FreeAddr returns, in turn.
const (
	firstPort = 20000
	ports     = 12000
)

var (
	offset = rand.Uint32N(ports) // tests of other packages run at the same time
	given  atomic.Uint32
)
