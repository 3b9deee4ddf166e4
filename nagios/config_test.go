package nagios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfigMistakesAreNamedByKey(t *testing.T) {
	tests := map[string]struct {
		config Config
		want   string // the whole error, lines joined; "" for none
	}{
		"lines":    {Config{CommandFile: "/rw/nagios.cmd"}, ""},
		"batches":  {Config{CommandFile: "/rw/nagios.cmd", BatchDir: "/batch", ObjectCache: "/objects.cache", Core: "naemon"}, ""},
		"empty":    {Config{}, "nagios.command_file: required"},
		"relative": {Config{CommandFile: "cmd", BatchDir: "b", ObjectCache: "o"}, `nagios.command_file: "cmd" is not an absolute path; nagios.batch_dir: "b" is not an absolute path; nagios.object_cache: "o" is not an absolute path`},
		"semicolon": {
			Config{CommandFile: "/a;b", BatchDir: "/a;b"}, `nagios.batch_dir: "/a;b" holds a semicolon or a control character`,
		},
		"newline":    {Config{CommandFile: "/a", BatchDir: "/a\nb"}, `nagios.batch_dir: "/a\nb" holds a semicolon or a control character`},
		"long":       {Config{CommandFile: "/a", BatchDir: "/" + strings.Repeat("b", 4000)}, "nagios.batch_dir: longer than 3072 bytes"},
		"feed":       {Config{CommandFile: "/a", LogFile: "/log", StatusFile: "/status"}, ""},
		"nerd":       {Config{CommandFile: "/a", LogFile: "/log", StatusFile: "/status", QuerySocket: "/qh", Core: "naemon"}, ""},
		"no nerd":    {Config{CommandFile: "/a", LogFile: "/log", StatusFile: "/status", QuerySocket: "/qh"}, `nagios.query_socket: needs core = "naemon" and log_file`},
		"no status":  {Config{CommandFile: "/a", LogFile: "/log"}, "nagios.status_file: required with log_file"},
		"no log":     {Config{CommandFile: "/a", StatusFile: "/status"}, "nagios.log_file: required with status_file"},
		"a log away": {Config{CommandFile: "/a", LogFile: "log", StatusFile: "status"}, `nagios.log_file: "log" is not an absolute path; nagios.status_file: "status" is not an absolute path`},
		"core":       {Config{CommandFile: "/a", Core: "icinga"}, `nagios.core: "icinga" is neither nagios nor naemon`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.config.Validate(); err != nil {
				got = strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			if got != tt.want {
				t.Errorf("error %q\nwant  %q", got, tt.want)
			}
		})
	}
}

func TestCheckLooksAtWhatIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		config Config
		want   string
	}{
		"core is down":           {Config{CommandFile: filepath.Join(dir, "none"), BatchDir: dir}, ""},
		"file instead of FIFO":   {Config{CommandFile: file}, "nagios.command_file: " + file + " is not a FIFO"},
		"files to come":          {Config{CommandFile: filepath.Join(dir, "none"), LogFile: filepath.Join(dir, "log"), StatusFile: filepath.Join(dir, "status")}, ""},
		"below a file":           {Config{CommandFile: filepath.Join(dir, "none"), LogFile: filepath.Join(file, "log")}, "nagios.log_file: access " + file},
		"no folder":              {Config{BatchDir: filepath.Join(dir, "none")}, "nagios.batch_dir: stat"},
		"file instead of folder": {Config{BatchDir: file}, "nagios.batch_dir: " + file + " is not a directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.config.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
