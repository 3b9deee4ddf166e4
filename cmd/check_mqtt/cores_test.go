package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// What each service of examples/check_mqtt says when the real core runs it
// against a real broker.
// Beside the examples, each mode that they leave out is run.
var exampleOutputs = map[string]string{
	"MQTT":             `^MQTT OK - echo from 127\.0\.0\.1:\d+ after `,
	"plant alive":      `^MQTT OK - plant/boiler spoke .* ago`,
	"MQTT clients":     `^MQTT OK - clients/total \d+`,
	"MQTT certificate": `^MQTT OK - certificate of server ends in `,
	"MQTT access":      `^MQTT OK - as it must be, the broker refused PUBLISH to .plant/boiler.: not authorized`,
	"rate":             `^MQTT OK - [0-9.]+ messages/s on plant/#`,
	"will":             `^MQTT OK - will published `,
	"passthrough":      `^MQTT OK - backed up ?$`,
}

// silent are the services that have no performance data.
var silent = map[string]bool{"MQTT access": true, "passthrough": true}

func TestNagiosRunsTheExamples(t *testing.T) {
	e := newExample(t, "nagios.cfg")
	e.write("resource.cfg", "$USER1$="+e.dir+"\n")
	templates := filepath.Join(e.dir, "templates.cfg")
	n := realtest.PrepareNagios(t, realtest.NagiosOptions{
		Includes: []string{templates, e.path("contrib/nagios/check_mqtt.cfg"), e.file},
		Config:   []string{"execute_service_checks=1", "interval_length=1", "service_inter_check_delay_method=n", "resource_file=" + filepath.Join(e.dir, "resource.cfg")},
	})
	l := newLoop(t, nagiosTable(n))
	e.write("templates.cfg", `
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
  check_interval         3
  retry_interval         1
  max_check_attempts     1
  check_period           day and night
  notification_period    always
  contacts               nobody
}
define service {
  use                    generic-service
  host_name              broker
  service_description    loop
  check_command          nothing
  active_checks_enabled  0
}
`+nagiosServices(map[string]string{
		"connect":     "check_mqtt_connect!-p " + e.port,
		"text":        "check_mqtt_text!plant/boiler!71.5!-p " + e.port + " --json temp --operator contains",
		"rate":        "check_mqtt_rate!plant/#!0:1000!0:1000!-p " + e.port + " --window 500ms",
		"will":        "check_mqtt_will!-p " + e.port + " -c 5s",
		"passthrough": "check_mqtt_passthrough!plant/jobs/backup!-p " + e.port,
		"gateway":     "check_mqtt_gateway!broker!loop!-p " + l.port() + " --core nagios",
	}))
	n.Verify()
	e.report()
	n.Start()
	want := e.outputs(map[string]string{
		"boiler temperature": `^MQTT OK - plant/boiler is 71\.5, .* old`,
		"text":               `^MQTT OK - plant/boiler is 71\.5$`,
		"gateway":            `^MQTT OK - the result for broker!loop came through in .*: OK hard by nagios$`,
	})
	n.WaitStatus("run every example", func(status map[checks.Object]realtest.NagiosStatus) bool {
		return want.all(func(service string) (string, bool) {
			s := status[checks.Object{Host: "broker", Service: service}]
			return s.Output, s.State == 0 && (s.Perfdata != "" || silent[service])
		})
	})
}

func TestIcingaRunsTheExamples(t *testing.T) {
	e := newExample(t, "icinga2.conf")
	text, err := os.ReadFile(e.file)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
const PluginDir = %q
template Host "generic-host" { check_interval = 1s; retry_interval = 1s; max_check_attempts = 1 }
template Service "generic-service" { check_interval = 1s; retry_interval = 1s; max_check_attempts = 1 }
include <plugins>
include %q
%s`, e.dir, e.path("contrib/icinga2/check_mqtt.conf"), text)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Config: config})
	l := newLoop(t, icingaTable(ic))
	ic.Configure(realtest.IcingaOptions{Config: config + fmt.Sprintf(`
template Service "of broker" { import "generic-service"; host_name = "broker"; check_command = "mqtt"; vars.mqtt_port = %q }
object Service "loop" { import "checkbus-service"; host_name = "broker" }
object Service "rate" { import "of broker"; vars.mqtt_mode = name; vars.mqtt_topic = "plant/#"; vars.mqtt_window = "500ms"; vars.mqtt_warning = "0:1000" }
object Service "will" { import "of broker"; vars.mqtt_mode = name; vars.mqtt_critical = "5s" }
object Service "passthrough" { import "of broker"; vars.mqtt_mode = name; vars.mqtt_topic = "plant/jobs/backup" }
object Service "gateway" { import "of broker"; vars.mqtt_mode = name; vars.mqtt_port = %q
	vars.mqtt_result_host = "broker"; vars.mqtt_result_service = "loop"; vars.mqtt_core = "icinga" }
`, e.port, l.port())})
	e.report()
	ic.Reload()
	e.report() // again: a reload may take its minute
	want := e.outputs(map[string]string{
		"":        `^MQTT OK - connected to 127\.0\.0\.1:\d+`,
		"boiler":  `^MQTT OK - plant/boiler is .* old`,
		"gateway": `^MQTT OK - the result for broker!loop came through in .*: OK hard by icinga ?$`,
	})
	realtest.Eventually(t, time.Minute, "icinga2 to run every example", func() bool {
		return want.all(func(service string) (string, bool) {
			r := ic.LastCheckResult(checks.Object{Host: "broker", Service: service})
			if r == nil {
				return "", false
			}
			return r.Output, r.State == 0 && r.Active && (len(r.PerformanceData) > 0 || silent[service])
		})
	})
}

// nagiosServices defines services of the host broker by their check commands.
func nagiosServices(commands map[string]string) string {
	var b strings.Builder
	for name, command := range commands {
		fmt.Fprintf(&b, "define service {\n  use generic-service\n  host_name broker\n  service_description %s\n  check_command %s\n}\n", name, command)
	}
	return b.String()
}

// Icinga 2 gives the plugin every option of the CheckCommand, as it is.
func TestIcingaPassesEveryOption(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, file := t.TempDir(), filepath.Join(root, "contrib/icinga2/check_mqtt.conf")
	told := filepath.Join(dir, "told")
	plugin := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' \"$CHECK_MQTT_PASSWORD\" \"$@\" >%s.new && mv %s.new %s\n", told, told, told)
	if err := os.WriteFile(filepath.Join(dir, "check_mqtt"), []byte(plugin), 0o700); err != nil {
		t.Fatal(err)
	}
	arguments := regexp.MustCompile(`"(--[\w-]+|\(mode\))" = \{\s+(value|set_if) = "\$(\w+)\$"\s+(repeat_key)?`)
	vars, want := "vars.mqtt_password = \"geheim\"\n", []string{"geheim"}
	for _, a := range arguments.FindAllStringSubmatch(readAll(t, file), -1) {
		option, kind, name := a[1], a[2], a[3]
		switch {
		case kind == "set_if":
			vars += "vars." + name + " = true\n"
			want = append(want, option)
		case a[4] != "":
			vars += "vars." + name + " = [ \"a\", \"b c\" ]\n"
			want = append(want, option, "a", option, "b c")
		case option == "(mode)":
			vars += "vars." + name + " = \"read\"\n"
			want = append(want, "read")
		default:
			vars += "vars." + name + " = \"it's " + option + "\"\n"
			want = append(want, option, "it's "+option)
		}
	}
	if count := strings.Count(readAll(t, file), "description ="); len(want) < count {
		t.Fatalf("%d words for %d arguments", len(want), count)
	}
	realtest.StartIcinga(t, realtest.IcingaOptions{Config: fmt.Sprintf(`
const PluginDir = %q
include <plugins>
include %q
object Host "broker" { check_command = "mqtt"; check_interval = 1s; %s }
`, dir, file, vars)})
	realtest.Eventually(t, time.Minute, "icinga2 to run the plugin", func() bool {
		_, err := os.Stat(told)
		return err == nil
	})
	got := strings.Split(strings.TrimSuffix(readAll(t, told), "\n"), "\n")
	if got[1] != "read" {
		t.Errorf("the mode is not first: %q", got)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("icinga2 says\n%q, want\n%q", got, want)
	}
}

// An example is a file of examples/check_mqtt made to fit a broker of the
// test, in a folder with the plugin.
type example struct {
	t    *testing.T
	root string // of the module
	dir  string
	file string
	port string // of the broker, on 127.0.0.1
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
	_, e.port, _ = net.SplitHostPort(m.Addr)
	e.stayConnected()
	text, err := os.ReadFile(e.path("examples/check_mqtt/" + name))
	if err != nil {
		t.Fatal(err)
	}
	fit := strings.NewReplacer("broker.example.org", "127.0.0.1", "1883", e.port, "8883", secure,
		"/etc/ssl/certs/ca-certificates.crt", e.dir+"/ca.crt")
	e.file = e.write(name, fit.Replace(string(text)))
	return e
}

// report publishes what the plant has to say now, which some of the examples
// want not to be older than a minute.
func (e *example) report() {
	e.t.Helper()
	e.retain("plant/boiler", fmt.Sprintf(`{"temp":71.5,"level":17,"ts":%d}`, time.Now().Unix()))
	e.retain("plant/jobs/backup", fmt.Sprintf(`{"exit_code":0,"reason":"backed up","ts":%d}`, time.Now().Unix()))
}

// retain publishes what stays.
func (e *example) retain(topic, payload string) {
	e.t.Helper()
	program := realtest.Need(e.t, "mosquitto_pub")
	out, err := exec.Command(program, "-p", e.port, "-u", "boiler", "-q", "1", "-r", "-t", topic, "-m", payload).CombinedOutput()
	if err != nil {
		e.t.Fatalf("mosquitto_pub: %v\n%s", err, out)
	}
}

// stayConnected keeps a client at the broker, lest it count none when it looks.
func (e *example) stayConnected() {
	e.t.Helper()
	cmd := exec.Command(realtest.Need(e.t, "mosquitto_sub"), "-p", e.port, "-t", "plant/nothing")
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
// that fails shows those that said something else at last.
func (e *example) outputs(own map[string]string) *outputs {
	want := &outputs{patterns: map[string]*regexp.Regexp{}}
	e.t.Cleanup(func() {
		if e.t.Failed() {
			e.t.Logf("%q", want.missing)
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
	patterns map[string]*regexp.Regexp // of the services that have not said it yet
	missing  []string
}

// all reports whether got says of every service what it must, or said so
// before: a busy machine may make one too slow for its thresholds meanwhile.
func (o *outputs) all(got func(service string) (output string, sound bool)) bool {
	o.missing = nil
	for service, pattern := range o.patterns {
		output, sound := got(service)
		if sound && pattern.MatchString(output) {
			delete(o.patterns, service)
			continue
		}
		o.missing = append(o.missing, fmt.Sprintf("service %q said %q, sound %t", service, output, sound))
	}
	return len(o.patterns) == 0
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
