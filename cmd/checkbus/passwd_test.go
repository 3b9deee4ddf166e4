package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"checkbus/broker"

	"golang.org/x/sys/unix"
)

func TestPasswdChangesAPasswordFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	steps := []struct {
		args   []string
		stdin  string
		code   int
		stderr string
	}{
		{[]string{path, "web1"}, "first\n", 0, ""},
		{[]string{path, "db1"}, "secret two\r\nignored\n", 0, ""},
		{[]string{path, "web1"}, " no newline", 0, ""},
		{[]string{path, "gone"}, "x\n", 0, ""},
		{[]string{"-D", path, "gone"}, "", 0, ""},
		{[]string{"-D", path, "gone"}, "", 1, "checkbus: there is no user \"gone\" in " + path + "\n"},
		{[]string{path, "empty"}, "\n", 1, "checkbus: the password is empty\n"},
		{[]string{path, "nothing"}, "", 1, "checkbus: the password is empty\n"},
		{[]string{path, "a:b"}, "x\n", 1, "checkbus: user name \"a:b\": colons and control characters are not possible\n"},
		{[]string{path}, "x\n", 2, passwdUsage},
		{[]string{path, "a", "b"}, "x\n", 2, passwdUsage},
		{[]string{"-x", path, "a"}, "x\n", 2, "flag provided but not defined: -x\n" + passwdUsage},
		{[]string{"-h"}, "", 0, passwdUsage},
	}
	for _, s := range steps {
		var stderr bytes.Buffer
		err := runPasswd(t.Context(), s.args, strings.NewReader(s.stdin), &stderr)
		if code := exitCode(err, &stderr); code != s.code || stderr.String() != s.stderr {
			t.Errorf("passwd %q: exit code %d, want %d; stderr %q, want %q", s.args, code, s.code, stderr.String(), s.stderr)
		}
	}
	passwords, err := broker.ReadPasswords(path)
	if err != nil {
		t.Fatal(err)
	}
	for user, password := range map[string]string{"web1": " no newline", "db1": "secret two"} {
		if !passwords.Check(user, password) {
			t.Errorf("the password of %s is not as given", user)
		}
	}
	if passwords.Check("gone", "x") {
		t.Error("a deleted user is still there")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestPasswdAsksTwiceWithoutEcho(t *testing.T) {
	tests := map[string]struct {
		typed  string
		code   int
		stderr string
	}{
		"same":   {"secret\rsecret\r", 0, "Password: \nAgain: \n"},
		"differ": {"secret\rSecret\r", 1, "Password: \nAgain: \ncheckbus: the passwords differ\n"},
		"empty":  {"\r\r", 1, "Password: \nAgain: \ncheckbus: the password is empty\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			master, terminal := openTerminal(t)
			path := filepath.Join(t.TempDir(), "passwd")
			var stderr bytes.Buffer
			done := make(chan error)
			go func() { done <- runPasswd(t.Context(), []string{path, "bob"}, terminal, &stderr) }()
			awaitEcho(t, terminal, false)
			if _, err := io.WriteString(master, tt.typed); err != nil {
				t.Fatal(err)
			}
			if code := exitCode(<-done, &stderr); code != tt.code || stderr.String() != tt.stderr {
				t.Errorf("exit code %d, stderr %q", code, stderr.String())
			}
			if tt.code == 0 {
				passwords, err := broker.ReadPasswords(path)
				if err != nil || !passwords.Check("bob", "secret") {
					t.Errorf("the password is not as typed: %v", err)
				}
			}
			if err := master.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if echo, _ := io.ReadAll(master); len(echo) > 0 {
				t.Errorf("the terminal shows %q", echo)
			}
			awaitEcho(t, terminal, true)
		})
	}
}

func TestPasswdCanBeInterrupted(t *testing.T) {
	master, terminal := openTerminal(t)
	path := filepath.Join(t.TempDir(), "passwd")
	ctx, interrupt := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- runPasswd(ctx, []string{path, "bob"}, terminal, io.Discard) }()
	awaitEcho(t, terminal, false)
	interrupt()
	if err := <-done; err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v", err)
	}
	awaitEcho(t, terminal, true)
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is written")
	}
	// The read that goes on ends with a line, and then gives the terminal its echo
	// once more, by a number that may be another file's when the test is over.
	hideEcho(t, terminal)
	if _, err := io.WriteString(master, "\r"); err != nil {
		t.Fatal(err)
	}
	awaitEcho(t, terminal, true)
}

// hideEcho has terminal not show what is typed.
func hideEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	fd := int(terminal.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	state.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, state); err != nil {
		t.Fatal(err)
	}
}

// openTerminal returns the two ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	master = os.NewFile(uintptr(fd), "master")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return master, terminal
}

// awaitEcho waits until terminal shows what is typed, or does not.
func awaitEcho(t *testing.T, terminal *os.File, want bool) {
	t.Helper()
	for {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
		runtime.Gosched()
	}
}
