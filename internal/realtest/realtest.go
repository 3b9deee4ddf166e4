// Package realtest runs the real daemons and clients that tests talk to, as
// ordinary processes in temporary folders on free loopback ports.
package realtest

import (
	"net"
	"os"
	"os/exec"
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

// FreeAddr returns a loopback address that nothing listened on a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
