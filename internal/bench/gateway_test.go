package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

// binary is checkbus, built once.
var binary struct {
	sync.Once
	dir, output string
	err         error
}

func buildCheckbus(b *testing.B) (path string) {
	b.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "checkbus-bench"); binary.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", binary.dir, "checkbus/cmd/checkbus").CombinedOutput()
		binary.output, binary.err = string(out), err
	})
	if binary.err != nil {
		b.Fatalf("build checkbus: %v\n%s", binary.err, binary.output)
	}
	return filepath.Join(binary.dir, "checkbus")
}

// A gateway is a running checkbus.
type gateway struct {
	addr, data string
	pid        int
}

// startGateway runs checkbus with further settings until the benchmark ends.
func startGateway(b *testing.B, settings string) *gateway {
	b.Helper()
	addr := realtest.FreeAddr(b)
	data := b.TempDir()
	config := filepath.Join(b.TempDir(), "checkbus.toml")
	text := fmt.Sprintf("data_dir = %q\n[log]\nlevel = \"warn\"\n[web]\naddress = \"\"\n[[listener]]\naddress = %q\n%s", data, addr, settings)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p := start(b, buildCheckbus(b), "serve", "-config", config)
	await(b, "checkbus", 5*time.Millisecond, func() bool {
		p.mustRun(b)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	return &gateway{addr: addr, data: data, pid: p.pid}
}

// A process is a program that runs until the benchmark ends.
type process struct {
	pid     int
	program string
	exited  chan struct{}
}

// start runs a program, and shows what it printed if the benchmark failed.
func start(b *testing.B, program string, args ...string) *process {
	b.Helper()
	var output bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid, program: program, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended says nothing: the benchmark ends it
		close(p.exited)
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-p.exited
		if b.Failed() {
			b.Logf("%s: %v\n%s", program, cmd.ProcessState, output.String())
		}
	})
	return p
}

func (p *process) mustRun(b *testing.B) {
	b.Helper()
	select {
	case <-p.exited:
		b.Fatalf("%s ended", p.program)
	default:
	}
}
