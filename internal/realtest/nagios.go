package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/checks"
)

// patience is how long a daemon may take over anything on a loaded machine.
const patience = 60 * time.Second

// NagiosOptions say what the Nagios of a test monitors. Everything it gets is
// passive, and nothing is scheduled, unless Includes and Config say otherwise.
type NagiosOptions struct {
	// Hosts named h0000, h0001, ... each have Services named s000, s001, ...
	Hosts, Services int
	// Objects are monitored besides those. A service's host need not be listed.
	Objects []checks.Object
	// Includes are paths of further object configuration files.
	Includes []string
	// Config are further lines for nagios.cfg; a later line wins over an earlier one.
	Config []string
	// Env are further environment variables, as "TZ=TEST-0:59:50".
	Env []string
	// User is whom the daemon runs as, in place of whoever runs the test, who
	// must be root then. BatchDir stays root's, in the user's group, 0755.
	User string
}

// A Nagios is a real Nagios Core 4 in a temporary folder. Its methods fail the
// test themselves.
type Nagios struct {
	Dir         string // everything is below it
	CommandFile string
	BatchDir    string // an empty folder that the daemon may write to
	ObjectCache string
	StatusFile  string
	LogFile     string
	ConfigFile  string

	t       testing.TB
	program string
	env     []string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
}

// StartNagios starts a Nagios and returns when it takes commands. It ends with
// the test.
func StartNagios(t testing.TB, o NagiosOptions) *Nagios {
	t.Helper()
	n := PrepareNagios(t, o)
	n.Start()
	return n
}

// PrepareNagios writes the configuration of a Nagios without starting it.
func PrepareNagios(t testing.TB, o NagiosOptions) *Nagios {
	t.Helper()
	dir := t.TempDir()
	n := &Nagios{
		Dir:         dir,
		CommandFile: filepath.Join(dir, "rw", "nagios.cmd"),
		BatchDir:    filepath.Join(dir, "batch"),
		ObjectCache: filepath.Join(dir, "objects.cache"),
		StatusFile:  filepath.Join(dir, "status.dat"),
		LogFile:     filepath.Join(dir, "nagios.log"),
		ConfigFile:  filepath.Join(dir, "nagios.cfg"),
		t:           t,
		program:     Need(t, "nagios4"),
		env:         append(os.Environ(), o.Env...),
	}
	for _, d := range []string{"rw", "batch", "results", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, group := n.owner(o.User)
	n.write(n.ConfigFile, n.mainConfig(o, owner.Username, group.Name))
	if o.User != "" {
		n.giveTo(owner)
	}
	n.SetObjects(o)
	t.Cleanup(n.Stop)
	return n
}

// SetObjects writes the object configuration anew; Reload makes it count.
func (n *Nagios) SetObjects(o NagiosOptions) {
	n.t.Helper()
	n.write(filepath.Join(n.Dir, "objects.cfg"), objectConfig(o))
}

func (n *Nagios) write(path, text string) {
	n.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// Verify runs the daemon's own check of its configuration.
func (n *Nagios) Verify() {
	n.t.Helper()
	out, err := exec.Command(n.program, "-v", n.ConfigFile).CombinedOutput()
	if err != nil {
		n.t.Fatalf("nagios4 -v: %v\n%s", err, out)
	}
}

// Start starts the daemon, which must not be running, and returns when it
// takes commands.
func (n *Nagios) Start() {
	n.t.Helper()
	if n.cmd != nil {
		n.t.Fatal("nagios4 runs already")
	}
	cmd := exec.Command(n.program, n.ConfigFile)
	cmd.Env = n.env
	output, err := os.Create(filepath.Join(n.Dir, "out.log")) // no pipe, which its workers would hold open longer
	if err != nil {
		n.t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	launched := n.count("Successfully launched command file worker")
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended says nothing: tests kill it
		close(exited)
	}()
	n.cmd, n.exited = cmd, exited
	n.wait("take commands", func() bool {
		select {
		case <-exited:
			text, err := os.ReadFile(output.Name())
			n.t.Fatalf("nagios4 ended at once:\n%s%v", text, err)
		default:
		}
		return n.count("Successfully launched command file worker") > launched && n.reads()
	})
}

// reads reports whether somebody has the command file open for reading.
func (n *Nagios) reads() bool {
	f, err := os.OpenFile(n.CommandFile, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// Command writes an external command, as "NAME;argument;...".
func (n *Nagios) Command(format string, args ...any) {
	n.t.Helper()
	f, err := os.OpenFile(n.CommandFile, os.O_WRONLY, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "[%d] %s\n", time.Now().Unix(), fmt.Sprintf(format, args...)); err != nil {
		n.t.Fatal(err)
	}
}

// PID returns the process identifier of the running daemon.
func (n *Nagios) PID() int { return n.cmd.Process.Pid }

// Stop ends the daemon with SIGTERM, as its unit does, and waits for it.
func (n *Nagios) Stop() { n.end(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits for it, and for the worker that
// reads the command file: that lives for half a second longer, and would take
// what is meant for the next daemon.
func (n *Nagios) Kill() {
	n.t.Helper()
	n.end(syscall.SIGKILL)
	n.wait("leave the command file", func() bool { return !n.reads() })
}

func (n *Nagios) end(sig syscall.Signal) {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-n.exited:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-n.exited
		n.t.Errorf("nagios4 did not end on %v", sig)
	}
	n.cmd = nil
}

// Reload sends SIGHUP and returns when the configuration has been read again
// and the daemon is back at work: before that it would miss another signal.
func (n *Nagios) Reload() {
	n.t.Helper()
	registered := n.count("wproc: Registry request")
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
	n.wait("reload", func() bool { return n.count("wproc: Registry request") > registered })
	n.NextStatus()
}

// NextStatus waits until the daemon writes its status file.
func (n *Nagios) NextStatus() {
	n.t.Helper()
	written := n.stamp(n.StatusFile)
	n.wait("write its status", func() bool { return n.stamp(n.StatusFile) != written })
}

func (n *Nagios) stamp(path string) time.Time {
	fi, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// Log returns the lines of the log so far.
func (n *Nagios) Log() []string {
	n.t.Helper()
	return Lines(n.t, n.LogFile)
}

// Lines returns the lines of a file that may still grow, or be missing. Where a
// line crosses from one page of the file to the next, its first half can be read
// while it is written; it counts when it is whole.
func Lines(t testing.TB, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	return lines[:len(lines)-1]
}

func (n *Nagios) count(text string) int {
	return len(slices.DeleteFunc(n.Log(), func(line string) bool { return !strings.Contains(line, text) }))
}

// WaitLog waits until the log holds text.
func (n *Nagios) WaitLog(text string) {
	n.t.Helper()
	n.wait(fmt.Sprintf("log %q", text), func() bool { return n.count(text) > 0 })
}

// WaitStatus waits until the status file satisfies ok, and returns it.
func (n *Nagios) WaitStatus(what string, ok func(map[checks.Object]NagiosStatus) bool) map[checks.Object]NagiosStatus {
	n.t.Helper()
	var status map[checks.Object]NagiosStatus
	n.wait(what, func() bool {
		status = n.Status()
		return ok(status)
	})
	return status
}

// wait polls until ok, and fails the test when that takes too long.
func (n *Nagios) wait(what string, ok func() bool) {
	n.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			log := n.Log()
			n.t.Fatalf("nagios4 did not %s within %v; its log ends:\n%s", what, patience, strings.Join(log[max(0, len(log)-20):], "\n"))
		}
	}
}
