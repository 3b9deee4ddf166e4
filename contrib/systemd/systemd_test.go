// Package systemd holds nothing but the test of the unit and its neighbours.
package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

func systemd(t *testing.T, program string, args ...string) (output string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), realtest.Need(t, program), args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnitIsValidAndConfined(t *testing.T) {
	unit := filepath.Join(t.TempDir(), "checkbus.service")
	// verify wants a program that exists.
	write(t, unit, strings.ReplaceAll(read(t, "checkbus.service"), "/usr/local/bin/checkbus", "/bin/true"))
	write(t, unit+".d/nagios.conf", read(t, "nagios.conf"))
	// It exits 0 for keys that it does not know, and may have words for other units.
	if out := systemd(t, "systemd-analyze", "verify", "--man=no", unit); strings.Contains(out, "checkbus") {
		t.Error(out)
	}
	// Tenths of systemd's exposure: 0 is none, 100 is all.
	systemd(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=16", unit)
}

func TestNagiosMayRemoveWhatCheckbusWrites(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a folder to another user")
	}
	root := t.TempDir()
	write(t, root+"/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
	write(t, root+"/etc/group", "root:x:0:\nnagios:x:4242:\n")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	systemd(t, "systemd-sysusers", "--root="+root, filepath.Join(here, "checkbus.sysusers"))
	systemd(t, "systemd-tmpfiles", "--create", "--root="+root, filepath.Join(here, "nagios.tmpfiles"))
	fi, err := os.Stat(root + "/var/lib/nagios4/checkbus")
	if err != nil {
		t.Fatal(err)
	}
	if want := os.ModeDir | os.ModeSetgid | 0o770; fi.Mode() != want {
		t.Errorf("mode %v, want %v", fi.Mode(), want)
	}
	stat := fi.Sys().(*syscall.Stat_t)
	if users, entry := read(t, root+"/etc/passwd"), fmt.Sprintf("checkbus:x:%d:", stat.Uid); !strings.Contains(users, entry) {
		t.Errorf("the owner is not %s in\n%s", entry, users)
	}
	if stat.Gid != 4242 {
		t.Errorf("group %d, want 4242, nagios", stat.Gid)
	}
}

// Who follows the README line by line has made what checkbus needs before it is
// started.
func TestTheFirstStartIsPrepared(t *testing.T) {
	steps := read(t, "README.md")
	at := -1
	for _, step := range []string{
		"/etc/checkbus/checkbus.toml", "/etc/systemd/system/", "systemd-sysusers", "checkbus passwd", "chown checkbus /etc/checkbus/passwd", "check-config", "enable --now",
	} {
		i := strings.Index(steps, step)
		if i <= at {
			t.Errorf("%q comes too early, or not at all", step)
		}
		at = i
	}
}
