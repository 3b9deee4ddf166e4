package nagios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"checkbus/checks"
)

// numbered are results with the numbers first to last, all sent in the same
// second, so that a resume has their text and number alone to go by.
func numbered(first, last uint64) []checks.Result {
	var results []checks.Result
	for seq := first; seq <= last; seq++ {
		results = append(results, checks.Result{
			Object:   checks.Object{Host: "h", Service: fmt.Sprintf("s%d", seq%7)},
			Reason:   fmt.Sprintf("seq %d", seq),
			Executed: time.Unix(1795294573, 0),
			Seq:      seq,
		})
	}
	return results
}

// numbers are the numbers in processed lines.
func numbers(t testing.TB, lines []string) []uint64 {
	t.Helper()
	var seqs []uint64
	for _, line := range lines {
		var seq uint64
		_, text, _ := strings.Cut(line, "seq ")
		if _, err := fmt.Sscan(text, &seq); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		seqs = append(seqs, seq)
	}
	return seqs
}

func upTo(first, last uint64) []uint64 {
	var seqs []uint64
	for seq := first; seq <= last; seq++ {
		seqs = append(seqs, seq)
	}
	return seqs
}

func wantTaken(t testing.TB, verdicts []error) {
	t.Helper()
	if err := errors.Join(verdicts...); err != nil {
		t.Fatalf("verdicts: %v", err)
	}
}

// What a kill of the gateway leaves in the folder decides what is handed over
// again: never what was processed, always what was not.
func TestResumeHandsOverExactlyWhatIsMissing(t *testing.T) {
	lines := func(results []checks.Result) []byte {
		var text []byte
		for _, r := range results {
			text, _ = format{}.append(text, r)
		}
		return text
	}
	const old = "batch-00000000-1-5"
	tests := map[string]struct {
		files func(boot string) map[string][]byte
		want  []uint64
	}{
		"nothing left": {
			files: func(string) map[string][]byte { return nil },
			want:  upTo(1, 5),
		},
		"killed while it wrote": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.new": lines(numbered(1, 5))[:10]}
			},
			want: upTo(1, 5),
		},
		"killed before it told the core": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.new": lines(numbered(1, 5)), "batch-" + boot + "-1-5.run": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
		"killed while the core worked": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.sent": lines(numbered(1, 5)), "batch-" + boot + "-1-5.run": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
		"killed after the core was done": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.sent": lines(numbered(1, 5))}
			},
		},
		"processed in part": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-3.sent": lines(numbered(1, 3))}
			},
			want: upTo(4, 5),
		},
		"two batches left": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{
					"batch-" + boot + "-1-3.sent": lines(numbered(1, 3)),
					"batch-" + boot + "-4-5.sent": lines(numbered(4, 5)), "batch-" + boot + "-4-5.run": lines(numbered(4, 5)),
				}
			},
			want: upTo(4, 5),
		},
		"the copy was removed": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.run": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
		"one was rejected then": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.sent": lines(slices.Delete(numbered(1, 5), 2, 3))}
			},
			want: []uint64{3},
		},
		"another spool's numbers": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"batch-" + boot + "-1-5.sent": []byte("[1] PROCESS_HOST_CHECK_RESULT;h;0;x\n")}
			},
			want: upTo(1, 5),
		},
		"killed while it handed over again": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{
					"batch-" + boot + "-1-3.sent": lines(numbered(1, 3)),
					"again-" + boot + "-1-5.sent": lines(numbered(1, 5)), "again-" + boot + "-1-5.run": lines(numbered(1, 5)),
				}
			},
			want: upTo(4, 5),
		},
		"killed when that was processed": {
			files: func(boot string) map[string][]byte {
				return map[string][]byte{"again-" + boot + "-1-5.sent": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
		"the machine went down": {
			files: func(string) map[string][]byte {
				return map[string][]byte{old + ".sent": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
		"the machine went down while the core worked": {
			files: func(string) map[string][]byte {
				return map[string][]byte{old + ".sent": lines(numbered(1, 5)), old + ".run": lines(numbered(1, 5))}
			},
			want: upTo(1, 5),
		},
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	boot := string(id[:8])
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore(t)
			for name, text := range tt.files(boot) {
				if err := os.WriteFile(filepath.Join(core.batchDir, name), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			core.start()
			s := core.newSink(nil)
			wantTaken(t, s.Submit(t.Context(), numbered(1, 5)))
			if got := numbers(t, core.processed()); !slices.Equal(got, tt.want) {
				t.Errorf("processed %v, want %v", got, tt.want)
			}
			wantTaken(t, s.Submit(t.Context(), numbered(6, 9)))
			if got, want := core.files(), []string{"batch-" + boot + "-6-9.sent"}; !slices.Equal(got, want) {
				t.Errorf("left in the folder: %v, want %v", got, want)
			}
		})
	}
}

// The table above holds every state in which a kill can leave the folder,
// provided that the files come in this order, and the core hears of them last.
func TestFilesComeInTheOrderThatResumesRelyOn(t *testing.T) {
	core := newFakeCore(t)
	core.process = func(path string) bool {
		if _, err := os.Lstat(strings.TrimSuffix(path, run) + sent); err != nil {
			t.Errorf("the core was told too early: %v", err)
		}
		return true
	}
	core.start()
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := watcher.Add(core.batchDir); err != nil {
		t.Fatal(err)
	}
	s := core.newSink(nil)
	wantTaken(t, s.Submit(t.Context(), numbered(1, 2)))
	var got []string
	for len(got) < 4 {
		select {
		case e := <-watcher.Events:
			if e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) {
				got = append(got, e.Op.String()+filepath.Ext(e.Name))
			}
		case <-time.After(time.Minute):
			t.Fatalf("events so far: %v", got)
		}
	}
	if want := []string{"CREATE.new", "CREATE.run", "CREATE.sent", "REMOVE.run"}; !slices.Equal(got, want) {
		t.Errorf("files came as %v, want %v", got, want)
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	core := newFakeCore(t)
	foreign := []string{"batch-1-2.run", "batch-xxxxxxxx-1-2.sent", "mine", "batch-00000000-1-2.sent.bak"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(core.batchDir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	core.start()
	s := core.newSink(nil)
	wantTaken(t, s.Submit(t.Context(), numbered(1, 2)))
	for _, name := range foreign {
		if !slices.Contains(core.files(), name) {
			t.Errorf("%s was removed", name)
		}
	}
}

func TestUnconfirmedBatchIsSettledByTheNextSubmit(t *testing.T) {
	core := newFakeCore(t)
	s := core.newSink(nil)
	for _, err := range submitInVain(t, s, numbered(1, 3)) {
		if err == nil || errors.Is(err, checks.ErrRejected) {
			t.Errorf("verdict while the core is down = %v", err)
		}
	}
	core.start()
	wantTaken(t, s.Submit(t.Context(), numbered(1, 5)))
	if got := numbers(t, core.processed()); !slices.Equal(got, upTo(1, 5)) {
		t.Errorf("processed %v, want each once", got)
	}
}

// submitInVain submits until the sink has found that it cannot.
func submitInVain(t testing.TB, s *Sink, results []checks.Result) []error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	verdicts := make(chan []error, 1)
	go func() { verdicts <- s.Submit(ctx, results) }()
	waitFor(t, "the outage", s.isDown.Load)
	cancel()
	return <-verdicts
}

// A logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// Whatever happens to the command file, Submit goes on by itself, each batch
// is processed once, and the log has two lines.
func TestSubmitOutlastsTheCore(t *testing.T) {
	tests := map[string]struct{ end, begin func(*fakeCore) }{
		"reader goes and comes": {
			(*fakeCore).stop, (*fakeCore).start,
		},
		"command file removed as well": {
			func(c *fakeCore) {
				os.Remove(c.commandFile)
				c.stop()
			},
			(*fakeCore).start,
		},
		"command file replaced under a living reader": {
			func(c *fakeCore) {
				old, done := c.reader, c.done
				c.t.Cleanup(func() {
					old.Close()
					<-done
				})
				os.Remove(c.commandFile)
			},
			(*fakeCore).start,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore(t)
			lost := make(chan struct{})
			core.process = func(string) bool { // the first command is lost with the core
				if core.commands() == 1 {
					close(lost)
				}
				return core.commands() > 1
			}
			core.start()
			var log logBuffer
			s := core.newSink(log.logger())
			s.patience = time.Minute // the time-out is not what helps here
			verdicts := make(chan []error, 1)
			go func() { verdicts <- s.Submit(t.Context(), numbered(1, 4)) }()
			<-lost
			tt.end(core)
			waitFor(t, "the outage", func() bool { return strings.Contains(log.String(), "core unreachable") })
			tt.begin(core)
			wantTaken(t, <-verdicts)
			if got := numbers(t, core.processed()); !slices.Equal(got, upTo(1, 4)) {
				t.Errorf("processed %v", got)
			}
			if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "core back") {
				t.Errorf("log:\n%s", text)
			}
		})
	}
}

func TestBatchThatIsNotTakenIsToldAgainAndReported(t *testing.T) {
	core := newFakeCore(t)
	core.process = func(string) bool { return core.commands() > 6 }
	core.start()
	var log logBuffer
	s := core.newSink(log.logger())
	s.patience = 5 * time.Millisecond
	wantTaken(t, s.Submit(t.Context(), numbered(1, 2)))
	if got := numbers(t, core.processed()); !slices.Equal(got, upTo(1, 2)) {
		t.Errorf("processed %v", got)
	}
	if text := log.String(); strings.Count(text, `"batch not processed"`) != 1 || !strings.Contains(text, core.batchDir) {
		t.Errorf("log:\n%s", text)
	}
}

func TestBatchRemovedBySomebodyElseIsHandedOverAnew(t *testing.T) {
	core := newFakeCore(t)
	core.process = func(path string) bool {
		if core.commands() > 1 {
			return true
		}
		os.Remove(strings.TrimSuffix(path, run) + sent)
		os.Remove(path)
		return false
	}
	core.start()
	s := core.newSink(nil)
	if err := errors.Join(s.Submit(t.Context(), numbered(1, 2))...); !errors.Is(err, errLost) {
		t.Errorf("verdicts = %v, want errLost", err)
	}
	wantTaken(t, s.Submit(t.Context(), numbered(1, 2)))
	if got := numbers(t, core.processed()); !slices.Equal(got, upTo(1, 2)) {
		t.Errorf("processed %v", got)
	}
}

func TestUnusableFolderOrCommandFileIsWorthAnotherTry(t *testing.T) {
	tests := map[string]struct {
		spoil func(*fakeCore)
		want  string
	}{
		"no folder":       {func(c *fakeCore) { os.Remove(c.batchDir) }, "no such file"},
		"folder in use":   {func(c *fakeCore) { lockFolder(c.t, c.batchDir) }, "another gateway"},
		"no FIFO at all":  {func(c *fakeCore) {}, "not confirmed"},
		"a file, no FIFO": {func(c *fakeCore) { os.WriteFile(c.commandFile, nil, 0o600) }, "not confirmed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore(t)
			s := core.newSink(nil)
			tt.spoil(core)
			for _, err := range submitInVain(t, s, numbered(1, 2)) {
				if err == nil || errors.Is(err, checks.ErrRejected) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("verdict = %v, want %q", err, tt.want)
				}
			}
		})
	}
}

func lockFolder(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
}

func TestBigBatchesAreSplit(t *testing.T) {
	core := newFakeCore(t)
	core.start()
	s := core.newSink(nil)
	s.patience = time.Minute
	results := numbered(1, 12)
	for i := range results {
		results[i].Reason += "x" + strings.Repeat("y", maxBatchBytes/10)
	}
	wantTaken(t, s.Submit(t.Context(), results))
	if got := len(core.files()); got != 2 {
		t.Errorf("%d files for 12/10 of a file, want 2", got)
	}
	if got := numbers(t, cutX(core.processed())); !slices.Equal(got, upTo(1, 12)) {
		t.Errorf("processed %v", got)
	}
}
