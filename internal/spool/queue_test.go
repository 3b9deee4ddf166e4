package spool

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

var oneReader = Options{Cursors: []string{"nagios"}}

func TestResultsComeBackInOrderAfterRestart(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	rs := results(0, 2500)
	mustAppend(t, q, rs)
	for i := range rs {
		if rs[i].Seq != uint64(i)+1 {
			t.Fatalf("Append set Seq %d for result %d", rs[i].Seq, i)
		}
	}
	wantRange(t, readAll(t, cursor(t, q, "nagios"), 2500), 0, 1)

	q = reopen(t, q, oneReader)
	mustAppend(t, q, results(2500, 10))
	wantRange(t, readAll(t, cursor(t, q, "nagios"), 2510), 0, 1)
}

func TestCommitIsNotReadAgain(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	mustAppend(t, q, results(0, 100))
	c := cursor(t, q, "nagios")
	readAll(t, c, 100)
	if err := c.Commit(40); err != nil {
		t.Fatal(err)
	}
	if read, committed := c.Position(); read != 100 || committed != 40 {
		t.Errorf("position is %d, %d; want 100, 40", read, committed)
	}
	if err := c.Commit(101); err == nil {
		t.Error("what was not read could be committed")
	}
	if err := c.Commit(30); err != nil {
		t.Errorf("commit of what is committed: %v", err)
	}
	q = reopen(t, q, oneReader)
	wantRange(t, readAll(t, cursor(t, q, "nagios"), 60), 40, 41)
}

// Seq goes on although all that may be was trimmed, and after restarts.
func TestSeqNeverStartsAgain(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	const n = keepRecent + 10
	for round := range 3 {
		mustAppend(t, q, results(round*n, n))
		c := cursor(t, q, "nagios")
		readAll(t, c, n)
		if err := c.Commit(uint64(round+1) * n); err != nil {
			t.Fatal(err)
		}
		q.mu.Lock()
		q.lastTrim = time.Time{}
		q.mu.Unlock()
		q.nudge()
		waitFor(t, "the trim", func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.trimmed.seq == q.durable.seq-keepRecent
		})
		q = reopen(t, q, oneReader)
	}
	rs := results(0, 1)
	mustAppend(t, q, rs)
	if rs[0].Seq != 3*n+1 {
		t.Errorf("Seq is %d, want %d", rs[0].Seq, 3*n+1)
	}
}

// waitFor waits for a condition that something else brings about.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	realtest.Eventually(t, time.Minute, what, cond)
}

func TestAnswersComeInTheOrderOfTheAppends(t *testing.T) {
	q := open(t, t.TempDir(), Options{Cursors: []string{"nagios"}, MaxBytes: 3000})
	const n = 500
	var answers []string
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		var rs []checks.Result
		if i%3 > 0 {
			rs = results(i, 1)
		}
		q.Append(rs, func(err error) {
			answers = append(answers, fmt.Sprint(i))
			if err != nil && !errors.Is(err, checks.ErrFull) || err != nil && i%3 == 0 {
				t.Errorf("append %d: %v", i, err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	for i, a := range answers {
		if a != fmt.Sprint(i) {
			t.Fatalf("answer %d is that of append %s", i, a)
		}
	}
}

func TestFullQueueRefusesAndKeepsWhatItHas(t *testing.T) {
	one := encodeWrite(results(0, 1)).size()
	o := Options{Cursors: []string{"nagios"}, MaxBytes: 10*one + one/2}
	q := open(t, t.TempDir(), o)
	mustAppend(t, q, results(0, 10))
	if err := tryAppend(q, results(0, 1)); !errors.Is(err, checks.ErrFull) {
		t.Fatalf("append to a full queue: %v, want ErrFull", err)
	}
	if err := tryAppend(q, results(0, 20)); !errors.Is(err, checks.ErrInvalid) || !strings.Contains(err.Error(), "at once") {
		t.Fatalf("append of more than fits in all: %v, want ErrFull", err)
	}
	if err := tryAppend(q, nil); err != nil {
		t.Fatalf("append of nothing: %v", err)
	}
	q = reopen(t, q, o)
	if err := tryAppend(q, results(0, 1)); !errors.Is(err, checks.ErrFull) {
		t.Fatalf("append after restart: %v, want ErrFull", err)
	}
	c := cursor(t, q, "nagios")
	wantRange(t, readAll(t, c, 10), 0, 1)
	if err := c.Commit(1); err != nil {
		t.Fatal(err)
	}
	rs := results(10, 1)
	mustAppend(t, q, rs)
	if rs[0].Seq != 11 {
		t.Errorf("refused results used up Seq: %d, want 11", rs[0].Seq)
	}
	wantRange(t, readAll(t, c, 1), 10, 11)
}

func TestReadWaitsForTheNextResult(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	c := cursor(t, q, "nagios")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	buf := make([]checks.Result, 10)
	if _, err := c.Read(ctx, buf); !errors.Is(err, context.Canceled) {
		t.Fatalf("Read = %v, want context.Canceled", err)
	}
	got := make(chan int)
	go func() {
		n, err := c.Read(t.Context(), buf)
		if err != nil {
			t.Error(err)
		}
		got <- n
	}()
	mustAppend(t, q, results(0, 3))
	wantRange(t, buf[:<-got], 0, 1)
	go func() {
		if _, err := c.Read(t.Context(), buf); !errors.Is(err, ErrClosed) {
			t.Errorf("Read = %v, want ErrClosed", err)
		}
		close(got)
	}()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	<-got
	if err := tryAppend(q, results(0, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v, want ErrClosed", err)
	}
}

func TestSlowestReaderHoldsTheRecords(t *testing.T) {
	o := Options{Cursors: []string{"nagios", "icinga"}}
	q := open(t, t.TempDir(), o)
	mustAppend(t, q, results(0, 10))
	fast := cursor(t, q, "nagios")
	readAll(t, fast, 10)
	if err := fast.Commit(10); err != nil {
		t.Fatal(err)
	}
	st := q.Stats()
	if st.Records != 10 || !st.Oldest.Equal(start) || st.Err != nil {
		t.Errorf("stats are %+v, want 10 records since %v", st, start)
	}
	if b := st.Cursors["nagios"]; b != (Backlog{}) {
		t.Errorf("backlog of nagios is %+v, want none", b)
	}
	if want := encodeWrite(results(0, 10)).size(); st.Bytes != want {
		t.Errorf("backlog is %d bytes, want %d", st.Bytes, want)
	}
	wantRange(t, readAll(t, cursor(t, q, "icinga"), 10), 0, 1)
}

func TestReadersComeAndGo(t *testing.T) {
	tests := map[string]struct {
		then []string // the cursors after the restart
		want map[string]int
	}{
		"same":         {[]string{"nagios"}, map[string]int{"nagios": 6}},
		"second core":  {[]string{"nagios", "icinga"}, map[string]int{"nagios": 6, "icinga": 6}},
		"other core":   {[]string{"icinga"}, map[string]int{"icinga": 6}},
		"no core left": {nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			q := open(t, t.TempDir(), oneReader)
			mustAppend(t, q, results(0, 10))
			c := cursor(t, q, "nagios")
			readAll(t, c, 10)
			if err := c.Commit(4); err != nil {
				t.Fatal(err)
			}
			q = reopen(t, q, Options{Cursors: tt.then})
			for name, n := range tt.want {
				wantRange(t, readAll(t, cursor(t, q, name), n), 10-n, uint64(10-n)+1)
			}
			if _, err := q.Cursor("gone"); err == nil {
				t.Error("a cursor that is not configured could be had")
			}
			rs := results(10, 1)
			mustAppend(t, q, rs)
			if rs[0].Seq != 11 {
				t.Errorf("Seq is %d, want 11", rs[0].Seq)
			}
		})
	}
}

// Without a core nothing is queued, however much comes, and one that is added
// later gets what comes then.
func TestWithoutReadersOnlyLastResultsAreKept(t *testing.T) {
	q := open(t, t.TempDir(), Options{MaxBytes: 1000})
	for i := range 100 {
		mustAppend(t, q, results(i*10, 10))
	}
	if st := q.Stats(); st.Records != 0 || st.Bytes != 0 {
		t.Errorf("stats are %+v, want no backlog", st)
	}
	if r, ok, err := q.Last(result(995).Object); err != nil || !ok || r.Message != 995 || r.Seq != 996 {
		t.Errorf("last result is %+v, %t, %v; want that of message 995", r, ok, err)
	}
	q = reopen(t, q, oneReader)
	mustAppend(t, q, results(1000, 1))
	wantRange(t, readAll(t, cursor(t, q, "nagios"), 1), 1000, 1001)
}

func TestLastResults(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	mustAppend(t, q, results(0, 25))
	host := result(25)
	host.Service = ""
	mustAppend(t, q, []checks.Result{host})
	c := cursor(t, q, "nagios")
	readAll(t, c, 26)
	if err := c.Commit(26); err != nil {
		t.Fatal(err)
	}
	q = reopen(t, q, oneReader)
	var names []string
	err := q.EachLast(func(r checks.Result) error {
		names = append(names, fmt.Sprintf("%s=%d", r.Object, r.Seq))
		_, ok, err := q.Last(r.Object)
		if !ok {
			t.Errorf("%s has no last result", r.Object)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "web0!disk=21 web1!disk=22 web2!disk=23 web3!disk=24 web4!disk=25 web5=26 web5!disk=16 web6!disk=17 web7!disk=18 web8!disk=19 web9!disk=20"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("last results:\n got %s\nwant %s", got, want)
	}
	stop := errors.New("stop")
	if err := q.EachLast(func(checks.Result) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("EachLast = %v, want the error of its function", err)
	}
}

// The newest results stay for Recent, although all have read them and the older
// ones were trimmed.
func TestRecentResultsOutliveTheirReading(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	const n = 5 * keepRecent
	for i := 0; i < n; i += 1024 {
		mustAppend(t, q, results(i, 1024))
	}
	c := cursor(t, q, "nagios")
	readAll(t, c, n)
	if err := c.Commit(n); err != nil {
		t.Fatal(err)
	}
	q.mu.Lock()
	q.lastTrim = time.Time{}
	q.mu.Unlock()
	mustAppend(t, q, results(n, 1))
	q = reopen(t, q, oneReader)
	if q.trimmed.seq < n-keepRecent {
		t.Errorf("trimmed up to %d", q.trimmed.seq)
	}
	next := uint64(n + 1 - keepRecent + 1)
	err := q.Recent(func(r checks.Result) error {
		if r.Seq != next {
			t.Fatalf("result %d, want %d", r.Seq, next)
		}
		next++
		return nil
	})
	if err != nil || next != n+2 {
		t.Errorf("Recent ended before %d, %v", next, err)
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, oneReader)
	_, err := Open(dir, q.opts)
	if err == nil || !strings.Contains(err.Error(), "already in use") || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v, want that %s is already in use", err, dir)
	}
}

func TestDirectoryIsCreated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "spool")
	mustAppend(t, open(t, dir, oneReader), results(0, 1))
}
