package durable

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteFileReplaces(t *testing.T) {
	tests := map[string]struct {
		before []byte
		data   []byte
		perm   os.FileMode
	}{
		"new file":        {nil, []byte("new"), 0o600},
		"shorter":         {[]byte("a longer text"), []byte("x"), 0o600},
		"empty":           {[]byte("old"), []byte{}, 0o600},
		"wider than mask": {[]byte("old"), []byte("new"), 0o666},
		"large":           {[]byte("old"), bytes.Repeat([]byte("x"), 1<<20), 0o640},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if tt.before != nil {
				if err := os.WriteFile(path, tt.before, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteFile(path, tt.data, tt.perm); err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, tt.data)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != tt.perm {
				t.Errorf("permissions are %v, want %v", info.Mode().Perm(), tt.perm)
			}
			wantAlone(t, path)
		})
	}
}

// A write that cannot be finished leaves the old content, and no leftovers.
func TestFailedWriteKeepsTheOldFile(t *testing.T) {
	tests := map[string]func(t *testing.T) (path string){
		"target is a directory": func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
				t.Fatal(err)
			}
			return path
		},
		"directory is missing": func(t *testing.T) string {
			return filepath.Join(t.TempDir(), "missing", "file")
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			path := prepare(t)
			if err := WriteFile(path, []byte("new"), 0o600); err == nil {
				t.Fatal("WriteFile succeeded")
			}
			if _, err := os.Stat(filepath.Dir(path)); err == nil {
				wantAlone(t, path)
			}
		})
	}
}

func TestFullDiskKeepsTheOldFile(t *testing.T) {
	limit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("prlimit is not installed")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The child may write files of one page only, so its write breaks off in
	// the middle, as on a full disk.
	cmd := exec.Command(limit, "--fsize=4096", os.Args[0], "-test.run=^TestHelperWrite$")
	cmd.Env = append(os.Environ(), "DURABLE_WRITE="+path)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the write succeeded: %s", out)
	}
	if !strings.Contains(string(out), "file too large") {
		t.Fatalf("the write failed otherwise than meant: %s", out)
	}
	wantFile(t, path, []byte("old"))
	wantAlone(t, path)
}

func TestHelperWrite(t *testing.T) {
	path := os.Getenv("DURABLE_WRITE")
	if path == "" {
		t.Skip("runs in a child process only")
	}
	if err := WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLockDirKeepsOthersOut(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second lock: %v, want ErrLocked naming %s", err, dir)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := LockDir(dir)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestSyncDirNamesWhatIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	if err := SyncDir(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("SyncDir = %v, want an error naming %s", err, dir)
	}
}

func wantFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes, want %d", path, len(got), len(want))
	}
}

// wantAlone checks that nothing but path itself is in its directory.
func wantAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
