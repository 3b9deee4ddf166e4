package listen

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDirectoriesOfLinksAreWatched(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"live", "archive/web"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "archive/web/cert1.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("../archive/web", "live/web")
	link("cert1.pem", "archive/web/cert.pem")
	link("loop", "loop")
	tests := map[string]struct {
		path string
		want []string
	}{
		"plain":   {"archive/web/cert1.pem", []string{"archive/web"}},
		"links":   {"live/web/cert.pem", []string{"live", "archive/web"}},
		"missing": {"live/none", []string{"live"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := dirsOf(filepath.Join(dir, tt.path))
			for _, want := range tt.want {
				if !strings.Contains(strings.Join(got, "\n")+"\n", filepath.Join(dir, want)+"\n") {
					t.Errorf("%s is not among %q", want, got)
				}
			}
		})
	}
	if n := len(dirsOf(filepath.Join(dir, "loop"))); n > 100 {
		t.Errorf("%d directories of a link to itself", n)
	}
}
