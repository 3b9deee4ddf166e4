package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// Wherever the disk fails, the queue refuses aloud, keeps what it has
// acknowledged, and works again when the disk does.
func TestQueueSurvivesAFullDisk(t *testing.T) {
	for _, after := range []int64{0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			disk := realtest.NewBrokenDisk()
			o := Options{Cursors: []string{"nagios"}, disk: disk}
			q := open(t, t.TempDir(), o)
			c := cursor(t, q, "nagios")
			var acknowledged []checks.Result
			disk.BreakAfter(after)
			failed := false
			for i := 0; !failed; i++ {
				if i > 5000 {
					t.Fatal("the disk never failed")
				}
				rs := results(i*100, 100)
				switch err := tryAppend(q, rs); {
				case err == nil:
					acknowledged = append(acknowledged, rs...)
				case errors.Is(err, syscall.ENOSPC) && strings.Contains(err.Error(), q.dir):
					failed = true
				default:
					t.Fatal(err)
				}
			}
			if q.Stats().Err == nil {
				t.Error("the stats show no error")
			}
			if err := tryAppend(q, nil); err != nil {
				t.Errorf("a refusal lost its place in the order: %v", err)
			}
			disk.Mend()
			waitFor(t, "the end of the outage", func() bool { return q.Stats().Err == nil })
			more := results(1_000_000, 10)
			mustAppend(t, q, more)
			acknowledged = append(acknowledged, more...)

			// What was refused may be there as well, in its place.
			got := readAll(t, c, int(more[9].Seq))
			bySeq := make(map[uint64]checks.Result)
			for _, r := range got {
				bySeq[r.Seq] = r
			}
			for _, want := range acknowledged {
				if bySeq[want.Seq] != want {
					t.Fatalf("acknowledged result %d is lost", want.Seq)
				}
			}
			if err := c.Commit(more[9].Seq); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Failing and recovering over and over leaks and loses nothing.
func TestOutagesMayFollowEachOther(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	q := open(t, t.TempDir(), Options{Cursors: []string{"nagios"}, disk: disk})
	c := cursor(t, q, "nagios")
	buf := make([]checks.Result, 10_000)
	before := openFiles(t)
	for i := range 20 {
		var wg sync.WaitGroup
		disk.BreakAfter(int64(i))
		for j := range 50 {
			wg.Add(1)
			q.Append(results(j, 20), func(error) { wg.Done() })
		}
		wg.Wait()
		disk.Mend()
		waitFor(t, "an append", func() bool { return tryAppend(q, results(0, 1)) == nil })
		n, err := c.Read(t.Context(), buf)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, "a commit", func() bool { return c.Commit(buf[n-1].Seq) == nil })
	}
	if q.Pending() != 0 {
		t.Errorf("%d bytes are pending, want none", q.Pending())
	}
	// The number of logs and tables changes, that of leaks would be 20 times.
	if after := openFiles(t); after > before+15 {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(files)
}

func TestFailedCommitCanBeRepeated(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	q := open(t, t.TempDir(), Options{Cursors: []string{"nagios"}, disk: disk})
	mustAppend(t, q, results(0, 10))
	c := cursor(t, q, "nagios")
	readAll(t, c, 10)
	disk.BreakAfter(0)
	if err := c.Commit(10); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Commit = %v, want ENOSPC", err)
	}
	if _, committed := c.Position(); committed != 0 {
		t.Fatalf("committed is %d after a failed commit", committed)
	}
	disk.Mend()
	waitFor(t, "the commit", func() bool { return c.Commit(10) == nil })
	if read, committed := c.Position(); read != 10 || committed != 10 {
		t.Errorf("position is %d, %d; want 10, 10", read, committed)
	}
}

// Close does not wait for a disk that stays full.
func TestCloseDuringAnOutage(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	q := open(t, t.TempDir(), Options{Cursors: []string{"nagios"}, disk: disk})
	disk.BreakAfter(0)
	if err := tryAppend(q, results(0, 1)); err == nil {
		t.Fatal("the append succeeded")
	}
	answers := make(chan error, 100)
	for range cap(answers) {
		q.Append(results(0, 1), func(err error) { answers <- err })
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(answers) {
		if err := <-answers; err == nil {
			t.Error("an append succeeded")
		}
	}
}

func TestAlmostFullFileSystemIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, oneReader)
	mustAppend(t, q, results(0, 10))
	q = reopen(t, q, Options{Cursors: []string{"nagios"}, reserve: 1 << 60})
	if err := tryAppend(q, results(10, 1)); !errors.Is(err, checks.ErrFull) {
		t.Fatalf("append = %v, want ErrFull", err)
	}
	c := cursor(t, q, "nagios")
	wantRange(t, readAll(t, c, 10), 0, 1)
	if err := c.Commit(10); err != nil {
		t.Fatalf("commit on an almost full file system: %v", err)
	}
	q = reopen(t, q, oneReader)
	rs := results(10, 1)
	mustAppend(t, q, rs)
	if rs[0].Seq != 11 {
		t.Errorf("refused results used up Seq: %d, want 11", rs[0].Seq)
	}
}

// On a real file system that runs full because of someone else, nothing hangs,
// and what was acknowledged is there afterwards.
func TestRealFullFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	var lines strings.Builder
	q := open(t, filepath.Join(dir, "spool"), Options{
		Cursors: []string{"nagios"}, reserve: 1, Log: slog.New(slog.NewTextHandler(&lines, nil)),
	})
	defer q.Close() // before the file system goes
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	last := uint64(0)
	var failure error
	for failure == nil {
		rs := results(acknowledged, 500)
		if failure = tryAppend(q, rs); failure == nil {
			acknowledged += len(rs)
			last = rs[len(rs)-1].Seq
		}
	}
	if !errors.Is(failure, syscall.ENOSPC) && !errors.Is(failure, checks.ErrFull) {
		t.Fatal(failure)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an append", func() bool { return tryAppend(q, results(0, 1)) == nil })
	got := readAll(t, cursor(t, q, "nagios"), int(last))
	wantRange(t, got, 0, 1)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d results, then: %v\n%s", acknowledged, failure, lines.String())
}
