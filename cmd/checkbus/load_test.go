package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/settings"
)

type sample struct {
	Name  string        `toml:"name"`
	Size  settings.Size `toml:"size"`
	Count int           `toml:"count"`
	On    bool          `toml:"on"`
	URLs  []string      `toml:"urls"`
	Inner struct {
		Wait time.Duration `toml:"wait"`
		Keep string        `toml:"keep"`
	} `toml:"inner"`
	Core *struct {
		File string `toml:"file"`
		Dir  string `toml:"dir"`
	} `toml:"core"`
	Item []struct {
		Address string `toml:"address"`
	} `toml:"item"`
}

func loadText(t *testing.T, text string, into any) (map[string]bool, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := load(path, into)
	if err == nil {
		err = errors.Join(f.errs...)
	}
	if err != nil {
		return nil, errorText(strings.ReplaceAll(err.Error(), path, "c.toml"))
	}
	return f.set, nil
}

type errorText string

func (e errorText) Error() string { return string(e) }

func TestAFileIsReadOverTheDefaults(t *testing.T) {
	s := sample{Name: "default", Count: 7}
	s.Inner.Keep = "kept"
	set, err := loadText(t, `
name = "mine"
size = "2MB"
on = true
urls = ["a", "b"]
[inner]
wait = "1m30s"
[core]
file = "/f"
[[item]]
address = "one"
[[item]]
address = "two"
`, &s)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "mine" || s.Size != 2_000_000 || s.Count != 7 || !s.On || len(s.URLs) != 2 || s.Inner.Wait != 90*time.Second ||
		s.Inner.Keep != "kept" || s.Core == nil || s.Core.File != "/f" || len(s.Item) != 2 || s.Item[1].Address != "two" {
		t.Errorf("read %+v", s)
	}
	if !set["core"] || !set["inner.wait"] || set["count"] {
		t.Errorf("set = %v", set)
	}
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"syntax":              {"name = \n", "c.toml:1: "},
		"unknown key":         {"nmae = \"x\"\n", "c.toml:1: nmae: unknown key"},
		"unknown key below":   {"[inner]\nwiat = \"1s\"\n", "c.toml:2: inner.wiat: unknown key"},
		"unknown table":       {"[iner]\nwait = \"1s\"\n", "c.toml:1: iner: unknown key"},
		"pre-shared keys":     {"psk_file = \"x\"\n", "c.toml:1: psk_file: unknown key: there are no pre-shared keys; use client certificates (client_ca, identity; in a bridge cert, key)"},
		"those of a bridge":   {"[[item]]\nbridge_psk = \"x\"\n", "c.toml:2: item[0].bridge_psk: unknown key: there are no pre-shared keys; use client certificates"},
		"text for number":     {"count = \"7\"\n", "c.toml:1: count: must be a number, not a string"},
		"fraction":            {"count = 1.5\n", "c.toml:1: count: must be a number, not a fraction"},
		"date":                {"count = 2026-11-21\n", "c.toml:1: count: must be a number, not a date"},
		"number for text":     {"\n\nname = 7\n", "c.toml:3: name: must be a string, not a number"},
		"text for bool":       {"on = \"yes\"\n", "c.toml:1: on: must be true or false, not a string"},
		"text for list":       {"urls = \"a\"\n", "c.toml:1: urls: must be a list, not a string"},
		"bad size":            {"size = \"big\"\n", `c.toml:1: size: "big" is not a size such as "256KiB" or "2MB"`},
		"bad duration":        {"[inner]\nwait = \"soon\"\n", "c.toml:2: inner.wait: "},
		"value for table":     {"inner = 1\n", "c.toml:1: inner: must be a table"},
		"table for tables":    {"[item]\naddress = \"x\"\n", "c.toml:1: item: must be an array of tables, [[item]]"},
		"in the second table": {"[[item]]\naddress = \"x\"\n[[item]]\naddress = 5\n", "c.toml:4: item[1].address: must be a string, not a number"},
		"two mistakes":        {"nmae = 1\ncount = \"x\"\n", "c.toml:2: count: must be a number, not a string\nc.toml:1: nmae: unknown key"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s sample
			_, err := loadText(t, tt.text, &s)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("load = %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestAMissingFileIsAnErrorThatNamesIt(t *testing.T) {
	if _, err := load("/nonexistent/checkbus.toml", &sample{}); err == nil || !strings.Contains(err.Error(), "/nonexistent/checkbus.toml") {
		t.Errorf("load = %v", err)
	}
}
