package spool

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// change is a complete change, told from others by i.
func change(i int) checks.Change {
	return checks.Change{
		Status: checks.Status{
			Object: checks.Object{Host: fmt.Sprintf("web%d", i), Service: "disk"},
			State:  checks.Critical, Soft: true, Attempt: i, Reason: "full", Perfdata: "/=97%",
			Time: start, Since: start.Add(-time.Hour), Acknowledged: true, InDowntime: i%2 == 0, Flapping: i%3 == 0,
		},
		Previous: checks.Warning, Origin: "icinga", Kind: checks.KindState, Seq: uint64(i),
	}
}

func states(t *testing.T, q *Queue) (all []checks.Change, seq uint64) {
	t.Helper()
	seq, err := q.EachState(func(c checks.Change) error {
		all = append(all, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, seq
}

func TestStatesAreKeptBesideTheResults(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	if all, seq := states(t, q); len(all) != 0 || seq != 0 {
		t.Errorf("a new spool has %d states, seq %d", len(all), seq)
	}
	mustAppend(t, q, results(0, 10))
	if err := q.SaveStates([]checks.Change{change(1), change(2), change(3)}, 3); err != nil {
		t.Fatal(err)
	}
	gone, newer := change(2), change(3)
	gone.Kind = checks.KindRemoved
	newer.State, newer.Time, newer.Since = checks.Pending, time.Time{}, time.Time{}
	if err := q.SaveStates([]checks.Change{gone, newer}, 5); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{oneReader, {Log: discard}} {
		q = reopen(t, q, o)
		if all, seq := states(t, q); !slices.Equal(all, []checks.Change{change(1), newer}) || seq != 5 {
			t.Errorf("states %+v, seq %d", all, seq)
		}
	}
	if err := q.EachLast(func(checks.Result) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestStatesOfABrokenDiskAreNotSaved(t *testing.T) {
	disk := realtest.NewBrokenDisk()
	q := open(t, t.TempDir(), Options{Cursors: []string{"nagios"}, disk: disk})
	disk.BreakAfter(0)
	if err := q.SaveStates([]checks.Change{change(1)}, 1); err == nil {
		t.Fatal("they were")
	}
	disk.Mend()
	waitFor(t, "the disk to work again", func() bool { return q.SaveStates([]checks.Change{change(1)}, 1) == nil })
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.SaveStates([]checks.Change{change(1)}, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("SaveStates = %v, want ErrClosed", err)
	}
}

func TestBrokenStatesAreErrors(t *testing.T) {
	c := change(1)
	whole := appendChange(nil, &c)
	for n := range whole {
		if _, err := decodeChange(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were decoded", n, len(whole))
		}
	}
	for name, data := range map[string][]byte{
		"longer":        append(bytes.Clone(whole), 0),
		"newer version": append([]byte{changeVersion + 1}, whole[1:]...),
		"no state":      append([]byte{changeVersion, byte(checks.Pending) + 1}, whole[2:]...),
	} {
		if c, err := decodeChange(data); err == nil {
			t.Errorf("%s: decoded as %+v", name, c)
		}
	}
}

// FuzzDecodeChange: no bytes may panic, and what decodes is kept by another
// round.
func FuzzDecodeChange(f *testing.F) {
	for i := range 3 {
		c := change(i)
		f.Add(appendChange(nil, &c))
	}
	f.Add([]byte{changeVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeChange(data)
		if err != nil {
			return
		}
		if again, err := decodeChange(appendChange(nil, &c)); err != nil || again != c {
			t.Errorf("\n got %+v, %v\nwant %+v", again, err, c)
		}
	})
}
