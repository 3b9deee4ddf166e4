package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

// What SetPassword writes, mosquitto_passwd edits and Mosquitto reads.
func TestMosquittoReadsWhatSetPasswordWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	users := map[string]string{"bob": "secret1", "a b": "Grüße $: x", "+/#": "plus", "%u": strings.Repeat("long", 100)}
	for user, password := range users {
		if err := SetPassword(path, user, password); err != nil {
			t.Fatal(err)
		}
	}
	program := realtest.Need(t, "mosquitto_passwd")
	if out, err := exec.Command(program, "-b", path, "theirs", "x").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v: %s", err, out)
	}
	users["theirs"] = "x"
	p, err := ReadPasswords(path)
	if err != nil {
		t.Fatal(err)
	}
	ask := askPasswords(t, path)
	for user, password := range users {
		for _, given := range []string{password, password + "x", ""} {
			want := given == password
			if ours, mosquitto := p.Check(user, given), ask(user, given); ours != want || mosquitto != want {
				t.Errorf("%q with %.20q: Mosquitto says %t, we say %t", user, given, mosquitto, ours)
			}
		}
	}
}

func TestSetPasswordKeepsTheRestOfTheFile(t *testing.T) {
	tests := map[string]struct {
		before string
		want   string // HASH stands for bob's new hash
	}{
		"empty":            {"", "bob:HASH\n"},
		"others":           {"# us\n\nann:x\r\neve:y\n", "# us\n\nann:x\r\neve:y\nbob:HASH\n"},
		"no last newline":  {"ann:x", "ann:x\nbob:HASH\n"},
		"in its place":     {"ann:x\nbob:secret\neve:y", "ann:x\nbob:HASH\neve:y"},
		"once":             {"bob:x\nann:x\n bob :y\nbob:z", "bob:HASH\nann:x\n"},
		"not the comment":  {"#bob:x\nbobby:x\n", "#bob:x\nbobby:x\nbob:HASH\n"},
		"not without hash": {"bob\n", "bob\nbob:HASH\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "passwd")
			if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := SetPassword(path, "bob", "new"); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			before, rest, ok := strings.Cut(tt.want, "HASH")
			hash, foundRest := strings.CutPrefix(string(got), before)
			hash, foundRest2 := strings.CutSuffix(hash, rest)
			if !ok || !foundRest || !foundRest2 {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			if h, err := parsePasswordHash(hash); err != nil || !h.matches("new") {
				t.Errorf("hash %q: %v", hash, err)
			}
		})
	}
}

func TestSetPasswordKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link, fresh := filepath.Join(dir, "passwd"), filepath.Join(dir, "link"), filepath.Join(dir, "fresh")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("passwd", link); err != nil {
		t.Fatal(err)
	}
	owner := os.Getuid()
	if owner == 0 { // only root gives files away
		owner = 65534
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{link, fresh} {
		if err := SetPassword(p, "bob", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link became %v, %v", info, err)
	}
	for p, want := range map[string]struct {
		mode  fs.FileMode
		owner int
	}{path: {0o640, owner}, fresh: {0o600, os.Getuid()}} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want.mode || ownerOf(info) != want.owner {
			t.Errorf("%s: mode %v, owner %d, want %v, %d", p, info.Mode(), ownerOf(info), want.mode, want.owner)
		}
	}
}

func TestSetPasswordRefusesWhatAFileCannotHold(t *testing.T) {
	tests := map[string]struct{ user, password string }{
		"no user":            {"", "x"},
		"colon":              {"a:b", "x"},
		"newline":            {"a\nb", "x"},
		"control character":  {"a\x7fb", "x"},
		"comment":            {"#a", "x"},
		"space first":        {" a", "x"},
		"space last":         {"a\u00a0", "x"},
		"not UTF-8":          {"a\xff", "x"},
		"long user":          {strings.Repeat("a", maxString+1), "x"},
		"no password":        {"a", ""},
		"long password":      {"a", strings.Repeat("a", maxString+1)},
		"NUL in a password":  {"a", "x\x00y"},
		"NUL in a user name": {"a\x00", "x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "passwd")
			if err := SetPassword(path, tt.user, tt.password); err == nil {
				t.Error("taken")
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the file is there: %v", err)
			}
		})
	}
}

func TestDeletePasswordRemovesTheUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte("# x\nbob:a\nann:b\nbob:c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := DeletePassword(path, "bob"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "# x\nann:b\n" {
		t.Errorf("left: %q, %v", got, err)
	}
	if err := DeletePassword(path, "bob"); err == nil || !strings.Contains(err.Error(), `no user "bob"`) {
		t.Errorf("a second time: %v", err)
	}
}

func TestPasswordsSetAtTheSameTimeAllStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := SetPassword(path, fmt.Sprint("user", i), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p, err := ReadPasswords(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.users) != 8 {
		t.Errorf("%d users are left of 8", len(p.users))
	}
}

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
