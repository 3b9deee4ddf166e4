package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"checkbus/internal/realtest"
)

// A browser on a slow line loads the page in one go.
func TestThePageIsSmall(t *testing.T) {
	all, err := assets()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, a := range all {
		size += len(a.zipped)
	}
	t.Logf("%d bytes", size)
	if size > 200_000 {
		t.Errorf("the page has %d bytes compressed, more than 200 KB", size)
	}
}

// What is committed below dist is what "make console" makes of the source.
func TestThePageIsWhatItsSourceBuilds(t *testing.T) {
	node, modules := realtest.Need(t, "node"), realtest.NodeModules(t)
	dir := t.TempDir()
	source, err := filepath.Abs("console")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS(filepath.Join(source, "src"))); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"node_modules": modules, "build.mjs": filepath.Join(source, "build.mjs")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), node, "build.mjs")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name := range pageTypes {
		built, err := os.ReadFile(filepath.Join(dir, "dist", name))
		if err != nil {
			t.Fatal(err)
		}
		committed, err := page.ReadFile("console/dist/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(built) != string(committed) {
			t.Errorf("%s is not what the source makes: run make console", name)
		}
	}
}
