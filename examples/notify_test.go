package examples

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// events are what a gateway publishes, of which a notification takes but those
// that matter.
var events = []checks.Change{
	event("web1", "disk", checks.Critical, checks.OK, checks.KindState, func(c *checks.Change) { c.Soft, c.Reason = true, "not yet" }),
	event("web1", "disk", checks.Critical, checks.OK, checks.KindHard, func(c *checks.Change) { c.Reason = `/ <97%> & "more"` + "\n\tlong $(id) \\n" }),
	event("web1", "disk", checks.Critical, checks.OK, checks.KindDowntime, func(c *checks.Change) { c.InDowntime, c.Reason = true, "downtime" }),
	event("web2", "", checks.Down, checks.Up, checks.KindState, func(c *checks.Change) { c.Reason = "keine Antwort für 10 µs" }),
	event("web3", "", checks.Down, checks.Up, checks.KindState, func(c *checks.Change) { c.InDowntime, c.Reason = true, "planned" }),
	event("web1", "Disk /var", checks.OK, checks.Warning, checks.KindState, func(c *checks.Change) { c.Reason = "" }),
}

func event(host, service string, now, before checks.State, kind string, change func(*checks.Change)) checks.Change {
	at := time.Date(2026, 11, 21, 18, 8, 49, 0, time.UTC)
	c := checks.Change{
		Status:   checks.Status{Object: checks.Object{Host: host, Service: service}, State: now, Attempt: 1, Time: at, Since: at},
		Previous: before, Origin: "icinga", Kind: kind, Seq: 1,
	}
	change(&c)
	return c
}

// A notifier is a program that follows events of a broker, which has some for it.
type notifier struct {
	dir        string // where its commands write
	host, port string
	env        []string
}

// newNotifier publishes the events for the client's session. The fake commands
// are shell scripts that run in dir.
func newNotifier(t *testing.T, client string, fakes map[string]string) *notifier {
	t.Helper()
	m := realtest.StartMosquitto(t)
	n := &notifier{dir: t.TempDir()}
	n.host, n.port, _ = net.SplitHostPort(m.Addr)
	n.run(t, "mosquitto_sub", "-c", "-i", client, "-q", "1", "-t", "checkbus/event/#", "-E")
	for _, e := range events {
		payload, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		n.run(t, "mosquitto_pub", "-q", "1", "-t", e.Topic("checkbus/event"), "-m", string(payload))
	}
	options := "-h " + n.host + "\n-p " + n.port + "\n"
	if err := os.WriteFile(filepath.Join(n.dir, "mosquitto_sub"), []byte(options), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, script := range fakes {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\ncd "+n.dir+"\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	n.env = append(os.Environ(), "XDG_CONFIG_HOME="+n.dir, "PATH="+bin+":"+os.Getenv("PATH"))
	return n
}

func (n *notifier) run(t *testing.T, program string, args ...string) {
	t.Helper()
	args = append([]string{"-h", n.host, "-p", n.port}, args...)
	if out, err := exec.CommandContext(t.Context(), realtest.Need(t, program), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// follow runs a program until what it, or its fake command, wrote to a file ends
// with last, and returns that.
func (n *notifier) follow(t *testing.T, file, last string, command ...string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(n.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = n.env, out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // all of the pipeline
		_ = cmd.Wait()
	}()
	said := ""
	realtest.Eventually(t, patience, last, func() bool {
		text, err := os.ReadFile(filepath.Join(n.dir, file))
		said = string(text)
		return err == nil && strings.HasSuffix(said, last)
	})
	return said
}

// clientID is what loop.sh calls itself with a command.
func clientID(t *testing.T, command string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `echo "notify-$(id -un)-$(hostname)-`+command+`"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestNotificationsTellOfWhatIsConfirmed(t *testing.T) {
	realtest.Need(t, "jq")
	tests := map[string]struct {
		client, file, last string
		fakes              map[string]string
		command            []string
		want               string
	}{
		"print": {"print", "out", "Disk /var: \n", nil, []string{"notify/loop.sh"},
			"CRITICAL web1 disk: / <97%> & \"more\" long $(id) \\n\nDOWN web2 : keine Antwort für 10 µs\nOK web1 Disk /var: \n"},
		"desktop": {"desktop.sh", "shown", "||\n", map[string]string{"notify-send": `printf '%s|' "$@" >>shown; echo >>shown`},
			[]string{"notify/loop.sh", "notify/desktop.sh"},
			"-a|checkbus|-u|critical|-i|dialog-error|--|CRITICAL web1 disk|/ &lt;97%&gt; &amp; \"more\" long $(id) \\n|\n" +
				"-a|checkbus|-u|critical|-i|dialog-error|--|DOWN web2 |keine Antwort für 10 µs|\n" +
				"-a|checkbus|-u|low|-i|dialog-information|--|OK web1 Disk /var||\n"},
		"mail": {"mail.py", "sent", "Disk /var is OK.\n\n\n", map[string]string{"sendmail": `echo "$@" >>sent; cat >>sent`},
			[]string{"notify/loop.sh", "notify/mail.py", "root@example.org"}, "Subject: DOWN: web2\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := newNotifier(t, clientID(t, tt.client), tt.fakes)
			said := n.follow(t, tt.file, tt.last, tt.command...)
			if !strings.Contains(said, tt.want) || strings.Contains(said, "not yet") || strings.Contains(said, "planned") || strings.Contains(said, "downtime") {
				t.Errorf("said\n%s\nwant\n%s", said, tt.want)
			}
		})
	}
}

func TestMqttwarnFormatsEvents(t *testing.T) {
	text, err := os.ReadFile("notify/mqttwarn.ini")
	if err != nil {
		t.Fatal(err)
	}
	n := newNotifier(t, "mqttwarn", nil)
	ini := filepath.Join(n.dir, "mqttwarn.ini")
	if err := os.WriteFile(ini, []byte(strings.ReplaceAll(string(text), "/var/log", n.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	said := n.follow(t, "problems.log", "Disk /var:  (was WARNING, hard)\n", "/usr/bin/python3", "testdata/mqttwarn.py", ini, n.host, n.port)
	for _, want := range []string{
		"2026-11-21T18:08:49.000Z CRITICAL checkbus/event/web1/disk: not yet (was OK, soft)\n",
		"2026-11-21T18:08:49.000Z DOWN checkbus/event/web2: keine Antwort für 10 µs (was UP, hard)\n",
	} {
		if strings.Count(said, want) != 1 {
			t.Errorf("said\n%s\nwant\n%s", said, want)
		}
	}
}

// Home Assistant is no package of the distribution, so this looks but at the
// fields and topics.
func TestHomeAssistantNamesFieldsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("homeassistant/configuration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(events[0])
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(payload, &fields); err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`_json\.(\w+)`).FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if _, ok := fields[m[1]]; !ok {
			t.Errorf("there is no field %q", m[1])
		}
	}
	topics := regexp.MustCompile(`topic: (\S+)`).FindAllStringSubmatch(string(text), -1)
	for _, m := range topics {
		if !regexp.MustCompile(`^checkbus/(status$|state/.|event/#$)`).MatchString(m[1]) {
			t.Errorf("there is no topic %q", m[1])
		}
	}
	if len(named) == 0 || len(topics) == 0 {
		t.Error("it names nothing")
	}
}
