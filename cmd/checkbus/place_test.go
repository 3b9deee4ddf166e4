package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMistakesOfEveryKindAreToldAtOnceAtTheirPlaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkbus.toml")
	text := `nope = 1
data_dir = "/dev/null"
[log]
format = "xml"
[results]
root = 5
[[listener]]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
tls_cert = "/nonexistent/crt"
tls_key = "/nonexistent/key"
[access]
acl_file = "/nonexistent/acl"
[nagios]
[[bridge]]
name = "dc2"
address = ["mqtts://dc2"]
topics = ["# in"]
ca = "/nonexistent/ca"
cert = "/dev/null"
key = "/nonexistent/own"
[icinga]
url = ["https://icinga"]
ca = "/nonexistent/icinga"
client_cert = "/nonexistent/client"
client_key = "/nonexistent/secret"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readSettings(path)
	if err == nil {
		t.Fatal("no error")
	}
	told := strings.ReplaceAll(err.Error(), path, "c.toml")
	for _, want := range []string{
		"c.toml:1: nope: unknown key",
		"c.toml:2: data_dir: /dev/null is not a directory",
		"c.toml:4: log.format: ",
		"c.toml:6: results.root: must be a string",
		"c.toml:11: listener[1].tls_cert: open /nonexistent/crt: ",
		"c.toml:12: listener[1].tls_key: open /nonexistent/key: ",
		"c.toml:14: access.acl_file: read ACL: open /nonexistent/acl: ",
		"c.toml:15: nagios.command_file: required",
		"c.toml:20: bridge[0].ca: open /nonexistent/ca: ",
		"c.toml:22: bridge[0].key: open /nonexistent/own: ",
		"c.toml:25: icinga.ca: open /nonexistent/icinga: ",
		"c.toml:26: icinga.client_cert: open /nonexistent/client: ",
		"c.toml:27: icinga.client_key: open /nonexistent/secret: ",
	} {
		if n := strings.Count("\n"+told, "\n"+want); n != 1 {
			t.Errorf("%d times %s", n, want)
		}
	}
	if n := strings.Count(told, "\n") + 1; n != 13 {
		t.Errorf("%d mistakes told:\n%s", n, told)
	}
}

func TestAMistakeIsPlacedAtItsKeyOrElseAtItsTable(t *testing.T) {
	text := `data_dir = "/d"
log.level = "info"
web = {address = ""}
[[listener]]
address = "a"
[[listener]]
tls_cert = "c"
[results]
"root" = "r"
`
	for key, want := range map[string]string{
		"data_dir":            "f:1",
		"log.level":           "f:2",
		"web.address":         "f:3",
		"listener[0].address": "f:5",
		"listener[0].path":    "f:4",
		"listener[1].address": "f:6",
		"listener[1].tls_key": "f:6",
		"results.root":        "f:9",
		"results.max_reason":  "f:8",
		"spool.max_size":      "f",
		"listener":            "f:4",
	} {
		f := newSettingsFile("f", text)
		if got := f.place(keyPath(key)); got != want {
			t.Errorf("%s is placed at %s, want %s", key, got, want)
		}
	}
}
