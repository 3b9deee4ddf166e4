package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"checkbus/checks"
	"checkbus/internal/engine"
)

var batchSizes = []int{1, 10, 100, 1000}

// BenchmarkAppend appends batches, one after the other, each waiting for its
// commit.
func BenchmarkAppend(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			q := open(b, b.TempDir(), oneReader)
			rs := results(0, size)
			for i := range rs {
				rs[i].Host = fmt.Sprintf("web%d", i)
			}
			for b.Loop() {
				mustAppend(b, q, rs)
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "results/s")
		})
	}
}

// BenchmarkAppendShared appends single results, many at a time, so that they
// share commits.
func BenchmarkAppendShared(b *testing.B) {
	q := open(b, b.TempDir(), oneReader)
	slots := make(chan struct{}, 1000)
	rs := results(0, 1)
	for b.Loop() {
		slots <- struct{}{}
		q.Append(rs, func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		})
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "results/s")
}

// BenchmarkEngine is what Pebble alone does with the same bytes, and
// BenchmarkFile what the disk does: the limit.
func BenchmarkEngine(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			o := (&Queue{dir: b.TempDir(), opts: Options{disk: vfs.Default}, log: discard}).engine()
			if err := engine.Create(o, fillNew); err != nil {
				b.Fatal(err)
			}
			s, err := engine.Open(o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			r := result(0)
			value := appendResult(nil, &r)
			seq := uint64(0)
			for b.Loop() {
				batch := s.NewBatch()
				for range size {
					seq++
					if err := batch.Set(recordKey(seq), value, nil); err != nil {
						b.Fatal(err)
					}
				}
				if err := s.Apply(batch, pebble.Sync); err != nil {
					b.Fatal(err)
				}
				batch.Close()
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "results/s")
		})
	}
}

func BenchmarkFile(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "log"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			r := result(0)
			value := appendResult(nil, &r)
			for b.Loop() {
				var batch []byte
				for range size {
					batch = append(batch, value...)
				}
				if _, err := f.Write(batch); err != nil {
					b.Fatal(err)
				}
				if err := syscall.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "results/s")
		})
	}
}

// BenchmarkMillion queues a million results of 4,000 objects, then reads and
// commits them, and says what memory and disk that took.
func BenchmarkMillion(b *testing.B) {
	const n, objects = 1_000_000, 4000
	for b.Loop() {
		q := open(b, b.TempDir(), oneReader)
		began := time.Now()
		fill(b, q, n, objects)
		b.ReportMetric(n/time.Since(began).Seconds(), "append/s")
		b.ReportMetric(rss(b), "queued-RSS-MB")
		b.ReportMetric(diskUse(b, q.dir), "queued-disk-MB")

		began = time.Now()
		drain(b, cursor(b, q, "nagios"), n)
		b.ReportMetric(n/time.Since(began).Seconds(), "read/s")
		b.ReportMetric(diskUse(b, q.dir), "read-disk-MB")
		b.ReportMetric(rss(b), "read-RSS-MB")
		waitFor(b, "the trimmed disk", func() bool {
			return q.Stats().Records == 0 && diskUse(b, q.dir) < 100
		})
		b.ReportMetric(time.Since(began).Seconds(), "trimmed-after-s")
		b.ReportMetric(diskUse(b, q.dir), "idle-disk-MB")
		q.Close()
	}
}

// fill appends n results in batches of 100, as many at a time as fit in 8 MiB.
func fill(b *testing.B, q *Queue, n, objects int) {
	rs := results(0, 100)
	var wg sync.WaitGroup
	for i := 0; i < n; i += len(rs) {
		for j := range rs {
			rs[j].Host = fmt.Sprintf("web%d", (i+j)%objects)
		}
		for q.Pending() > 8<<20 {
			runtime.Gosched()
		}
		wg.Add(1)
		q.Append(rs, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

// drain reads and commits n results in batches of 1000.
func drain(b testing.TB, c *Cursor, n int) {
	buf := make([]checks.Result, 1000)
	for got := 0; got < n; {
		m, err := c.Read(b.Context(), buf)
		if err != nil {
			b.Fatal(err)
		}
		got += m
		if err := c.Commit(buf[m-1].Seq); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFollow is the way of one result from Append to Read, alone and with
// the commit of its position.
func BenchmarkFollow(b *testing.B) {
	for _, commit := range []bool{false, true} {
		b.Run(fmt.Sprintf("commit=%t", commit), func(b *testing.B) {
			q := open(b, b.TempDir(), oneReader)
			c := cursor(b, q, "nagios")
			rs := results(0, 1)
			buf := make([]checks.Result, 1)
			for b.Loop() {
				q.Append(rs, func(error) {})
				if _, err := c.Read(b.Context(), buf); err != nil {
					b.Fatal(err)
				}
				if !commit {
					continue
				}
				if err := c.Commit(buf[0].Seq); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func diskUse(b *testing.B, dir string) float64 {
	b.Helper()
	var use int64
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil && syscall.Lstat(path, &st) == nil {
			use += st.Blocks * 512
		}
		return nil // files come and go
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(use) / 1e6
}

// rss is the resident memory of this process in MB.
func rss(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("no /proc")
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident*int64(os.Getpagesize())) / 1e6
}
