package spool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"checkbus/checks"
)

// trimNow makes the next commit trim.
func trimNow(q *Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastTrim = time.Time{}
}

// The last results are right wherever they stand: in a record, in the table, or
// in both, through trims, restarts and changes of who reads.
func TestLastResultsWhereverTheyStand(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	want := make(map[checks.Object]uint64)
	q := open(t, t.TempDir(), oneReader)
	written := 0
	check := func() {
		t.Helper()
		got := make(map[checks.Object]uint64)
		before := ""
		err := q.EachLast(func(r checks.Result) error {
			if key := r.Host + "\x00" + r.Service; key <= before {
				t.Errorf("%s comes after %q", r.Object, before)
			} else {
				before = key
			}
			got[r.Object] = r.Seq
			one, ok, err := q.Last(r.Object)
			if !ok || one.Seq != r.Seq {
				t.Errorf("Last(%s) is %d, %t, EachLast says %d", r.Object, one.Seq, ok, r.Seq)
			}
			return err
		})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d objects, want %d, %v", len(got), len(want), err)
		}
		for o, seq := range want {
			if got[o] != seq {
				t.Fatalf("%s: Seq %d, want %d", o, got[o], seq)
			}
		}
	}
	for round := range 12 {
		batch := make([]checks.Result, 1+rnd.IntN(keepRecent))
		for i := range batch {
			// Few objects get many results, and some but one.
			n := rnd.IntN(20)
			if rnd.IntN(100) == 0 {
				n = 20 + written
			}
			written++
			batch[i] = result(i)
			batch[i].Host, batch[i].Service = fmt.Sprintf("host%d", n), "load"
		}
		trimNow(q)
		mustAppend(t, q, batch)
		for _, r := range batch {
			want[r.Object] = r.Seq
		}
		if len(q.cursors) > 0 {
			c := cursor(t, q, "nagios")
			readAll(t, c, len(batch))
			if err := c.Commit(batch[len(batch)-1].Seq); err != nil {
				t.Fatal(err)
			}
		}
		check()
		switch round % 4 {
		case 1:
			q = reopen(t, q, oneReader)
		case 2:
			q = reopen(t, q, Options{Log: discard})
		case 3:
			q = reopen(t, q, oneReader)
		}
		check()
	}
	if q.trimmed.seq == 0 {
		t.Error("nothing was ever trimmed")
	}
}
