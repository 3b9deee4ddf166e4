package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNoFileMeansALoopbackBrokerWithoutACore(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/state")
	s, err := readSettings("")
	if err != nil {
		t.Fatal(err)
	}
	if s.DataDir != "/state" || len(s.Listener) != 1 || s.Listener[0].Address != "127.0.0.1:1883" || s.Nagios != nil || s.Icinga != nil || s.Subscribe != nil {
		t.Errorf("settings = %+v", s)
	}
}

func TestTheDataDirFollowsTheEnvironment(t *testing.T) {
	tests := map[string]struct{ state, xdg, home, want string }{
		"systemd":  {"/var/lib/checkbus", "/x", "/h", "/var/lib/checkbus"},
		"xdg":      {"", "/x", "/h", "/x/checkbus"},
		"home":     {"", "", "/h", "/h/.local/state/checkbus"},
		"nothing ": {"", "", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", tt.state)
			t.Setenv("XDG_STATE_HOME", tt.xdg)
			t.Setenv("HOME", tt.home)
			if got := defaultDataDir(); got != tt.want {
				t.Errorf("data_dir = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBadSettingsAreNamedByTheirKeys(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"log":            {"[log]\nlevel = \"loud\"\nformat = \"xml\"", []string{"log.level: \"loud\" is none of debug, info, warn and error", "log.format: "}},
		"log format":     {"[log]\nformat = \"xml\"", []string{"log.format: \"xml\" is neither text nor json"}},
		"empty key":      {"\"\" = 1\n[subscribe]\n\"\" = 1", []string{": : unknown key", "subscribe.: unknown key"}},
		"root":           {"[results]\nroot = \"a/#\"", []string{"results.root: "}},
		"reserved root":  {"[results]\nroot = \"checkbus/in\"", []string{"results.root: "}},
		"sizes":          {"[results]\nmax_payload = \"1\"\nmax_reason = \"1\"\n[spool]\nmax_size = \"9\"", []string{"results.max_payload: ", "results.max_reason: ", "spool.max_size: "}},
		"bad listener":   {"[[listener]]\naddress = \"nowhere\"", []string{"listener[0].address: "}},
		"sys interval":   {"[broker]\nsys_interval = \"10ms\"", []string{"broker.sys_interval: 10ms is neither 0s nor 1s or more"}},
		"queues":         {"[broker]\nmax_queued_messages = 0\nmax_queued_bytes = \"1\"\nmax_stored = \"1KiB\"", []string{"broker.max_queued_messages: ", "broker.max_queued_bytes: ", "broker.max_stored: "}},
		"sessions":       {"[broker]\nmax_sessions = 9\nmax_retained = \"1KiB\"\nmax_kept = \"1KiB\"", []string{"broker.max_sessions: ", "broker.max_retained: ", "broker.max_kept: "}},
		"bad interval":   {"[broker]\nsys_interval = \"often\"", []string{"broker.sys_interval: "}},
		"plain interval": {"[broker]\nsys_interval = 10", []string{"broker.sys_interval: "}},
		"events":         {"[publish]\nevents = \"some\"", []string{"publish.events: \"some\" is neither changes nor all"}},
		"nagios, empty":  {"[nagios]", []string{"nagios.command_file: "}},
		"icinga, empty":  {"[icinga]", []string{"icinga.url: "}},
		"subscribe":      {"[subscribe]", []string{"subscribe.address: required"}},
		"its keys":       {"[subscribe]\naddress = [\"mqtt://a\"]\nqos = 0\npassword = \"x\"", []string{"subscribe.password: unknown key"}},
		"its loop":       {"[subscribe]\naddress = [\"mqtt://a\"]\npublish_prefix = \"nagios/\"", []string{"subscribe.publish_prefix: "}},
		"its payloads":   {"[subscribe]\naddress = [\"mqtt://a\"]\n[results]\nmax_payload = \"2MB\"", []string{"results.max_payload: "}},
		"several tables": {"[nagios]\n[icinga]\n[log]\nformat = \"xml\"", []string{"nagios.command_file: ", "icinga.url: ", "log.format: "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "checkbus.toml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := readSettings(path)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
					t.Errorf("readSettings = %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestFiguresMayBePublishedAtAnyPaceOrNever(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"":                                 10 * time.Second,
		"[broker]\nsys_interval = \"1s\"":  time.Second,
		"[broker]\nsys_interval = \"15m\"": 15 * time.Minute,
		"[broker]\nsys_interval = \"0s\"":  0,
		"[broker]\nsys_interval = 0":       0,
	} {
		path := filepath.Join(t.TempDir(), "checkbus.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readSettings(path)
		if err != nil || s.broker().SysInterval != want {
			t.Errorf("%q: %v, %v; want %v", text, s.broker().SysInterval, err, want)
		}
	}
}
