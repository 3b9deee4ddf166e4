package nagios

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"checkbus/checks"
)

func TestLogLinesAreRead(t *testing.T) {
	at := time.Unix(1795304627, 0)
	disk, host := checks.Object{Host: "web1", Service: "Disk /var"}, checks.Object{Host: "web1"}
	tests := map[string]struct {
		line string
		want logLine // zero: it tells of no object
	}{
		"service":        {"SERVICE ALERT: web1;Disk /var;CRITICAL;SOFT;1;crit", logLine{Object: disk, kind: alert, state: checks.Critical, soft: true, attempt: 1, output: "crit"}},
		"semicolons":     {"SERVICE ALERT: web1;Disk /var;OK;HARD;3;a;b: c;", logLine{Object: disk, kind: alert, attempt: 3, output: "a;b: c;"}},
		"no output":      {"SERVICE ALERT: web1;Disk /var;UNKNOWN;HARD;1;(null)", logLine{Object: disk, kind: alert, state: checks.Unknown, attempt: 1}},
		"host":           {"HOST ALERT: web1;UNREACHABLE;SOFT;2;far;away", logLine{Object: host, kind: alert, state: checks.Unreachable, soft: true, attempt: 2, output: "far;away"}},
		"current":        {"CURRENT SERVICE STATE: web1;Disk /var;WARNING;HARD;4;hm", logLine{Object: disk, kind: standing, state: checks.Warning, attempt: 4, output: "hm"}},
		"initial":        {"INITIAL HOST STATE: web1;UP;HARD;1;ping", logLine{Object: host, kind: standing, state: checks.Up, attempt: 1, output: "ping"}},
		"pending":        {"INITIAL HOST STATE: web1;UP;HARD;1;(null)", logLine{}},
		"downtime":       {"SERVICE DOWNTIME ALERT: web1;Disk /var;STARTED; Service has entered", logLine{Object: disk, kind: downtime, on: true}},
		"downtime ends":  {"HOST DOWNTIME ALERT: web1;STOPPED; Host has exited", logLine{Object: host, kind: downtime}},
		"cancelled":      {"HOST DOWNTIME ALERT: web1;CANCELLED; Scheduled downtime", logLine{Object: host, kind: downtime}},
		"flapping":       {"HOST FLAPPING ALERT: web1;STARTED; Host appears", logLine{Object: host, kind: flapping, on: true}},
		"no flapping":    {"SERVICE FLAPPING ALERT: web1;Disk /var;DISABLED; Flap detection", logLine{Object: disk, kind: flapping}},
		"acknowledged":   {"EXTERNAL COMMAND: ACKNOWLEDGE_SVC_PROBLEM;web1;Disk /var;1;1;0;me;on it", logLine{Object: disk, kind: acknowledgement, on: true}},
		"sticky":         {"EXTERNAL COMMAND: ACKNOWLEDGE_HOST_PROBLEM;web1;2;1;0;me;on it", logLine{Object: host, kind: acknowledgement, on: true, sticky: true}},
		"removed":        {"EXTERNAL COMMAND: REMOVE_SVC_ACKNOWLEDGEMENT;web1;Disk /var", logLine{Object: disk, kind: acknowledgement}},
		"removed, host":  {"EXTERNAL COMMAND: REMOVE_HOST_ACKNOWLEDGEMENT;web1", logLine{Object: host, kind: acknowledgement}},
		"Latin-1":        {"HOST ALERT: web1;DOWN;HARD;1;gest\xf6rt", logLine{Object: host, kind: alert, state: checks.Down, attempt: 1, output: "gest\uFFFDrt"}},
		"escape":         {"HOST ALERT: web1;DOWN;HARD;1;a\x1b[31mb\u009b", logLine{Object: host, kind: alert, state: checks.Down, attempt: 1, output: "a [31mb "}},
		"passive":        {"PASSIVE SERVICE CHECK: web1;Disk /var;0;the state before", logLine{}},
		"a result":       {"EXTERNAL COMMAND: PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;2;x", logLine{}},
		"notification":   {"SERVICE NOTIFICATION: me;web1;Disk /var;CRITICAL;mail;crit", logLine{}},
		"start":          {"Nagios 4.4.6 starting... (PID=8693)", logLine{}},
		"reload":         {"Caught SIGHUP, restarting...", logLine{}},
		"another state":  {"SERVICE ALERT: web1;Disk /var;DOWN;HARD;1;x", logLine{}},
		"another type":   {"SERVICE ALERT: web1;Disk /var;OK;FIRM;1;x", logLine{}},
		"no attempt":     {"HOST ALERT: web1;DOWN;HARD;0;x", logLine{}},
		"too few":        {"SERVICE ALERT: web1;Disk /var;OK;HARD", logLine{}},
		"no name":        {"HOST ALERT: ;DOWN;HARD;1;x", logLine{}},
		"no service":     {"SERVICE ALERT: web1;;OK;HARD;1;x", logLine{}},
		"unknown change": {"HOST DOWNTIME ALERT: web1;PAUSED; x", logLine{}},
		"nothing":        {"", logLine{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.want.kind != 0 {
				tt.want.at = at
			}
			if got, ok := parseLine([]byte("[1795304627] " + tt.line)); got != tt.want || ok != (got.kind != 0) {
				t.Errorf("got  %+v, %t\nwant %+v", got, ok, tt.want)
			}
		})
	}
	for _, line := range []string{"", "[", "[]", "[x] ", "[-1] HOST ALERT: a;UP;HARD;1;x", "HOST ALERT: a;UP;HARD;1;x", "[1795304627]HOST ALERT: a;UP;HARD;1;x"} {
		if got, ok := parseLine([]byte(line)); ok {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add([]byte("[1795304627] SERVICE ALERT: web1;Disk /var;CRITICAL;SOFT;1;crit"))
	f.Add([]byte("[1795304627] HOST ALERT: web1;DOWN;HARD;1;a;b"))
	f.Add([]byte("[1795304627] SERVICE DOWNTIME ALERT: web1;Disk /var;STARTED; Service"))
	f.Add([]byte("[1795304627] EXTERNAL COMMAND: REMOVE_HOST_ACKNOWLEDGEMENT;web1"))
	f.Add([]byte("[1795304627] INITIAL HOST STATE: w\xf6b;UP;HARD;1;(null)"))
	f.Fuzz(func(t *testing.T, line []byte) {
		before := string(line)
		l, ok := parseLine(line)
		if string(line) != before {
			t.Fatal("the line was changed")
		}
		if !ok {
			return
		}
		if l.Host == "" || l.kind == 0 || l.state.String() == "INVALID" || l.at.Unix() < 0 {
			t.Errorf("read as %+v", l)
		}
		for _, s := range []string{l.Host, l.Service, l.output} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\r") {
				t.Errorf("text %q", s)
			}
		}
	})
}

func BenchmarkLogLine(b *testing.B) {
	line := []byte("[1795304627] SERVICE ALERT: h0000;s000;CRITICAL;HARD;1;DISK CRITICAL - free space: / 326 MB (5% inode=97%)")
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, ok := parseLine(line); !ok {
			b.Fatal("not read")
		}
	}
}
