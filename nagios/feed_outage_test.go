package nagios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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
			g.run(1) // seen while the log is shorter than it was: nothing else shows
			g.told(w)
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

// Nagios renames its log at the hour, which a time zone brings near, and writes
// what everything is into the next one, before it goes on.
func TestFeedFollowsTheLogThroughNagiossOwnRotation(t *testing.T) {
	const until = 4 * time.Second
	now := time.Now().UTC()
	east := now.Truncate(time.Hour).Add(2*time.Hour - until).Sub(now)
	zone := time.Unix(0, 0).UTC().Add(east).Format("TZ=TEST-15:04:05") // POSIX counts to the west
	archive := t.TempDir()
	n := realtest.StartNagios(t, realtest.NagiosOptions{
		Hosts: 1, Services: 2,
		Env:    []string{zone},
		Config: []string{"log_rotation_method=h", "log_archive_path=" + archive},
	})
	s := sinkFor(t, n, func(c *Config) {
		withFeed(n)(c)
		c.ObjectCache = "" // to settle would take of the time until the rotation
	})
	w := follow(t, s)
	submit(t, s, checks.Result{Object: service("s001"), State: checks.Critical, Reason: "stays"})
	stays := w.await(t, service("s001"), "critical", func(s checks.Status) bool { return s.Reason == "stays" })
	g := &toggles{t: t, sink: s, o: service("s000")}
	rotated := func() bool {
		files, err := filepath.Glob(filepath.Join(archive, "nagios-*.log"))
		return err == nil && len(files) == 1
	}
	for end := time.Now().Add(time.Minute); !rotated(); g.run(5) {
		if time.Now().After(end) {
			t.Fatal("Nagios does not rotate its log")
		}
	}
	n.WaitLog("CURRENT SERVICE STATE: h0000;s001;CRITICAL")
	g.run(20)
	g.told(w)
	agree(t, n, w)
	if got := w.verdicts(service("s001")); len(got) != 2 {
		t.Errorf("what stays as it was is told as %v", got)
	}
	if now, _ := w.get(service("s001")); now != stays {
		t.Errorf("what stays as it was is told as %+v\nbefore %+v", now, stays)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestFeedFollowsTheCoreThroughRestarts(t *testing.T) {
	two := realtest.NagiosOptions{Objects: []checks.Object{service("kept"), service("gone"), {Host: "h0001", Service: "gone"}}}
	n := realtest.StartNagios(t, two)
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	w := follow(t, s)
	kept := &toggles{t: t, sink: s, o: service("kept")}
	kept.run(3)

	now := realtest.NagiosOptions{Objects: []checks.Object{service("kept"), service("new")}}
	n.SetObjects(now)
	n.Reload()
	agree(t, n, w)
	if _, alls := w.count(); alls != 2 {
		t.Errorf("all was told %d times, want 2: at the start and after the reload", alls)
	}
	settle(t, s)
	fresh := &toggles{t: t, sink: s, o: service("new")}
	fresh.run(5)
	fresh.told(w)

	kept.run(3)
	kept.told(w)
	before, _ := w.get(kept.o)
	n.Stop()
	if _, err := os.Stat(n.StatusFile); err == nil {
		t.Error("the core leaves its status file: this test shows nothing")
	}
	n.Start()
	waitFor(t, "all to be told again", func() bool {
		_, alls := w.count()
		return alls == 3
	})
	if after, _ := w.get(kept.o); after != before {
		t.Errorf("after a restart %+v\nbefore %+v", after, before)
	}
	kept.run(3)
	kept.told(w)

	// What a killed core had not saved it has forgotten: its word counts.
	n.Kill()
	n.Start()
	agree(t, n, w)
	if objects, alls := w.count(); alls != 4 || objects != 3 {
		t.Errorf("after a kill %d objects are known, and all was told %d times", objects, alls)
	}
}

// A gateway that starts takes up where the status file ends, wherever in its
// interval that is.
func TestFeedBeginsWithoutAGap(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Services: 4, Config: []string{"status_update_interval=3600"}})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	for i, state := range []checks.State{checks.OK, checks.Warning, checks.Critical} {
		submit(t, s, checks.Result{Object: service(fmt.Sprintf("s%03d", i)), State: checks.Unknown, Reason: "first"})
		submit(t, s, checks.Result{Object: service(fmt.Sprintf("s%03d", i)), State: state, Reason: "second"})
	}
	if s.Follows() {
		t.Error("nothing was read yet")
	}
	w := follow(t, s)
	realtest.Eventually(t, time.Minute, "the core to be followed", s.Follows)
	for i, want := range []checks.State{checks.OK, checks.Warning, checks.Critical, checks.Pending} {
		if got, _ := w.get(service(fmt.Sprintf("s%03d", i))); got.State != want || len(w.told[got.Object]) != 1 {
			t.Errorf("s%03d is %v, told %d times; want %v, once", i, got.State, len(w.told[got.Object]), want)
		}
	}
}

func TestFeedTellsFourThousandChangesInOrder(t *testing.T) {
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 40, Services: 100})
	s := sinkFor(t, n, withFeed(n))
	settle(t, s)
	w := follow(t, s)
	var seq uint64
	states := []checks.State{checks.Critical, checks.OK, checks.Warning}
	for _, state := range states {
		var batch []checks.Result
		for i := range 4000 {
			seq++
			at := time.Now()
			batch = append(batch, checks.Result{
				Object: checks.Object{Host: fmt.Sprintf("h%04d", i/100), Service: fmt.Sprintf("s%03d", i%100)},
				State:  state, Reason: "switch", Perfdata: fmt.Sprintf("n=%d", seq), Executed: at, Time: at, Seq: seq,
			})
			if len(batch) == 1000 {
				wantTaken(t, s.Submit(t.Context(), batch))
				batch = batch[:0]
			}
		}
	}
	last := fmt.Sprintf("n=%d", seq)
	w.await(t, checks.Object{Host: "h0039", Service: "s099"}, "told of", func(s checks.Status) bool { return s.Perfdata == last })
	for h := range 40 {
		for i := range 100 {
			o := checks.Object{Host: fmt.Sprintf("h%04d", h), Service: fmt.Sprintf("s%03d", i)}
			if got, want := w.verdicts(o), []string{"PENDING;HARD;0", "CRITICAL;HARD;1", "OK;HARD;1", "WARNING;HARD;1"}; !slices.Equal(got, want) {
				t.Fatalf("%v: told %v, want %v", o, got, want)
			}
		}
	}
	agree(t, n, w)
}

func TestFeedTellsActiveChecks(t *testing.T) {
	dir := t.TempDir()
	plugin, verdict := filepath.Join(dir, "plugin"), filepath.Join(dir, "verdict")
	say := func(code int, text string) {
		t.Helper()
		if err := os.WriteFile(verdict+".new", fmt.Appendf(nil, "printf '%s'; exit %d\n", text, code), 0o644); err != nil {
			t.Fatal(err)
		}
		rename(t, verdict+".new", verdict)
	}
	say(0, "fine | a=1")
	if err := os.WriteFile(plugin, []byte("#!/bin/sh\n. "+verdict+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{
		Hosts: 1, Services: 1,
		Includes: []string{objectFile(t, "define command {\n  command_name look\n  command_line "+plugin+"\n}\n"+
			serviceWith("active", "active_checks_enabled 1", "check_command look", "check_interval 1", "retry_interval 1", "max_check_attempts 3"))},
		Config: []string{
			"execute_service_checks=1", "interval_length=1", "check_result_reaper_frequency=1", "log_service_retries=1",
			"service_inter_check_delay_method=n",
		},
	})
	s := sinkFor(t, n, withFeed(n))
	w := follow(t, s)
	o := service("active")
	w.await(t, o, "OK", func(s checks.Status) bool { return s.State == checks.OK && s.Reason == "fine" && s.Perfdata == "a=1" })
	say(2, "gone | a=2\\nlong")
	w.await(t, o, "hard", func(s checks.Status) bool {
		return s.State == checks.Critical && !s.Soft && s.Attempt == 3 && s.Reason == "gone\nlong" && s.Perfdata == "a=2"
	})
	say(0, "back")
	w.await(t, o, "back", func(s checks.Status) bool { return s.State == checks.OK && s.Reason == "back" })
	agree(t, n, w)
	told := slices.DeleteFunc(w.verdicts(o), func(v string) bool { return v == "PENDING;HARD;0" || v == "OK;HARD;1" })
	if got := slices.DeleteFunc(logged(n, o), func(v string) bool { return v == "OK;HARD;1" }); !slices.Equal(told, got) {
		t.Errorf("told   %v\nlogged %v", told, got)
	}
}
