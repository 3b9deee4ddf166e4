package nagios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A gatewayTask is what a process of the test binary does in place of the
// gateway: submit results in batches, with a file as the spool's cursor.
type gatewayTask struct {
	Config Config
	Cursor string // the file that holds the number of the last result handed over
	Total  uint64
	Batch  uint64
}

const gatewayEnv = "CHECKBUS_TEST_GATEWAY"

func TestMain(m *testing.M) {
	if task := os.Getenv(gatewayEnv); task != "" {
		if err := runGateway(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runGateway(text string) error {
	var task gatewayTask
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		return err
	}
	s := New(task.Config, History{}, slog.New(slog.DiscardHandler))
	for done := task.done(); done < task.Total; {
		last := min(done+task.Batch, task.Total)
		if err := errors.Join(s.Submit(context.Background(), killResults(done+1, last))...); err != nil {
			return err
		}
		done = last
		aside := task.Cursor + ".new"
		if err := os.WriteFile(aside, strconv.AppendUint(nil, done, 10), 0o600); err != nil {
			return err
		}
		if err := os.Rename(aside, task.Cursor); err != nil {
			return err
		}
	}
	return s.Close()
}

// done is the number of the last result that was handed over.
func (g gatewayTask) done() uint64 {
	text, err := os.ReadFile(g.Cursor)
	if err != nil {
		return 0
	}
	done, _ := strconv.ParseUint(string(text), 10, 64)
	return done
}

// killResults are the results first to last, the same in every process, for
// the services s000 to s009 of h0000.
func killResults(first, last uint64) []checks.Result {
	results := numbered(first, last)
	for i := range results {
		results[i].Object = checks.Object{Host: "h0000", Service: fmt.Sprintf("s%03d", results[i].Seq%10)}
	}
	return results
}

// killAtRandom runs the task to its end in processes that it kills at random
// moments of their work, and returns how many it killed.
func (g gatewayTask) killAtRandom(t *testing.T, longest time.Duration) int {
	t.Helper()
	text, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	for kills := 0; ; kills++ {
		before := g.done()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), gatewayEnv+"="+string(text))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		waitFor(t, "the gateway to hand over", func() bool { return g.done() > before || len(exited) > 0 })
		select {
		case err := <-exited:
			if err != nil {
				t.Fatalf("gateway: %v: %s", err, stderr.String())
			}
			return kills
		case <-time.After(rand.N(longest)):
			_ = cmd.Process.Kill() // unless it has just ended
			<-exited
		}
	}
}

// received are the numbers of the results that Nagios has processed, in order.
func received(t testing.TB, n *realtest.Nagios) []uint64 {
	t.Helper()
	return numbers(t, slices.DeleteFunc(n.Log(), func(line string) bool { return !strings.Contains(line, " PROCESS_SERVICE_CHECK_RESULT;") }))
}

func TestKilledGatewayResumesExactly(t *testing.T) {
	cursor := func(t *testing.T) string { return filepath.Join(t.TempDir(), "cursor") }
	t.Run("fake core", func(t *testing.T) {
		core := newFakeCore(t)
		core.process = func(string) bool {
			if rand.N(4) == 0 { // now and then a slow one, so that kills meet every state
				<-time.After(rand.N(3 * time.Millisecond))
			}
			return true
		}
		core.start()
		task := gatewayTask{
			Config: Config{CommandFile: core.commandFile, BatchDir: core.batchDir},
			Cursor: cursor(t), Total: 3_000, Batch: 5,
		}
		kills := task.killAtRandom(t, 30*time.Millisecond)
		t.Logf("killed %d times", kills)
		if got := numbers(t, core.processed()); !slices.Equal(got, upTo(1, task.Total)) {
			t.Errorf("processed %s", describe(got, task.Total))
		}
	})
	t.Run("nagios4", func(t *testing.T) {
		n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 10})
		task := gatewayTask{
			Config: Config{CommandFile: n.CommandFile, BatchDir: n.BatchDir, ObjectCache: n.ObjectCache},
			Cursor: cursor(t), Total: 8_000, Batch: 20,
		}
		kills := task.killAtRandom(t, 50*time.Millisecond)
		t.Logf("killed %d times", kills)
		if got := received(t, n); !slices.Equal(got, upTo(1, task.Total)) {
			t.Errorf("processed %s", describe(got, task.Total))
		}
	})
}

// describe says what is wrong with got, which should be 1 to total in order.
func describe(got []uint64, total uint64) string {
	times := make(map[uint64]int)
	for _, seq := range got {
		times[seq]++
	}
	var missing, repeated []uint64
	for _, seq := range upTo(1, total) {
		switch times[seq] {
		case 0:
			missing = append(missing, seq)
		case 1:
		default:
			repeated = append(repeated, seq)
		}
	}
	return fmt.Sprintf("%d results, %d missing %.40v, %d more than once %.40v, sorted: %t", len(got),
		len(missing), fmt.Sprint(missing), len(repeated), fmt.Sprint(repeated), slices.IsSorted(got))
}

// A Nagios that is restarted under load gets everything, in order. What it was
// processing when it was killed it gets again, one batch at most.
func TestRestartedNagiosGetsEverything(t *testing.T) {
	const batch, rounds = 100, 3
	tests := map[string]struct {
		restart func(*realtest.Nagios)
		again   int // how many results may come twice
	}{
		"SIGKILL and start": {func(n *realtest.Nagios) { n.Kill(); n.Start() }, batch},
		"SIGTERM and start": {func(n *realtest.Nagios) { n.Stop(); n.Start() }, batch}, // it may end in the middle of a batch
		"SIGHUP":            {func(n *realtest.Nagios) { n.Reload() }, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 10})
			s := sinkFor(t, n, nil)
			var handed atomic.Uint64
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			loaded := make(chan struct{})
			go func() {
				defer close(loaded)
				pace := time.NewTicker(5 * time.Millisecond)
				defer pace.Stop()
				for ; ctx.Err() == nil; <-pace.C {
					seq := handed.Load()
					if err := errors.Join(s.Submit(t.Context(), killResults(seq+1, seq+batch))...); err != nil {
						t.Error(err)
						return
					}
					handed.Add(batch)
				}
			}()
			for range rounds {
				more := handed.Load() + 20*batch
				waitFor(t, "load", func() bool { return handed.Load() >= more })
				tt.restart(n)
			}
			cancel()
			<-loaded
			seq := handed.Load()
			got := received(t, n)
			first := make(map[uint64]bool)
			var inOrder []uint64
			for _, seq := range got {
				if !first[seq] {
					first[seq] = true
					inOrder = append(inOrder, seq)
				}
			}
			if !slices.Equal(inOrder, upTo(1, seq)) {
				t.Errorf("processed %s", describe(got, seq))
			}
			if again := len(got) - len(inOrder); again > rounds*tt.again {
				t.Errorf("%d of %d results came twice, want at most %d", again, seq, rounds*tt.again)
			} else {
				t.Logf("%d results, %d of them twice", seq, again)
			}
		})
	}
}
