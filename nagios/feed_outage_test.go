package nagios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// toggles submits one result after another, each of another state, and keeps
// what has to be told.
type toggles struct {
	t    testing.TB
	sink *Sink
	o    checks.Object
	n    int
	want []string
}

// run submits count results.
func (g *toggles) run(count int) {
	g.t.Helper()
	for range count {
		g.n++
		r := submit(g.t, g.sink, checks.Result{Object: g.o, State: checks.State(g.n % 3), Reason: fmt.Sprint("turn ", g.n)})
		g.want = append(g.want, r.State.String()+";HARD;1")
	}
}

// told waits until the newest is told, and compares all.
func (g *toggles) told(w *witness) {
	g.t.Helper()
	w.await(g.t, g.o, "told of", func(s checks.Status) bool { return s.Reason == fmt.Sprint("turn ", g.n) })
	if got := w.verdicts(g.o)[1:]; !slices.Equal(got, g.want) {
		g.t.Fatalf("told %d: %v\nwant %d: %v", len(got), got, len(g.want), g.want)
	}
}

func TestFeedFollowsTheLogThroughRotations(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 1})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	w := follow(t, s)
	g := &toggles{t: t, sink: s, o: service("s000")}
	rotate := map[string]func(){
		"renamed, and written on": func() { rename(t, n.LogFile, n.LogFile+".1") },
		"renamed and made anew": func() {
			rename(t, n.LogFile, n.LogFile+".2")
			if err := os.WriteFile(n.LogFile, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"another folder": func() { rename(t, n.LogFile, filepath.Join(t.TempDir(), "old.log")) },
		"reload":         n.Reload,
		"truncated": func() {
			g.told(w)
			if err := os.Truncate(n.LogFile, 0); err != nil {
				t.Fatal(err)
			}
		},
	}
	for _, name := range []string{"renamed, and written on", "reload", "truncated", "renamed and made anew", "another folder", "reload"} {
		g.run(20)
		rotate[name]()
		g.run(20)
		t.Log(name)
	}
	g.told(w)
	agree(t, n, w)
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
