package nagios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestLinesReachNagiosInOrder(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 10})
	s := sinkFor(t, n, sinkModes["lines"])
	const total = 20_000 // over 1 MB: the FIFO is full now and then
	for seq := uint64(1); seq < total; seq += 1000 {
		wantTaken(t, s.Submit(t.Context(), killResults(seq, seq+999)))
	}
	n.WaitLog(fmt.Sprintf("seq %d", total))
	if got := received(t, n); !slices.Equal(got, upTo(1, total)) {
		t.Errorf("processed %s", describe(got, total))
	}
}

// A pipeReader is the reading end of a command file that reads nothing by itself.
func pipeReader(t *testing.T) (path string, r *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "cmd")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return path, r
}

// Lines are written in pieces that the kernel keeps together, of whole lines.
func TestLinesAreWrittenInWholePieces(t *testing.T) {
	path, r := pipeReader(t)
	results := numbered(1, 200)
	results[50].Reason += strings.Repeat("x", 3*atomicWrite)
	verdicts := make(chan []error, 1)
	s := New(Config{CommandFile: path}, History{}, logTo(t))
	go func() { verdicts <- s.Submit(t.Context(), results) }()
	wantTaken(t, <-verdicts) // 200 short lines fit into a FIFO that nobody reads
	buf := make([]byte, 1<<20)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(buf[:n]), "\n"), "\n")
	if got := numbers(t, cutX(lines)); !slices.Equal(got, upTo(1, 200)) {
		t.Errorf("wrote %v", got)
	}
	if got := len(lines[50]); got != atomicWrite {
		t.Errorf("a line of %d bytes, want %d", got, atomicWrite)
	}
}

// cutX removes what follows the number in the lines of numbered results.
func cutX(lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		out[i], _, _ = strings.Cut(line, "x")
	}
	return out
}

func TestUnwrittenLinesAreWorthAnotherTry(t *testing.T) {
	t.Run("the reader goes", func(t *testing.T) {
		path, r := pipeReader(t)
		s := New(Config{CommandFile: path}, History{}, logTo(t))
		verdicts := make(chan []error, 1)
		go func() { verdicts <- s.Submit(t.Context(), numbered(1, 5000)) }()
		waitFor(t, "the first lines", func() bool {
			n, _ := r.Read(make([]byte, 1000))
			return n > 0
		})
		r.Close()
		checkSplit(t, <-verdicts)
	})
	t.Run("nobody reads on", func(t *testing.T) {
		path, _ := pipeReader(t)
		s := New(Config{CommandFile: path}, History{}, logTo(t))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		checkSplit(t, s.Submit(ctx, numbered(1, 5000)))
	})
	t.Run("nobody reads on for long", func(t *testing.T) {
		path, _ := pipeReader(t)
		var log logBuffer
		s := New(Config{CommandFile: path}, History{}, log.logger())
		s.patience = 10 * time.Millisecond
		checkSplit(t, s.Submit(t.Context(), numbered(1, 5000)))
		if !strings.Contains(log.String(), "core unreachable") {
			t.Errorf("log: %s", log.String())
		}
	})
	t.Run("nobody reads at all", func(t *testing.T) {
		path, r := pipeReader(t)
		r.Close()
		s := New(Config{CommandFile: path}, History{}, logTo(t))
		for _, err := range s.Submit(t.Context(), numbered(1, 2)) {
			if !errors.Is(err, syscall.ENXIO) {
				t.Errorf("verdict %v, want ENXIO", err)
			}
		}
	})
	t.Run("a file instead of a FIFO", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "cmd")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := New(Config{CommandFile: path}, History{}, logTo(t))
		for _, err := range s.Submit(t.Context(), numbered(1, 2)) {
			if err == nil || !strings.Contains(err.Error(), "is not a FIFO") {
				t.Errorf("verdict %v", err)
			}
		}
		if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
			t.Errorf("the file now holds %q, %v", text, err)
		}
	})
}

// checkSplit checks that the verdicts are nil up to some result and errors
// worth another try from there on.
func checkSplit(t *testing.T, verdicts []error) {
	t.Helper()
	first := slices.IndexFunc(verdicts, func(err error) bool { return err != nil })
	if first < 0 {
		t.Fatal("all were written")
	}
	for i, err := range verdicts[first:] {
		if err == nil || errors.Is(err, checks.ErrRejected) {
			t.Fatalf("verdict %d is %v after an error at %d", first+i, err, first)
		}
	}
}
