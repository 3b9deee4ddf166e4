package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"checkbus/checks"
)

var discard = slog.New(slog.DiscardHandler)

// start is when the results of these tests arrive.
var start = time.Date(2026, 11, 21, 18, 8, 49, 457_000_000, time.UTC)

// result is a complete result, told from others by i.
func result(i int) checks.Result {
	at := start.Add(time.Duration(i) * time.Millisecond)
	return checks.Result{
		Object:   checks.Object{Host: fmt.Sprintf("web%d", i%10), Service: "disk"},
		State:    checks.Critical,
		Reason:   fmt.Sprintf("result %d: %x", i, noise(i)),
		Perfdata: "/=97%;90;95",
		Time:     at.Add(-time.Second),
		Arrived:  at,
		Executed: at.Add(-time.Second),
		TTL:      5 * time.Minute,
		Source:   "agent",
		Client:   "web1-client",
		Message:  uint64(i),
	}
}

// noise is 90 bytes, so that texts of it compress no better than real ones.
func noise(i int) []byte {
	b := make([]byte, 90)
	rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}).Read(b)
	return b
}

func results(from, n int) []checks.Result {
	rs := make([]checks.Result, n)
	for i := range rs {
		rs[i] = result(from + i)
	}
	return rs
}

func open(t testing.TB, dir string, o Options) *Queue {
	t.Helper()
	if o.Log == nil {
		o.Log = discard
	}
	q, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return q
}

// reopen closes q and opens its directory again.
func reopen(t testing.TB, q *Queue, o Options) *Queue {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, q.dir, o)
}

// tryAppend appends rs and returns the answer.
func tryAppend(q *Queue, rs []checks.Result) error {
	done := make(chan error, 1)
	q.Append(rs, func(err error) { done <- err })
	return <-done
}

func mustAppend(t testing.TB, q *Queue, rs []checks.Result) {
	t.Helper()
	if err := tryAppend(q, rs); err != nil {
		t.Fatal(err)
	}
}

func cursor(t testing.TB, q *Queue, name string) *Cursor {
	t.Helper()
	c, err := q.Cursor(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// readAll reads n results.
func readAll(t testing.TB, c *Cursor, n int) []checks.Result {
	t.Helper()
	got := make([]checks.Result, 0, n)
	buf := make([]checks.Result, 1000)
	for len(got) < n {
		m, err := c.Read(t.Context(), buf[:min(len(buf), n-len(got))])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:m]...)
	}
	return got
}

// wantRange checks that got are the results from..., with Seq from first.
func wantRange(t testing.TB, got []checks.Result, from int, first uint64) {
	t.Helper()
	for i := range got {
		want := result(from + i)
		want.Seq = first + uint64(i)
		if got[i] != want {
			t.Fatalf("result %d:\n got %+v\nwant %+v", i, got[i], want)
		}
	}
}
