package nagios

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// noHistory is that of a gateway that has handed over nothing.
var noHistory = History{
	Last:      func(checks.Object) (r checks.Result, ok bool, err error) { return },
	Committed: func() uint64 { return 0 },
}

// sinkFor returns a sink for n, which is closed with the test.
func sinkFor(t testing.TB, n *realtest.Nagios, change func(*Config)) *Sink {
	t.Helper()
	cfg := Config{CommandFile: n.CommandFile, BatchDir: n.BatchDir, ObjectCache: n.ObjectCache}
	if change != nil {
		change(&cfg)
	}
	if err := errors.Join(cfg.Validate(), cfg.Check()); err != nil {
		t.Fatal(err)
	}
	s := New(cfg, noHistory, logTo(t))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func logTo(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// serviceResult is a result of h0000's service number i.
func serviceResult(seq uint64, service string, state checks.State, reason string) checks.Result {
	return checks.Result{
		Object: checks.Object{Host: "h0000", Service: service}, State: state, Reason: reason,
		Executed: time.Now(), Seq: seq,
	}
}

// sinkModes are the two ways to a core.
var sinkModes = map[string]func(*Config){
	"batches": nil,
	"lines":   func(c *Config) { c.BatchDir = "" },
}

// A result arrives as it was sent, but for what Nagios itself changes: blanks
// around the first line and after the last go, and ";" in the first line
// becomes ":".
func TestResultsArriveInNagiosAsSent(t *testing.T) {
	tests := map[string]struct {
		host                         bool
		state                        checks.State
		reason, perfdata             string
		wantState                    int
		wantOut, wantLong, wantPerfs string // long as the status file escapes it
	}{
		"ok":               {state: checks.OK, reason: "fine", wantOut: "fine"},
		"warning":          {state: checks.Warning, reason: "hm", wantState: 1, wantOut: "hm"},
		"critical":         {state: checks.Critical, reason: "mail server 001 is broke", wantState: 2, wantOut: "mail server 001 is broke"},
		"unknown":          {state: checks.Unknown, reason: "?", wantState: 3, wantOut: "?"},
		"host up":          {host: true, state: checks.Up, reason: "ping", wantOut: "ping"},
		"host down":        {host: true, state: checks.Down, reason: "gone", wantState: 1, wantOut: "gone"},
		"host unreachable": {host: true, state: checks.Unreachable, reason: "far", wantState: 2, wantOut: "far"},
		"perfdata":         {reason: "disk", perfdata: "/=97%;90;95 'a b'=1s", wantOut: "disk", wantPerfs: "/=97%;90;95 'a b'=1s"},
		"long output":      {reason: "first\nsecond\n\n  fourth; it is", wantOut: "first", wantLong: `second\n\n  fourth; it is`},
		"all parts":        {reason: "first\nsecond", perfdata: "a=1", wantOut: "first", wantLong: "second", wantPerfs: "a=1"},
		"semicolons":       {reason: "a;b\nc;d", perfdata: "x=1;2;3", wantOut: "a:b", wantLong: "c;d", wantPerfs: "x=1;2;3"},
		"pipe in perfdata": {reason: "a", perfdata: "'a|b'=1", wantOut: "a", wantPerfs: "'a|b'=1"},
		"quotes":           {reason: `"a" 'b' $HOSTNAME$ <c> & ~`, wantOut: `"a" 'b' $HOSTNAME$ <c> & ~`},
		"backslashes":      {reason: `C:\new\` + "\n" + `D:\temp\n\`, wantOut: `C:\new\`, wantLong: `D:\\temp\\n\\`},
		"one backslash":    {reason: `\`, wantOut: `\`},
		"tabs":             {reason: "a\tb\n\tc", wantOut: "a\tb", wantLong: "\tc"},
		"unicode":          {reason: "é ü 漢字\n😀", wantOut: "é ü 漢字", wantLong: "😀"},
		"blanks around":    {reason: "  a  ", wantOut: "a"},
		"empty":            {},
		"only perfdata":    {perfdata: "a=1", wantPerfs: "a=1"},
		"only long output": {reason: "\nsecond", wantLong: "second"},
		"16 KiB line":      {reason: strings.Repeat("x", 16<<10), wantOut: strings.Repeat("x", 16<<10)},
		"16 KiB text":      {reason: "a\n" + strings.Repeat(`0123456\`+"\n", 1820), wantOut: "a", wantLong: strings.TrimSuffix(strings.Repeat(`0123456\\\n`, 1820), `\n`)},
		"256 KiB text":     {reason: "a\n" + strings.Repeat("y", 256<<10), wantOut: "a", wantLong: strings.Repeat("y", 256<<10)},
		"injection":        {reason: "a\x00b\r[1] DISABLE_NOTIFICATIONS\x1b\n[1] SHUTDOWN_PROGRAM\n", wantOut: "a b [1] DISABLE_NOTIFICATIONS", wantLong: `[1] SHUTDOWN_PROGRAM`},
	}
	var objects []checks.Object
	object := func(name string, host bool) checks.Object {
		if host {
			return checks.Object{Host: name}
		}
		return checks.Object{Host: "web1", Service: name}
	}
	for name, tt := range tests {
		objects = append(objects, object(name, tt.host))
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: objects})
	s := sinkFor(t, n, nil)
	var batch []checks.Result
	at := time.Now().Add(-time.Minute)
	for name, tt := range tests {
		batch = append(batch, checks.Result{
			Object: object(name, tt.host), State: tt.state, Reason: tt.reason, Perfdata: tt.perfdata,
			Executed: at, Seq: uint64(len(batch) + 1),
		})
	}
	for i, err := range s.Submit(t.Context(), batch) {
		if err != nil {
			t.Errorf("%v: %v", batch[i].Object, err)
		}
	}
	status := n.WaitStatus("show all results", func(m map[checks.Object]realtest.NagiosStatus) bool {
		for _, o := range objects {
			if m[o].LastCheck == 0 {
				return false
			}
		}
		return true
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := status[object(name, tt.host)]
			want := realtest.NagiosStatus{
				State: tt.wantState, Output: tt.wantOut, LongOutput: tt.wantLong, Perfdata: tt.wantPerfs, LastCheck: at.Unix(), Attempt: 1,
			}
			if got != want {
				t.Errorf("status file says %.300q\nwant %.300q", fmt.Sprint(got), fmt.Sprint(want))
			}
		})
	}
}

func TestUnknownObjectsAreRejected(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 1})
	for mode, change := range sinkModes {
		t.Run(mode, func(t *testing.T) {
			s := sinkFor(t, n, change)
			settle(t, s)
			verdicts := s.Submit(t.Context(), []checks.Result{
				serviceResult(1, "nosuch", checks.OK, "x"),
				serviceResult(2, "s000", checks.Critical, mode),
				{Object: checks.Object{Host: "nohost"}, Seq: 3},
				{Object: checks.Object{Host: "h0000\n[1] SHUTDOWN_PROGRAM"}, Seq: 4},
			})
			for i, want := range []error{checks.ErrUnknownObject, nil, checks.ErrUnknownObject, checks.ErrRejected} {
				if !errors.Is(verdicts[i], want) {
					t.Errorf("verdict %d = %v, want %v", i, verdicts[i], want)
				}
			}
			n.WaitLog(";" + mode)
			if s.Knows(checks.Object{Host: "nohost"}) || !s.Knows(checks.Object{Host: "h0000"}) {
				t.Error("Knows does not follow the object cache")
			}
		})
	}
	for _, line := range n.Log() {
		if strings.Contains(line, "could not be found") || strings.Contains(line, "SHUTDOWN") {
			t.Errorf("the core was bothered: %s", line)
		}
	}
}

// The core usually is another user: it reads and removes the files by its
// permissions on the folder. Where it lacks them, the log says so.
func TestCoreOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run Nagios as another user")
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 10, User: "nagios"})
	var log logBuffer
	s := New(Config{CommandFile: n.CommandFile, BatchDir: n.BatchDir}, History{}, log.logger())
	s.patience = 10 * time.Millisecond
	defer s.Close()
	if err := os.Chmod(n.BatchDir, 0o750|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	verdicts := make(chan []error, 1)
	go func() { verdicts <- s.Submit(ctx, killResults(1, 3)) }()
	waitFor(t, "the log", func() bool {
		return strings.Contains(log.String(), `"batch not processed" sink=nagios dir=`+n.BatchDir)
	})
	cancel()
	for _, err := range <-verdicts {
		if err == nil {
			t.Error("taken from a folder that the core cannot write to")
		}
	}
	if err := os.Chmod(n.BatchDir, 0o770|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, s.Submit(t.Context(), killResults(1, 5)))
	n.WaitLog("seq 5")
}

// settle waits until the object cache that the core has just written counts as
// complete, and is read.
func settle(t testing.TB, s *Sink) {
	t.Helper()
	waitFor(t, "the object cache", func() bool { return s.objects.refresh() == nil })
}

// waitFor polls until ok.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	realtest.Eventually(t, time.Minute, what, ok)
}
