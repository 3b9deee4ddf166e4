package main

import (
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
	"checkbus/internal/realtest"
)

// What each service of examples/check_mqtt says when the real core runs it
// against a real broker.
var exampleOutputs = map[string]string{
	"MQTT":             `^MQTT OK - echo from 127\.0\.0\.1:\d+ after `,
	"plant alive":      `^MQTT OK - plant/boiler spoke .* ago`,
	"MQTT clients":     `^MQTT OK - clients/total \d+`,
	"MQTT certificate": `^MQTT OK - certificate of server ends in `,
	"MQTT access":      `^MQTT OK - as it must be, the broker refused PUBLISH to .plant/boiler.: not authorized`,
}

func TestNagiosRunsTheExamples(t *testing.T) {
	e := newExample(t, "nagios.cfg")
	e.write("resource.cfg", "$USER1$="+e.dir+"\n")
	templates := e.write("templates.cfg", `
define timeperiod {
  timeperiod_name  day and night
  alias            day and night
  sunday           00:00-24:00
  monday           00:00-24:00
  tuesday          00:00-24:00
  wednesday        00:00-24:00
  thursday         00:00-24:00
  friday           00:00-24:00
  saturday         00:00-24:00
}
define host {
  name                   generic-host
  register               0
  check_command          nothing
  active_checks_enabled  0
  max_check_attempts     1
  check_period           always
  notification_period    always
  contacts               nobody
}
define service {
  name                   generic-service
  register               0
  check_interval         1
  retry_interval         1
  max_check_attempts     1
  check_period           day and night
  notification_period    always
  contacts               nobody
}
`)
	n := realtest.StartNagios(t, realtest.NagiosOptions{
		Includes: []string{templates, e.path("contrib/nagios/check_mqtt.cfg"), e.file},
		Config:   []string{"execute_service_checks=1", "interval_length=1", "resource_file=" + filepath.Join(e.dir, "resource.cfg")},
	})
	n.Verify()
	want := e.outputs(map[string]string{
		"boiler temperature": `^MQTT OK - plant/boiler is 71\.5, .* old`,
	})
	n.WaitStatus("run every example", func(status map[checks.Object]realtest.NagiosStatus) bool {
		return want.all(func(service string) (string, bool) {
			s := status[checks.Object{Host: "broker", Service: service}]
			return s.Output, s.State == 0 && (s.Perfdata != "" || service == "MQTT access")
		})
	})
}

func TestIcingaRunsTheExamples(t *testing.T) {
	e := newExample(t, "icinga2.conf")
	text, err := os.ReadFile(e.file)
	if err != nil {
		t.Fatal(err)
	}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Config: fmt.Sprintf(`
const PluginDir = %q
template Host "generic-host" { check_interval = 1s; retry_interval = 1s; max_check_attempts = 1 }
template Service "generic-service" { check_interval = 1s; retry_interval = 1s; max_check_attempts = 1 }
include <plugins>
include %q
%s`, e.dir, e.path("contrib/icinga2/check_mqtt.conf"), text)})
	want := e.outputs(map[string]string{
		"":       `^MQTT OK - connected to 127\.0\.0\.1:\d+`,
		"boiler": `^MQTT OK - plant/boiler is .* old`,
	})
	realtest.Eventually(t, time.Minute, "icinga2 to run every example", func() bool {
		return want.all(func(service string) (string, bool) {
			r := ic.LastCheckResult(checks.Object{Host: "broker", Service: service})
			if r == nil {
				return "", false
			}
			return r.Output, r.State == 0 && r.Active && (len(r.PerformanceData) > 0 || service == "MQTT access")
		})
	})
}

// An example is a file of examples/check_mqtt made to fit a broker of the
// test, in a folder with the plugin.
type example struct {
	t    *testing.T
	root string // of the module
	dir  string
	file string
}

func newExample(t *testing.T, name string) *example {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	e := &example{t: t, root: root, dir: t.TempDir()}
	buildPlugin(t, filepath.Join(e.dir, "check_mqtt"))
	makeCerts(t, e.dir)
	_, secure, _ := net.SplitHostPort(realtest.FreeAddr(t))
	acl := e.write("acl", "topic read $SYS/#\ntopic readwrite check_mqtt/#\ntopic read plant/#\nuser boiler\ntopic readwrite plant/#\n")
	m := realtest.StartMosquitto(t, "acl_file "+acl, "sys_interval 1",
		"listener "+secure+" 127.0.0.1", "certfile "+e.dir+"/server.crt", "keyfile "+e.dir+"/server.key")
	e.publishBoiler(m.Addr)
	e.stayConnected(m.Addr)
	text, err := os.ReadFile(e.path("examples/check_mqtt/" + name))
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(m.Addr)
	fit := strings.NewReplacer("broker.example.org", host, "1883", port, "8883", secure,
		"/etc/ssl/certs/ca-certificates.crt", e.dir+"/ca.crt")
	e.file = e.write(name, fit.Replace(string(text)))
	return e
}

// publishBoiler retains a measurement of now.
func (e *example) publishBoiler(addr string) {
	e.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	payload := fmt.Sprintf(`{"temp":71.5,"level":17,"ts":%d}`, time.Now().Unix())
	program := realtest.Need(e.t, "mosquitto_pub")
	out, err := exec.Command(program, "-h", host, "-p", port, "-u", "boiler", "-q", "1", "-r", "-t", "plant/boiler", "-m", payload).CombinedOutput()
	if err != nil {
		e.t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

// stayConnected keeps a client at the broker, lest it count none when it looks.
func (e *example) stayConnected(addr string) {
	e.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(realtest.Need(e.t, "mosquitto_sub"), "-h", host, "-p", port, "-t", "plant/nothing")
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
}

// path is a file of this module.
func (e *example) path(name string) string { return filepath.Join(e.root, name) }

func (e *example) write(name, text string) string {
	e.t.Helper()
	file := filepath.Join(e.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return file
}

// outputs compiles what the services must say, those of own included. A test
// that fails shows the last one that said something else.
func (e *example) outputs(own map[string]string) *outputs {
	want := &outputs{patterns: map[string]*regexp.Regexp{}}
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Log(want.missing)
		}
	})
	for _, from := range []map[string]string{exampleOutputs, own} {
		for service, pattern := range from {
			want.patterns[service] = regexp.MustCompile(pattern)
		}
	}
	return want
}

type outputs struct {
	patterns map[string]*regexp.Regexp
	missing  string
}

// all reports whether got says of every service what it must.
func (o *outputs) all(got func(service string) (output string, sound bool)) bool {
	for service, pattern := range o.patterns {
		if output, sound := got(service); !sound || !pattern.MatchString(output) {
			o.missing = fmt.Sprintf("service %q said %q, sound %t", service, output, sound)
			return false
		}
	}
	return true
}

// buildPlugin builds the plugin as users do: one static binary.
func buildPlugin(t testing.TB, file string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}
