package bench

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A countingCore takes results as Nagios does, from a command file and from
// batches that it names, and does nothing but count them.
type countingCore struct {
	commandFile, batchDir string
	results               atomic.Int64
}

func startCountingCore(b *testing.B) *countingCore {
	b.Helper()
	dir := b.TempDir()
	c := &countingCore{commandFile: filepath.Join(dir, "nagios.cmd"), batchDir: filepath.Join(dir, "batch")}
	if err := os.Mkdir(c.batchDir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := unix.Mkfifo(c.commandFile, 0o600); err != nil {
		b.Fatal(err)
	}
	// Open for writing as well, so that no writer's end is the pipe's.
	pipe, err := os.OpenFile(c.commandFile, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			c.command(lines.Bytes())
		}
	}()
	b.Cleanup(func() {
		pipe.Close()
		<-done
	})
	return c
}

// command counts a result, or the results of a batch, which it removes.
func (c *countingCore) command(line []byte) {
	_, batch, found := bytes.Cut(line, []byte(" PROCESS_FILE;"))
	if !found {
		c.results.Add(1)
		return
	}
	path, _, _ := strings.Cut(string(batch), ";")
	text, err := os.ReadFile(path)
	if err != nil {
		return // sent twice, and gone
	}
	os.Remove(path)
	c.results.Add(int64(bytes.Count(text, []byte("_CHECK_RESULT;"))))
}
