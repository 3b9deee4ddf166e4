package nagios

import (
	"bufio"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A fakeCore reads a command file and processes batches as Nagios does.
type fakeCore struct {
	t           testing.TB
	commandFile string
	batchDir    string
	// process, when set, is asked before a file is processed; false leaves it.
	process func(path string) bool

	mu    sync.Mutex
	lines []string // processed, in order
	told  int      // PROCESS_FILE commands read

	reader *os.File
	done   chan struct{}
}

// newFakeCore makes the folders of a core that does not run yet.
func newFakeCore(t testing.TB) *fakeCore {
	t.Helper()
	dir := t.TempDir()
	c := &fakeCore{t: t, commandFile: filepath.Join(dir, "cmd"), batchDir: filepath.Join(dir, "batch")}
	if err := os.Mkdir(c.batchDir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// start makes the command file, where there is none, and reads it.
func (c *fakeCore) start() {
	c.t.Helper()
	if err := syscall.Mkfifo(c.commandFile, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		c.t.Fatal(err)
	}
	f, err := os.OpenFile(c.commandFile, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.reader, c.done = f, make(chan struct{})
	go func() {
		defer close(c.done)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			c.command(lines.Text())
		}
	}()
}

// stop leaves the command file without a reader.
func (c *fakeCore) stop() {
	if c.reader != nil {
		c.reader.Close()
		<-c.done
		c.reader = nil
	}
}

func (c *fakeCore) command(line string) {
	_, args, isFile := strings.Cut(line, "] PROCESS_FILE;")
	if !isFile {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lines = append(c.lines, line)
		return
	}
	path := strings.TrimSuffix(args, ";1")
	c.mu.Lock()
	c.told++
	c.mu.Unlock()
	if c.process != nil && !c.process(path) {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return // told again of what is gone, as after a restart
	}
	c.mu.Lock()
	c.lines = append(c.lines, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	c.mu.Unlock()
	if err := os.Remove(path); err != nil {
		c.t.Error(err)
	}
}

func (c *fakeCore) processed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

func (c *fakeCore) commands() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// newSink returns a sink for c that logs to log, or to the test.
func (c *fakeCore) newSink(log *slog.Logger) *Sink {
	c.t.Helper()
	cfg := Config{CommandFile: c.commandFile, BatchDir: c.batchDir}
	if err := errors.Join(cfg.Validate(), cfg.Check()); err != nil {
		c.t.Fatal(err)
	}
	if log == nil {
		log = logTo(c.t)
	}
	s := New(cfg, History{}, log)
	s.patience = 50 * time.Millisecond
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return s
}

// files are the names in the batch folder.
func (c *fakeCore) files() []string {
	c.t.Helper()
	entries, err := os.ReadDir(c.batchDir)
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
