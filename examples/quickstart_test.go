package examples

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

func TestQuickstartShowsResultsAndLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		needs []string
		want  []string
	}{
		"nagios.sh": {[]string{"nagios4"}, []string{
			"web1          state 0  booted",
			"web1  disk    state 2  DISK CRITICAL - / 97%",
			"web1  backup  state 0  BACKUP OK - 14 GB in 320 s",
			`"unheard-of" on host "web1"`,
		}},
		"icinga.sh": {[]string{"icinga2", "openssl", "curl", "jq"}, []string{
			"web1  state 0  booted",
			"web1!disk  state 2  DISK CRITICAL - / 97%",
			"web1!backup  state 0  BACKUP OK - 14 GB in 320 s",
			"unheard-of",
		}},
	}
	for script, tt := range tests {
		t.Run(script, func(t *testing.T) {
			for _, program := range append(tt.needs, "mosquitto_pub") {
				realtest.Need(t, program)
			}
			dir := shortTempDir(t)
			output := runUntilReady(t, dir, filepath.Join("quickstart", script))
			for _, want := range tt.want {
				if !strings.Contains(output, want) {
					t.Errorf("the output lacks %q:\n%s", want, output)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("files are left: %v, %v", left, err)
			}
			// Who was killed is gone a moment later.
			realtest.Eventually(t, patience, "the processes to go", func() bool { return len(processes(dir)) == 0 })
		})
	}
}

// shortTempDir is for Nagios, whose query socket's path ends at 107 bytes.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "qs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// runUntilReady runs a script with its temporary files in dir, interrupts it
// when it says how, and returns its output.
func runUntilReady(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command(script)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	// What runs in a shell's background may ignore SIGINT, and a script cannot
	// trap what it begins by ignoring (POSIX, trap). A signal that is caught here
	// is not ignored there.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		output.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, output.String())
	}
	return output.String()
}

// processes returns the command lines that name dir.
func processes(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), dir) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}
