// Package realtest runs the real daemons and clients that tests talk to, as
// ordinary processes in temporary folders on free loopback ports.
package realtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
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
// is none that connections are given, where these leave room below, nor that
// another process with this package gets meanwhile, nor one of the last that
// this process got.
func FreeAddr(t testing.TB) string {
	t.Helper()
	block, err := ownBlock()
	if err != nil {
		t.Fatal(err)
	}
	for range blockPorts {
		addr := loopback(block.first + 1 + int(block.given.Add(1)%(blockPorts-1)))
		if l, err := net.Listen("tcp", addr); err == nil {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return addr
		}
	}
	t.Fatalf("no port from %d to %d is free", block.first+1, block.first+blockPorts-1)
	return ""
}

func loopback(port int) string { return fmt.Sprint("127.0.0.1:", port) }

// The ports that FreeAddr returns: each process, as tests of other packages run
// at the same time, has a block of them.
const (
	blocks     = 40
	blockPorts = 300
)

// firstPort is that of the first block. The last ends before the ports that
// connections are given begin (ip(7), ip_local_port_range).
func firstPort() int {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	given := 32768 // as Linux has it
	_, _ = fmt.Sscan(string(text), &given)
	return max(1024, min(20000, given-blocks*blockPorts))
}

// A portBlock belongs to the process that listens on its first port.
type portBlock struct {
	net.Listener
	first int
	given atomic.Uint32
}

// ownBlock is this process's, until it ends.
var ownBlock = sync.OnceValues(func() (*portBlock, error) {
	begin := rand.IntN(blocks)
	for i := range blocks {
		first := firstPort() + (begin+i)%blocks*blockPorts
		if l, err := net.Listen("tcp", loopback(first)); err == nil {
			return &portBlock{Listener: l, first: first}, nil
		}
	}
	return nil, errors.New("other processes have all ports for tests")
})
