package nagios

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"checkbus/checks"
)

func TestCommandLines(t *testing.T) {
	disk := checks.Object{Host: "web1", Service: "Disk /var"}
	at := time.Unix(1795294573, 987654000)
	tests := map[string]struct {
		result         checks.Result
		nagios, naemon string
	}{
		"service": {
			checks.Result{Object: disk, State: checks.Critical, Reason: "97%", Executed: at},
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;2;97%\n",
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;2;97%\n",
		},
		"host": {
			checks.Result{Object: checks.Object{Host: "web1"}, State: checks.Down, Reason: "gone", Executed: at},
			"[1795294573] PROCESS_HOST_CHECK_RESULT;web1;1;gone\n",
			"[1795294573] PROCESS_HOST_CHECK_RESULT;web1;1;gone\n",
		},
		"all parts": {
			checks.Result{Object: disk, Reason: "a\\b\nc\\n\nd", Perfdata: "x=1;2 y=3", Executed: at},
			`[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\\b|x=1;2 y=3\nc\\n\nd` + "\n",
			`[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\b\nc\n\nd|x=1;2 y=3` + "\n",
		},
		"empty output": {
			checks.Result{Object: disk, Executed: at},
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;|\n",
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;|\n",
		},
		"empty first line": {
			checks.Result{Object: disk, Reason: "\nb", Executed: at},
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0; \\nb\n",
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0; \\nb\n",
		},
		"control characters": {
			checks.Result{Object: disk, Reason: "a\r\x00\x1b[2J\x7f\tb", Perfdata: "x=1\n[1] y", Executed: at},
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a   [2J \tb|x=1 [1] y\n",
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a   [2J \tb|x=1 [1] y\n",
		},
		"invalid UTF-8": {
			checks.Result{Object: disk, Reason: "a\xffb", Executed: at},
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\uFFFDb\n",
			"[1795294573] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\uFFFDb\n",
		},
		"no time": {
			checks.Result{Object: disk, Reason: "a"},
			"[0] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\n",
			"[0] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;0;a\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for f, want := range map[format]string{{}: tt.nagios, {naemon: true}: tt.naemon} {
				got, err := f.append(nil, tt.result)
				if err != nil || string(got) != want {
					t.Errorf("%+v: %q, %v\nwant %q", f, got, err, want)
				}
			}
		})
	}
}

func TestNamesThatAreNoFieldAreRejected(t *testing.T) {
	for name, o := range map[string]checks.Object{
		"no host":              {Service: "s"},
		"semicolon in host":    {Host: "a;b"},
		"newline in host":      {Host: "a\n[1] SHUTDOWN_PROGRAM"},
		"NUL in host":          {Host: "a\x00"},
		"semicolon in service": {Host: "a", Service: "b;2"},
		"newline in service":   {Host: "a", Service: "b\nc"},
		"DEL in service":       {Host: "a", Service: "b\x7f"},
	} {
		t.Run(name, func(t *testing.T) {
			line, err := format{}.append(nil, checks.Result{Object: o})
			if !errors.Is(err, checks.ErrRejected) {
				t.Errorf("line %q, error %v, want ErrRejected", line, err)
			}
		})
	}
}

func TestLongCommandIsCutToFit(t *testing.T) {
	disk := checks.Object{Host: "web1", Service: "disk"}
	const limit = 200
	tests := map[string]struct {
		result   checks.Result
		has, not string // "" for nothing
	}{
		"fits":             {checks.Result{Reason: "a\nb", Perfdata: "x=1"}, `;a|x=1\nb`, cutMark},
		"long output":      {checks.Result{Reason: "first\n" + strings.Repeat("l", 500), Perfdata: "x=1"}, `;first|x=1\nlll`, ""},
		"long perfdata":    {checks.Result{Reason: "first\nsecond line", Perfdata: strings.Repeat("x=1 ", 100)}, ";first\\n" + cutMark, "x=1"},
		"long first line":  {checks.Result{Reason: strings.Repeat("f", 500), Perfdata: "x=1"}, ";fff", "x=1"},
		"escapes stay":     {checks.Result{Reason: strings.Repeat(`a\`, 300)}, `;a\\a\\`, `a\` + cutMark},
		"characters stay":  {checks.Result{Reason: strings.Repeat("é", 500)}, "é" + cutMark, ""},
		"everything long":  {checks.Result{Reason: strings.Repeat("a", 300) + "\n" + strings.Repeat("b", 300), Perfdata: strings.Repeat("c", 300)}, cutMark, "c="},
		"injection in cut": {checks.Result{Reason: strings.Repeat("\n[1] X", 100)}, "", "\n[1]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.result.Object = disk
			got, err := format{}.appendFit([]byte("before"), tt.result, limit)
			line, found := strings.CutPrefix(string(got), "before")
			if err != nil || !found || len(line) > limit || strings.Count(line, "\n") != 1 {
				t.Fatalf("%d bytes, %v: %q", len(line), err, got)
			}
			if !strings.Contains(line, tt.has) || tt.not != "" && strings.Contains(line, tt.not) {
				t.Errorf("%q\nwant %q in it and not %q", line, tt.has, tt.not)
			}
			if !utf8.ValidString(line) {
				t.Errorf("a character was broken: %q", line)
			}
		})
	}
	t.Run("names do not fit", func(t *testing.T) {
		_, err := format{}.appendFit(nil, checks.Result{Object: checks.Object{Host: strings.Repeat("h", limit)}}, limit)
		if !errors.Is(err, checks.ErrRejected) {
			t.Errorf("error %v, want ErrRejected", err)
		}
	})
}

var commandLine = regexp.MustCompile(`^\[[0-9]+\] PROCESS_(HOST_CHECK_RESULT;[^;]+|SERVICE_CHECK_RESULT;[^;]+;[^;]+);[0-3];[^\n]+\n$`)

// Whatever a result holds, it makes exactly one command of the right kind with
// the right fields, or an error.
func FuzzCommandIsOneLine(f *testing.F) {
	f.Add("h", "s", "a\nb", "x=1", uint8(2), int64(1795294573), false, uint16(4096))
	f.Add("h", "", "\\", "", uint8(5), int64(-1), true, uint16(60))
	f.Add("h;1", "s\n[1] SHUTDOWN_PROGRAM", "\x00\r\n[1] SHUTDOWN_PROGRAM\n", "|\n", uint8(9), int64(0), false, uint16(0))
	f.Fuzz(func(t *testing.T, host, service, reason, perfdata string, state uint8, at int64, naemon bool, limit uint16) {
		r := checks.Result{
			Object: checks.Object{Host: host, Service: service}, State: checks.State(state),
			Reason: reason, Perfdata: perfdata, Executed: time.Unix(at, 0),
		}
		line, err := format{naemon}.append(nil, r)
		if err == nil && !commandLine.Match(line) {
			t.Errorf("not one command: %q", line)
		}
		short, err := format{naemon}.appendFit(nil, r, int(limit))
		if err == nil && (!commandLine.Match(short) || len(short) > int(limit)) {
			t.Errorf("not one command of at most %d bytes: %q", limit, short)
		}
	})
}
