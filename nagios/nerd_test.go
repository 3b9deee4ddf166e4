package nagios

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"checkbus/checks"
)

// Lines as Naemon 1.5.2 sends them.
func TestNaemonsCheckLinesAreRead(t *testing.T) {
	tests := map[string]struct {
		line string
		want checkLine // zero: it tells of no check
	}{
		"service":       {"h0000;s000 from 0 -> 2: crit|a=1 b=2", checkLine{service("s000"), checks.Critical, "crit", "a=1 b=2"}},
		"host":          {"h0000 from 0 -> 1: no answer", checkLine{service(""), checks.Down, "no answer", ""}},
		"from in names": {"h0000;away from home from 1 -> 0: from 0 -> 2: x", checkLine{service("away from home"), checks.OK, "from 0 -> 2: x", ""}},
		"no output":     {"h0000;s000 from 0 -> 0: ", checkLine{service("s000"), checks.OK, "", ""}},
		"long output":   {"second line of it", checkLine{}},
		"cut":           {"h0000;s000 from 0 -> 0", checkLine{}},
		"nothing":       {"", checkLine{}},
		"no host":       {" from 0 -> 0: x", checkLine{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parseCheck([]byte(tt.line))
			if ok != (tt.want.Host != "") || ok && got != tt.want {
				t.Errorf("got  %+v, %t\nwant %+v", got, ok, tt.want)
			}
		})
	}
}

func FuzzCheckLine(f *testing.F) {
	f.Add([]byte("h0000;s000 from 0 -> 2: crit|a=1"))
	f.Add([]byte("a from b from 0 -> 1: x"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if c, ok := parseCheck(line); ok && (c.Host == "" || c.state.String() == "INVALID") {
			t.Errorf("read as %+v", c)
		}
	})
}

// A query handler tells of checks that change nothing; what changes waits for
// the log. It comes back after a reload of Naemon.
func TestChecksWithoutAChangeComeFromNaemonsRadio(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{
		CommandFile: filepath.Join(dir, "cmd"), LogFile: filepath.Join(dir, "log"), StatusFile: filepath.Join(dir, "status"),
		QuerySocket: filepath.Join(dir, "qh"), Core: coreNaemon,
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.StatusFile, []byte(statusHead+statusHost+statusService), 0o644); err != nil {
		t.Fatal(err)
	}
	w := follow(t, New(cfg, noHistory, logTo(t)))
	handler, err := net.Listen("unix", cfg.QuerySocket)
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	for _, reason := range []string{"still down", "after a reload"} {
		conn, err := handler.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"@nerd subscribe servicechecks\x00", "@nerd subscribe hostchecks\x00"} {
			request := make([]byte, len(want))
			if _, err := io.ReadFull(conn, request); err != nil || string(request) != want {
				t.Fatalf("asked %q, %v; want %q", request, err, want)
			}
		}
		if _, err := conn.Write([]byte("h0000;s000 from 2 -> 0: not in the log\nh0000 from 1 -> 1: " + reason + "|rta=1\nlong\n")); err != nil {
			t.Fatal(err)
		}
		got := w.await(t, service(""), reason, func(s checks.Status) bool { return s.Reason == reason })
		if got.State != checks.Down || got.Perfdata != "rta=1" || time.Since(got.Time) > time.Minute {
			t.Errorf("told %+v", got)
		}
		conn.Close()
	}
	if got, _ := w.get(service("s000")); got.State != checks.Critical {
		t.Errorf("told %+v", got)
	}
}
