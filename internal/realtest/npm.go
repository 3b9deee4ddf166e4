package realtest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// NodeModules returns the folder of the npm packages that make deps installs,
// as NODE_PATH needs it. Where they are not installed, Need says what happens.
func NodeModules(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Join(filepath.Dir(file), "..", "web", "console", "node_modules")
	if _, err := os.Stat(folder); err != nil {
		missing(t, "node_modules")
	}
	return folder
}
