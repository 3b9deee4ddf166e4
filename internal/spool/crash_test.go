package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"checkbus/checks"
	"checkbus/internal/engine"
)

// TestMain runs the child process of TestKilledProcessLosesNothing when asked
// to, and the tests otherwise.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// child appends until it is killed, and writes "a SEQ" when an Append up to SEQ
// was acknowledged, "c SEQ" when a commit was. It reads on at the same time.
func child(dir string) error {
	q, err := Open(dir, Options{Cursors: []string{"nagios"}, Log: discard})
	if err != nil {
		return err
	}
	c, err := q.Cursor("nagios")
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(what string, seq uint64) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %d\n", what, seq)
	}
	go func() {
		buf := make([]checks.Result, 50)
		for {
			n, err := c.Read(context.Background(), buf)
			if err != nil {
				return
			}
			if seq := buf[n-1].Seq; seq%3 == 0 && c.Commit(seq) == nil {
				say("c", seq)
			}
		}
	}()
	q.mu.Lock()
	next := int(q.tail.seq)
	q.mu.Unlock()
	slots := make(chan struct{}, 20)
	for i := next; ; {
		n := 1 + i%40
		rs := results(i, n)
		i += n
		slots <- struct{}{}
		q.Append(rs, func(err error) {
			if err == nil {
				say("a", rs[len(rs)-1].Seq)
			}
			<-slots
		})
	}
}

// Every acknowledged result is there after SIGKILL at any moment, in order and
// without gaps, and what was committed is not read again.
func TestKilledProcessLosesNothing(t *testing.T) {
	const maxBacklog = 10_000 // on a busy machine a child may write ten times that, which each round would read again
	dir := t.TempDir()
	appended, committed := uint64(0), uint64(0)
	for round := range 25 {
		a, c := runAndKill(t, dir, 1+rand.IntN(400))
		appended, committed = max(appended, a), max(committed, c)

		q := open(t, dir, oneReader)
		reader := cursor(t, q, "nagios")
		if read, _ := reader.Position(); read < committed {
			t.Fatalf("round %d: reading goes on after %d, and %d was committed", round, read, committed)
		}
		first, _ := reader.Position()
		if q.durable.seq < appended {
			t.Fatalf("round %d: the newest record is %d, and %d was acknowledged", round, q.durable.seq, appended)
		}
		newest := q.durable.seq
		wantRange(t, readAll(t, reader, int(newest-first)), int(first), first+1)
		if newest > first+maxBacklog {
			committed = newest - maxBacklog
			if err := reader.Commit(committed); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged, %d committed", appended, committed)
}

// runAndKill runs a child and kills it when it has written that many lines.
func runAndKill(t *testing.T, dir string, lines int) (appended, committed uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_CHILD="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for n := 1; in.Scan(); n++ {
		what, number, ok := strings.Cut(in.Text(), " ")
		seq, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil {
			break // cut off by the kill
		}
		if what == "a" {
			appended = max(appended, seq)
		} else {
			committed = max(committed, seq)
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || appended == 0 {
		t.Fatalf("the child ended with %v after %d results", err, appended)
	}
	return appended, committed
}

// copyTree copies the files of a spool, as a crash at this moment would leave
// them.
func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// newest returns the file of a spool that matches pattern and sorts last.
func newest(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "db", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s in %s (%v)", pattern, dir, err)
	}
	return found[len(found)-1]
}

// A write that a crash cut off leaves garbage at the end of the log. All before
// it stays.
func TestTornTailKeepsWhatWasAcknowledged(t *testing.T) {
	src := t.TempDir()
	q := open(t, src, oneReader)
	mustAppend(t, q, results(0, 300))
	whole := logEnd(t, newest(t, src, "*.log"))
	mustAppend(t, q, results(300, 300)) // in flight at the crash
	torn := logEnd(t, newest(t, src, "*.log"))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}

	tests := map[string]func(log []byte) []byte{
		"cut after the write":   func(log []byte) []byte { return log[:whole] },
		"cut in the next write": func(log []byte) []byte { return log[:whole+100] },
		"one byte missing":      func(log []byte) []byte { return log[:torn-1] },
		"zeros":                 func(log []byte) []byte { clear(log[whole:]); return log },
		"zeros in the middle":   func(log []byte) []byte { clear(log[whole+10 : whole+5000]); return log },
		"garbage": func(log []byte) []byte {
			for i := whole; i < len(log); i++ {
				log[i] = byte(i * 7)
			}
			return log
		},
	}
	for name, tear := range tests {
		t.Run(name, func(t *testing.T) {
			dir := copyTree(t, src)
			log := newest(t, dir, "*.log")
			data, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(log, tear(data), 0o600); err != nil {
				t.Fatal(err)
			}
			q := open(t, dir, oneReader)
			if q.durable.seq != 300 {
				t.Fatalf("the newest record is %d, want 300", q.durable.seq)
			}
			c := cursor(t, q, "nagios")
			wantRange(t, readAll(t, c, 300), 0, 1)
			mustAppend(t, q, results(300, 10))
			wantRange(t, readAll(t, c, 10), 300, 301)
		})
	}
}

// logEnd is how far the log at path can be read.
func logEnd(t *testing.T, path string) int {
	t.Helper()
	end, err := engine.LogEnd(path)
	if err != nil || end == 0 {
		t.Fatalf("%s cannot be read: %v", path, err)
	}
	return end
}
