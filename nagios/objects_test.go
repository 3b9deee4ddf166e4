package nagios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// smallCache is an object cache as Nagios 4.4.6 writes it, cut down.
const smallCache = `########################################
#       NAGIOS OBJECT CACHE FILE
#
# Created: Sat Nov 21 20:43:13 2026
########################################

define timeperiod {
	timeperiod_name	always
	alias	always
	}

define command {
	command_name	nothing
	command_line	/bin/true
	}

define hostgroup {
	hostgroup_name	all
	alias	all
	members	web1,ghost
	}

define host {
	host_name	web1
	alias	web1
	address	127.0.0.1
	check_interval	5.000000
	}

define service {
	host_name	web1
	service_description	Disk /var
	check_command	nothing
	}

define servicedependency {
	host_name	other
	dependent_host_name	web1
	service_description	x
	dependent_service_description	Disk /var
	}

`

func TestObjectCacheIsRead(t *testing.T) {
	set, err := readObjects(strings.NewReader(smallCache))
	if err != nil {
		t.Fatal(err)
	}
	if set.hosts != 1 || set.services != 1 {
		t.Errorf("%d hosts and %d services, want 1 and 1", set.hosts, set.services)
	}
	for o, want := range map[checks.Object]bool{
		{Host: "web1"}:                                true,
		{Host: "web1", Service: "Disk /var"}:          true,
		{Host: "web1", Service: "disk /var"}:          false,
		{Host: "web1", Service: "always"}:             false,
		{Host: "Disk /var"}:                           false,
		{Host: "ghost"}:                               false,
		{Host: "127.0.0.1"}:                           false,
		{Host: "other", Service: "x"}:                 false,
		{Host: "web", Service: "1Disk /var"}:          false,
		{Host: "web1", Service: "Disk /var\nanother"}: false,
	} {
		if got := set.has(o); got != want {
			t.Errorf("knows %q = %t, want %t", o, got, want)
		}
	}
}

func TestIncompleteObjectCacheIsNoCache(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"header":           smallCache[:60],
		"within a host":    smallCache[:strings.Index(smallCache, "	alias	web1")],
		"within a service": smallCache[:strings.Index(smallCache, "	check_command")],
		"within a line":    smallCache[:strings.Index(smallCache, "ice_description	x")],
		"before the hosts": smallCache[:strings.Index(smallCache, "define host {")],
	} {
		t.Run(name, func(t *testing.T) {
			if set, err := readObjects(strings.NewReader(text)); !errors.Is(err, errIncomplete) {
				t.Errorf("set %v, error %v, want errIncomplete", set, err)
			}
		})
	}
}

func TestLongLinesAreSkipped(t *testing.T) {
	group := "define hostgroup {\n\tmembers\t" + strings.Repeat("h,", maxCacheLine) + "\n\t}\n"
	set, err := readObjects(strings.NewReader(group + smallCache))
	if err != nil || !set.has(checks.Object{Host: "web1"}) {
		t.Errorf("after a long line: %v", err)
	}
}

// Whatever the cache holds, reading it ends, with a set or an error, and what
// it defines in the plain form is known.
func FuzzObjectCache(f *testing.F) {
	f.Add([]byte(smallCache), "h", "s")
	f.Add([]byte("define host {\n\thost_name\t"), "h", "s")
	f.Add([]byte("}\n}\ndefine service {\n}\n"), "web1", "Disk /var")
	f.Fuzz(func(t *testing.T, text []byte, host, service string) {
		if _, err := readObjects(strings.NewReader(string(text))); err != nil && !errors.Is(err, errIncomplete) {
			t.Errorf("error %v", err)
		}
		if strings.TrimSpace(host) != host || strings.TrimSpace(service) != service || host == "" || service == "" ||
			strings.ContainsAny(host+service, "\t\n") || len(host)+len(service) > maxCacheLine/2 {
			return
		}
		cache := smallCache + "define service {\n\thost_name\t" + host + "\n\tservice_description\t" + service + "\n\t}\n"
		set, err := readObjects(strings.NewReader(cache))
		if err != nil || !set.has(checks.Object{Host: host, Service: service}) {
			t.Errorf("%q on %q is not known: %v", service, host, err)
		}
	})
}

// runObjects follows the cache at path until the test ends.
func runObjects(t *testing.T, path string, log *logBuffer) *Sink {
	t.Helper()
	s := New(Config{ObjectCache: path}, History{}, log.logger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func TestObjectCacheIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.cache")
	host := func(name string) checks.Object { return checks.Object{Host: name} }
	write := func(path string, hosts ...string) {
		t.Helper()
		var text strings.Builder
		for _, h := range hosts {
			fmt.Fprintf(&text, "define host {\n\thost_name\t%s\n\t}\n\n", h)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var log logBuffer
	s := runObjects(t, path, &log)
	waitFor(t, "the log", func() bool { return strings.Contains(log.String(), "not readable") })
	if !s.Knows(host("a")) {
		t.Error("an object is unknown before the cache was ever read")
	}
	write(path, "a")
	waitFor(t, "the cache", func() bool { return s.Knows(host("a")) && !s.Knows(host("b")) })
	write(path, "a", "b")
	waitFor(t, "a cache written in place", func() bool { return s.Knows(host("b")) })
	write(path+".new", "c")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a cache that was replaced", func() bool { return s.Knows(host("c")) && !s.Knows(host("a")) })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log", func() bool { return strings.Count(log.String(), "not readable") == 2 })
	if !s.Knows(host("c")) || s.Knows(host("a")) {
		t.Error("the old list is gone with its file")
	}
}

// An object that a reload has just added is not rejected, although the cache
// has not been read since.
func TestObjectAddedByReloadIsNotRejected(t *testing.T) {
	o := realtest.NagiosOptions{Hosts: 1, Services: 1}
	n := realtest.StartNagios(t, o)
	s := sinkFor(t, n, nil)
	settle(t, s)
	added := serviceResult(1, "added", checks.OK, "now here")
	if err := s.Submit(t.Context(), []checks.Result{added})[0]; !errors.Is(err, checks.ErrUnknownObject) {
		t.Fatalf("before it was added: %v", err)
	}
	o.Objects = []checks.Object{added.Object}
	n.SetObjects(o)
	n.Reload()
	added.Seq++
	waitFor(t, "the verdict", func() bool {
		err := s.Submit(t.Context(), []checks.Result{added})[0]
		if errors.Is(err, checks.ErrRejected) {
			t.Fatalf("after it was added: %v", err)
		}
		return err == nil
	})
	n.WaitLog("now here")
}

func TestCacheBeingWrittenRejectsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.cache")
	if err := os.WriteFile(path, []byte(smallCache), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	o := newObjects(path, logTo(t))
	look := func(host string) error {
		l := lookup{objects: o}
		return l.check(checks.Object{Host: host})
	}
	if err := look("web2"); !errors.Is(err, checks.ErrUnknownObject) {
		t.Errorf("with a settled cache: %v, want ErrUnknownObject", err)
	}
	writeJustNow(t, path, smallCache)
	if err := look("web2"); !errors.Is(err, errRewriting) {
		t.Errorf("with a cache that has just changed: %v, want errRewriting", err)
	}
	if err := look("web1"); err != nil {
		t.Errorf("known object: %v", err)
	}
}

// writeJustNow writes a cache that counts as just written whenever it is looked
// at for the first time.
func writeJustNow(t testing.TB, path, text string) {
	t.Helper()
	later := time.Now().Add(time.Hour)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, later, later)); err != nil {
		t.Fatal(err)
	}
}

// Within one batch an object stays unknown once it was, even when the cache is
// read meanwhile: its earlier result would be overtaken.
func TestObjectStaysUnknownForTheBatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "objects.cache")
	if err := os.WriteFile(path, []byte(smallCache), 0o644); err != nil {
		t.Fatal(err)
	}
	o := newObjects(path, logTo(t))
	waitFor(t, "the cache", func() bool { return o.refresh() == nil })
	added := "define host {\n\thost_name\tweb2\n\t}\n"
	writeJustNow(t, path, smallCache+added)
	l := lookup{objects: o}
	if err := l.check(checks.Object{Host: "web2"}); !errors.Is(err, errRewriting) {
		t.Fatalf("while it is written: %v, want errRewriting", err)
	}
	waitFor(t, "the new cache", func() bool { return o.knows(checks.Object{Host: "web2"}) || o.refresh() == nil })
	if err := l.check(checks.Object{Host: "web2"}); !errors.Is(err, errRewriting) {
		t.Errorf("later in the same batch: %v, want errRewriting", err)
	}
	l = lookup{objects: o}
	if err := l.check(checks.Object{Host: "web2"}); err != nil {
		t.Errorf("in the next batch: %v", err)
	}
}

// bigCache writes an object cache of hosts with ten services each.
func bigCache(w io.Writer, hosts int) {
	for h := range hosts {
		fmt.Fprintf(w, "define host {\n\thost_name\thost-%06d.example.com\n\talias\tx\n\taddress\t10.0.0.1\n\tcheck_period\talways\n\t}\n\n", h)
		for s := range 10 {
			fmt.Fprintf(w, "define service {\n\thost_name\thost-%06d.example.com\n\tservice_description\tservice number %d\n\tcheck_period\talways\n\tcheck_command\tnothing\n\t}\n\n", h, s)
		}
	}
}

// BenchmarkObjectCache reads the cache of 100,000 hosts with a million services
// and reports what the set takes.
func BenchmarkObjectCache(b *testing.B) {
	path := filepath.Join(b.TempDir(), "objects.cache")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	bigCache(f, 100_000)
	for b.Loop() {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		set, err := readObjects(f)
		if err != nil || set.services != 1_000_000 {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-kept")
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6, "MB-allocated")
		runtime.KeepAlive(set)
	}
}
