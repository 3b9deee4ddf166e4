// Package bench holds nothing but benchmarks: checkbus beside what its user
// would build instead, and on real cores. Each runs its work once, whatever
// -benchtime says; "make bench" repeats all of them in turn, so that what is
// compared alternates, and lets benchstat take the medians. The comparison as a
// plain broker makes rounds and tables by itself.
package bench

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain says on which machine, as benchstat reads it.
func TestMain(m *testing.M) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err == nil {
		fmt.Printf("kernel: %s\n", unix.ByteSliceToString(uname.Release[:]))
	}
	fmt.Printf("cores: %d\ngo: %s\n", runtime.NumCPU(), runtime.Version())
	code := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
	os.Exit(code)
}

// patience is how long anything may take to finish.
const patience = 3 * time.Minute

// await polls until done, and fails the benchmark when that takes too long.
func await(b *testing.B, what string, every time.Duration, done func() bool) {
	b.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(every) {
		if time.Now().After(end) {
			b.Fatalf("gave up waiting for %s", what)
		}
	}
}

// report gives the figures of n results that took elapsed. The time an
// "operation" took says nothing here.
func report(b *testing.B, n int, elapsed time.Duration) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(n)/elapsed.Seconds(), "results/s")
}

// A meter measures the processor time of processes and all they started.
type meter struct {
	pids  []int
	start time.Duration
}

func newMeter(pids ...int) *meter { return &meter{pids: pids, start: cpuTime(pids)} }

// report gives the processor time since newMeter over n results.
func (m *meter) report(b *testing.B, n int, unit string) {
	b.ReportMetric(float64(m.spent().Microseconds())/float64(n), unit)
}

// spent is the processor time since newMeter.
func (m *meter) spent() time.Duration { return cpuTime(m.pids) - m.start }

// clockTick is the unit of /proc/PID/stat: USER_HZ, 100 everywhere.
const clockTick = 10 * time.Millisecond

// cpuTime is what pids and their descendants have used so far; of those that
// have ended, what their parents waited for.
func cpuTime(pids []int) time.Duration {
	parents, ticks := map[int]int{}, map[int]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		// The name in parentheses may hold anything (proc(5)).
		head, tail, _ := strings.Cut(string(text), " (")
		fields := strings.Fields(tail[strings.LastIndex(tail, ")")+1:])
		pid, _ := strconv.Atoi(head)
		parents[pid], _ = strconv.Atoi(fields[1])
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(field)
			ticks[pid] += n
		}
	}
	total := 0
	for pid := range parents {
		for p, steps := pid, 0; p > 1 && steps < 100; p, steps = parents[p], steps+1 {
			for _, root := range pids {
				if p == root {
					total += ticks[pid]
				}
			}
		}
	}
	return time.Duration(total) * clockTick
}

// memory returns a size from /proc/PID/status in MB: VmRSS is what a process
// holds, VmHWM the most it ever held.
func memory(b *testing.B, pid int, key string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1000
		}
	}
	b.Fatalf("no %s in /proc/%d/status", key, pid)
	return 0
}

// diskUse returns the bytes of all files below dir.
func diskUse(b *testing.B, dir string) (bytes int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			bytes += fi.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}
