package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"checkbus/internal/realtest"
)

// TestCommandsAsUsersMeetThem runs the scripts in testdata. $HOME is their own
// folder, $HOST and $PORT are where nothing listens yet.
func TestCommandsAsUsersMeetThem(t *testing.T) {
	for _, client := range []string{"mosquitto_pub", "mosquitto_sub"} {
		realtest.Need(t, client)
	}
	testscript.Run(t, testscript.Params{
		Dir:      "testdata",
		Deadline: time.Now().Add(2 * limit),
		Setup: func(env *testscript.Env) error {
			host, port, err := net.SplitHostPort(realtest.FreeAddr(t))
			if err != nil {
				return err
			}
			env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", gorace)
			env.Setenv("HOST", host)
			env.Setenv("PORT", port)
			settings := "[[listener]]\naddress = \"" + net.JoinHostPort(host, port) + "\"\n[web]\naddress = \"127.0.0.1:0\"\n"
			return os.WriteFile(filepath.Join(env.WorkDir, "checkbus.toml"), []byte(settings), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"listening": listening,
			"says":      says,
			"terminate": terminate,
		},
	})
}

// exits runs a command that must end with an exit code: exits CODE PROGRAM...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// listening waits until somebody listens on $HOST:$PORT.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: listening")
	}
	addr := net.JoinHostPort(ts.Getenv("HOST"), ts.Getenv("PORT"))
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if nc, err := net.Dial("tcp", addr); err == nil {
			ts.Check(nc.Close())
			return
		} else if time.Now().After(end) {
			ts.Fatalf("nobody listens after %v: %v", limit, err)
		}
	}
}

// says waits until a file that something in the background writes matches:
// says FILE REGEXP.
func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says FILE REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(text) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("after %v %s says %q", limit, args[0], text)
		}
	}
}

// terminate sends SIGTERM to what runs in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// TestShippedSettingsAreRead reads every settings file that users may start
// from, as check-config does.
func TestShippedSettingsAreRead(t *testing.T) {
	var files []string
	for _, root := range []string{"../../examples", "../../contrib"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".toml") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(files, "../../examples/settings/minimal.toml") {
		t.Errorf("found only %q", files)
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/etc/checkbus/icinga-ca.crt", realtest.NewAuthority(t, dir).File, "/etc/checkbus/icinga.secret", secret)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "checkbus.toml")
		if err := os.WriteFile(path, []byte(here.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readSettings(path); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
