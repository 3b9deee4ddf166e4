package realtest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/checks"
)

// patience is how long a daemon may take over anything on a loaded machine.
const patience = 60 * time.Second

// NagiosOptions say what the Nagios of a test monitors. Everything it gets is
// passive: nothing is ever scheduled.
type NagiosOptions struct {
	// Hosts named h0000, h0001, ... each have Services named s000, s001, ...
	Hosts, Services int
	// Objects are monitored besides those. A service's host need not be listed.
	Objects []checks.Object
	// Includes are paths of further object configuration files.
	Includes []string
	// Config are further lines for nagios.cfg; a later line wins over an earlier one.
	Config []string
}

// A Nagios is a real Nagios Core 4 in a temporary folder, run by whoever runs
// the test. Its methods fail the test themselves.
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
	}
	for _, d := range []string{"rw", "batch", "results", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.write(n.ConfigFile, n.mainConfig(o))
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

func (n *Nagios) mainConfig(o NagiosOptions) string {
	n.t.Helper()
	me, err := user.Current()
	if err != nil {
		n.t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		n.t.Fatal(err)
	}
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s=%s\n", key, value) }
	in := func(name string) string { return filepath.Join(n.Dir, name) }
	set("cfg_file", in("objects.cfg"))
	for _, path := range o.Includes {
		set("cfg_file", path)
	}
	set("nagios_user", me.Username)
	set("nagios_group", group.Name)
	set("log_file", n.LogFile)
	set("status_file", n.StatusFile)
	set("object_cache_file", n.ObjectCache)
	set("precached_object_file", in("objects.precache"))
	set("command_file", n.CommandFile)
	set("query_socket", in("rw/nagios.qh"))
	set("lock_file", in("nagios.pid"))
	set("temp_file", in("nagios.tmp"))
	set("temp_path", in("tmp"))
	set("check_result_path", in("results"))
	set("state_retention_file", in("retention.dat"))
	b.WriteString(`check_external_commands=1
status_update_interval=1
check_workers=1
log_rotation_method=n
use_syslog=0
log_external_commands=0
log_passive_checks=1
check_for_updates=0
execute_service_checks=0
execute_host_checks=0
check_service_freshness=0
enable_notifications=0
enable_event_handlers=0
enable_flap_detection=0
retain_state_information=1
use_retained_program_state=0
illegal_macro_output_chars=` + "`~$&|'\"<>\n")
	for _, line := range o.Config {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func objectConfig(o NagiosOptions) string {
	var b strings.Builder
	b.WriteString(`define timeperiod {
  timeperiod_name always
  alias           always
}
define command {
  command_name nothing
  command_line /bin/true
}
define contact {
  contact_name                  nobody
  host_notification_period      always
  service_notification_period   always
  host_notification_commands    nothing
  service_notification_commands nothing
}
define host {
  name                   test-host
  register               0
  check_command          nothing
  active_checks_enabled  0
  passive_checks_enabled 1
  max_check_attempts     1
  check_period           always
  notification_period    always
  contacts               nobody
}
define service {
  name                   test-service
  register               0
  check_command          nothing
  active_checks_enabled  0
  passive_checks_enabled 1
  max_check_attempts     1
  check_period           always
  notification_period    always
  contacts               nobody
}
`)
	seen := make(map[string]bool)
	host := func(name string) {
		if !seen[name] {
			seen[name] = true
			fmt.Fprintf(&b, "define host {\n  use test-host\n  host_name %s\n  address 127.0.0.1\n}\n", name)
		}
	}
	object := func(ob checks.Object) {
		host(ob.Host)
		if !ob.IsHost() {
			fmt.Fprintf(&b, "define service {\n  use test-service\n  host_name %s\n  service_description %s\n}\n", ob.Host, ob.Service)
		}
	}
	for h := range o.Hosts {
		name := fmt.Sprintf("h%04d", h)
		host(name)
		for s := range o.Services {
			object(checks.Object{Host: name, Service: fmt.Sprintf("s%03d", s)})
		}
	}
	for _, ob := range o.Objects {
		object(ob)
	}
	return b.String()
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
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second // its workers hold the output open a little longer
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
			n.t.Fatalf("nagios4 ended at once:\n%s", output.String())
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

// PID returns the process identifier of the running daemon.
func (n *Nagios) PID() int { return n.cmd.Process.Pid }

// Stop ends the daemon with SIGTERM, as its unit does, and waits for it.
func (n *Nagios) Stop() { n.end(syscall.SIGTERM) }

// Kill ends the daemon with SIGKILL and waits for it.
func (n *Nagios) Kill() { n.end(syscall.SIGKILL) }

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
	text, err := os.ReadFile(n.LogFile)
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func (n *Nagios) count(text string) int {
	return len(slices.DeleteFunc(n.Log(), func(line string) bool { return !strings.Contains(line, text) }))
}

// WaitLog waits until the log holds text.
func (n *Nagios) WaitLog(text string) {
	n.t.Helper()
	n.wait(fmt.Sprintf("log %q", text), func() bool { return n.count(text) > 0 })
}

// A NagiosStatus is what the status file says of one object, as it stands
// there: with newlines in long output written \n.
type NagiosStatus struct {
	State      int // -1 before any check
	Output     string
	LongOutput string
	Perfdata   string
	LastCheck  int64 // Unix seconds; 0 before any check
}

// Status reads the status file. It is at most a second or two behind.
func (n *Nagios) Status() map[checks.Object]NagiosStatus {
	n.t.Helper()
	f, err := os.Open(n.StatusFile)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		n.t.Fatal(err)
	}
	defer f.Close()
	status, err := parseStatus(f)
	if err != nil {
		n.t.Fatal(err)
	}
	return status
}

func parseStatus(r io.Reader) (map[checks.Object]NagiosStatus, error) {
	status := make(map[checks.Object]NagiosStatus)
	var object checks.Object
	var s NagiosStatus
	in := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := strings.TrimPrefix(lines.Text(), "\t")
		switch {
		case line == "hoststatus {" || line == "servicestatus {":
			object, s, in = checks.Object{}, NagiosStatus{}, true
		case line == "}" && in:
			if s.LastCheck == 0 {
				s.State = -1
			}
			status[object], in = s, false
		}
		key, value, found := strings.Cut(line, "=")
		if !found || !in {
			continue
		}
		var err error
		switch key {
		case "host_name":
			object.Host = value
		case "service_description":
			object.Service = value
		case "current_state":
			s.State, err = strconv.Atoi(value)
		case "plugin_output":
			s.Output = value
		case "long_plugin_output":
			s.LongOutput = value
		case "performance_data":
			s.Perfdata = value
		case "last_check":
			s.LastCheck, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("status file: %s: %w", key, err)
		}
	}
	return status, lines.Err()
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
