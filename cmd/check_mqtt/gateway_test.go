package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// A loop is the way of a gateway's test result: this plugin and checkbus, as
// built binaries.
type loop struct {
	t            *testing.T
	plugin, addr string
}

// newLoop runs checkbus, with the cores that tables name, until the test ends.
func newLoop(t *testing.T, tables string) *loop {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, ".", "checkbus/cmd/checkbus")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	l := &loop{t: t, plugin: filepath.Join(dir, "check_mqtt")}
	for range 5 { // the port may be gone by the time checkbus takes it
		l.addr = realtest.FreeAddr(t)
		if l.serve(dir, tables) {
			return l
		}
	}
	t.Fatal("checkbus does not start")
	return nil
}

// serve runs the checkbus of dir on addr; false when it has ended at once.
func (l *loop) serve(dir, tables string) bool {
	l.t.Helper()
	settings, logged := filepath.Join(dir, "checkbus.toml"), filepath.Join(dir, "log")
	text := fmt.Sprintf("data_dir = %q\n[[listener]]\naddress = %q\n[broker]\nsys_interval = \"1s\"\n[web]\naddress = \"\"\n%s", dir, l.addr, tables)
	log, err := os.Create(logged)
	if err := errors.Join(err, os.WriteFile(settings, []byte(text), 0o600)); err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(dir, "checkbus"), "serve", "-config", settings)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // tests end it
		close(exited)
	}()
	said := func() string {
		text, err := os.ReadFile(logged)
		if err != nil {
			l.t.Fatal(err)
		}
		return string(text)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-exited
		if l.t.Failed() {
			l.t.Logf("checkbus: %s", said())
		}
	})
	realtest.Eventually(l.t, time.Minute, "checkbus to start", func() bool {
		return strings.Contains(said(), "msg=listening") || isDone(exited)
	})
	return !isDone(exited)
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (l *loop) port() string {
	_, port, _ := net.SplitHostPort(l.addr)
	return port
}

// follows waits until the gateway hears what these cores say.
func (l *loop) follows(cores ...string) {
	l.t.Helper()
	c := mqtttest.Dial(l.t, l.addr, mqtttest.Options{ID: "follows"})
	defer c.Close()
	for _, core := range cores {
		topic := "$SYS/gateway/core/" + core + "/follows"
		c.Subscribe(topic, 0)
		for p := c.Next(mqtttest.PUBLISH); p.Topic() != topic || p.Payload() != "1"; p = c.Next(mqtttest.PUBLISH) {
		}
	}
}

// check runs the plugin's mode gateway for a service of web1, or for web1
// itself, and returns its first line and the exit code.
func (l *loop) check(service string, options ...string) (line string, code int) {
	l.t.Helper()
	host, port, _ := net.SplitHostPort(l.addr)
	args := []string{"gateway", "-H", host, "-p", port, "-t", "30s", "--result-host", "web1"}
	if service != "" {
		args = append(args, "--result-service", service)
	}
	cmd := exec.Command(l.plugin, append(args, options...)...)
	out, _ := cmd.Output() // the exit code says it
	line, _, _ = strings.Cut(string(out), "\n")
	return line, cmd.ProcessState.ExitCode()
}

// expect fails the test unless the plugin says what the pattern does, with the
// exit code that belongs to it.
func (l *loop) expect(pattern, service string, options ...string) {
	l.t.Helper()
	line, code := l.check(service, options...)
	if !regexp.MustCompile(pattern).MatchString(line) {
		l.t.Errorf("%s %q: %s, want %s", service, options, line, pattern)
	}
	if want := map[string]int{"OK": checks.OK.ExitCode(), "CRITICAL": checks.Critical.ExitCode()}[strings.Fields(line + " ? ?")[1]]; code != want {
		l.t.Errorf("%s %q: exit code %d of %s", service, options, code, line)
	}
}

// publish publishes a problem.
func (l *loop) publish(service string) {
	l.t.Helper()
	host, port, _ := net.SplitHostPort(l.addr)
	out, err := exec.Command(realtest.Need(l.t, "mosquitto_pub"), "-h", host, "-p", port, "-q", "1",
		"-t", "nagios/web1/"+service, "-m", `{"exit_code":2,"reason":"broken"}`).CombinedOutput()
	if err != nil {
		l.t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

const (
	through  = `^MQTT OK - the result for web1!%s came through in [0-9.]+ m?s: OK %s by %s \| through=[0-9.]+s;;;0 acknowledged=[0-9.]+s;;;0$`
	rejected = `^MQTT CRITICAL - the result for web1!%s was rejected%s: `
	timedOut = `^MQTT CRITICAL - state: timed out after [0-9]+s \(127\.0\.0\.1:[0-9]+\), `
)

func nagiosTable(n *realtest.Nagios) string {
	return fmt.Sprintf("[nagios]\ncommand_file = %q\nbatch_dir = %q\nobject_cache = %q\nlog_file = %q\nstatus_file = %q\n",
		n.CommandFile, n.BatchDir, n.ObjectCache, n.LogFile, n.StatusFile)
}

func icingaTable(ic *realtest.Icinga) string {
	return fmt.Sprintf("[icinga]\nurl = [%q]\nca = %q\nserver_name = %q\nusername = %q\npassword_file = %q\n",
		ic.URL, ic.CA, ic.ServerName, ic.User, ic.PasswordFile)
}

func TestGatewayModeWaitsForNagios(t *testing.T) {
	services := filepath.Join(t.TempDir(), "services.cfg")
	err := os.WriteFile(services, []byte(`
define service {
  use                    test-service
  host_name              web1
  service_description    deaf
  passive_checks_enabled 0
}
define service {
  use                    test-service
  host_name              web1
  service_description    retried
  max_check_attempts     3
}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{
		Objects: []checks.Object{{Host: "web1", Service: "loop"}}, Includes: []string{services},
	})
	l := newLoop(t, nagiosTable(n))
	for range 3 {
		l.expect(fmt.Sprintf(through, "loop", "hard", "nagios"), "loop")
	}
	if log := strings.Join(n.Log(), "\n"); strings.Count(log, "PASSIVE SERVICE CHECK: web1;loop;") != 3 {
		t.Errorf("Nagios had not all three when the plugin said so:\n%s", log)
	}
	l.expect(`^MQTT OK - the result for web1 came through in .*: UP hard by nagios \|`, "", "--core", "nagios")
	l.expect(fmt.Sprintf(rejected, "none", "")+`unknown object: no core has a service "none" on host "web1"$`, "none")
	l.expect(fmt.Sprintf(rejected, "none", "")+`unknown object: no core has a service "none" on host "web1"$`, "none", "--mqtt-version", "5")
	l.expect(fmt.Sprintf(rejected, "deaf", " by nagios")+`nagios takes no passive results of web1!deaf`, "deaf")
	l.publish("retried")
	n.WaitStatus("show the soft state", func(m map[checks.Object]realtest.NagiosStatus) bool {
		s := m[checks.Object{Host: "web1", Service: "retried"}]
		return s.Output == "broken" && s.Soft
	})
	l.expect(fmt.Sprintf(through, "retried", "(soft|hard)", "nagios"), "retried")
	l.expect(timedOut+`the gateway hands nothing to icinga$`, "loop", "--core", "icinga", "-t", "3s")
	n.Stop()
	l.expect(timedOut+`the gateway cannot reach nagios, and keeps the result for it$`, "loop", "-t", "4s")
	n.Start()
	l.expect(fmt.Sprintf(through, "loop", "hard", "nagios"), "loop")
}

func TestGatewayModeWaitsForIcinga(t *testing.T) {
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{{Host: "web1", Service: "loop"}},
		Config: `
object Service "deaf" { import "checkbus-service"; host_name = "web1"; enable_passive_checks = false }
object Service "retried" { import "checkbus-service"; host_name = "web1"; max_check_attempts = 3 }
`})
	l := newLoop(t, icingaTable(ic))
	loop := checks.Object{Host: "web1", Service: "loop"}
	for range 3 {
		l.expect(fmt.Sprintf(through, "loop", "hard", "icinga"), "loop")
		if r := ic.LastCheckResult(loop); r == nil || !strings.HasPrefix(r.Output, "check_mqtt gateway test ") {
			t.Errorf("when the plugin says so Icinga has %+v", r)
		}
	}
	l.expect(`^MQTT OK - the result for web1 came through in .*: UP hard by icinga \|`, "", "--core", "icinga")
	l.expect(fmt.Sprintf(rejected, "none", "( by icinga)?")+`unknown object: `, "none")
	l.expect(fmt.Sprintf(rejected, "deaf", " by icinga")+`submit web1!deaf: icinga answered 403: Passive checks are disabled for object 'web1!deaf'`, "deaf")
	l.publish("retried")
	realtest.Eventually(t, time.Minute, "the soft state", func() bool {
		r := ic.LastCheckResult(checks.Object{Host: "web1", Service: "retried"})
		return r != nil && r.Output == "broken" && r.VarsAfter.StateType == 0
	})
	l.expect(fmt.Sprintf(through, "retried", "(soft|hard)", "icinga"), "retried")
	ic.Stop()
	l.expect(timedOut+`the gateway cannot reach icinga, and keeps the result for it$`, "loop", "-t", "4s")
	ic.Start()
	l.expect(fmt.Sprintf(through, "loop", "hard", "icinga"), "loop")
}

// Of two cores the state of an object is that of Icinga 2 where that has it.
func TestGatewayModeWithBothCores(t *testing.T) {
	both := checks.Object{Host: "web1", Service: "both"}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Objects: []checks.Object{both, {Host: "web1", Service: "old"}}})
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{both, {Host: "web1", Service: "new"}}})
	l := newLoop(t, nagiosTable(n)+icingaTable(ic))
	l.follows("nagios", "icinga")
	for service, core := range map[string]string{"both": "icinga", "old": "nagios", "new": "icinga"} {
		l.expect(fmt.Sprintf(through, service, "hard", core), service)
		l.expect(fmt.Sprintf(through, service, "hard", core), service, "--core", core)
	}
	l.expect(timedOut+`only icinga told the state, not nagios$`, "both", "--core", "nagios", "-t", "5s")
	l.expect(fmt.Sprintf(rejected, "old", " by icinga"), "old", "--core", "icinga")
	l.expect(fmt.Sprintf(rejected, "new", " by nagios"), "new", "--core", "nagios")
	l.expect(fmt.Sprintf(rejected, "none", "( by icinga)?"), "none")
	n.Stop()
	l.expect(fmt.Sprintf(through, "both", "hard", "icinga"), "both")
	l.expect(timedOut+`the gateway cannot reach nagios, and keeps the result for it$`, "old", "--core", "nagios", "-t", "4s")
}
