// Package examples holds nothing but the tests of the examples.
package examples

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/realtest"
)

// A result is what the examples publish.
type result struct {
	Service  string
	ExitCode any `json:"exit_code"`
	Reason   string
	Perfdata string
	Source   string
}

// A mailbox is a subscriber's session on a real broker: it keeps what the
// examples publish until it is read.
type mailbox struct {
	command []string
	env     []string // in which mosquitto_pub finds the broker
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	m := realtest.StartMosquitto(t)
	host, port, _ := net.SplitHostPort(m.Addr)
	b := &mailbox{
		command: []string{realtest.Need(t, "mosquitto_sub"), "-h", host, "-p", port, "-c", "-i", "mailbox", "-q", "1", "-t", "nagios/#", "-F", "%t\t%p"},
		env:     publisherEnv(t, m.Addr),
	}
	b.subscriber(t, "-E")
	return b
}

// publisherEnv is an environment in which mosquitto_pub publishes to addr, and
// publish-plugin.sh is found.
func publisherEnv(t *testing.T, addr string) []string {
	t.Helper()
	realtest.Need(t, "mosquitto_pub")
	host, port, _ := net.SplitHostPort(addr)
	config := t.TempDir()
	options := fmt.Sprintf("-h %s\n-p %s\n", host, port)
	if err := os.WriteFile(filepath.Join(config, "mosquitto_pub"), []byte(options), 0o600); err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Abs("hosts")
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "XDG_CONFIG_HOME="+config, "PATH="+scripts+":"+os.Getenv("PATH"), "CHECKBUS_HOST=web1")
}

func (b *mailbox) subscriber(t *testing.T, more ...string) string {
	t.Helper()
	args := append(b.command[1:len(b.command):len(b.command)], more...)
	out, err := exec.CommandContext(t.Context(), b.command[0], args...).Output()
	if err != nil {
		t.Fatalf("mosquitto_sub: %v", err)
	}
	return string(out)
}

// publish runs a command that publishes, and returns the message.
func (b *mailbox) publish(t *testing.T, command ...string) (topic, payload string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = b.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	topic, payload, _ = strings.Cut(strings.TrimSuffix(b.subscriber(t, "-C", "1"), "\n"), "\t")
	return topic, payload
}

// decode returns the results of a payload, one or more.
func decode(t *testing.T, payload string) []result {
	t.Helper()
	var results []result
	for d := json.NewDecoder(strings.NewReader(payload)); d.More(); {
		var r result
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		results = append(results, r)
	}
	return results
}

func TestPublishPluginKeepsOutputAndExitCode(t *testing.T) {
	tests := map[string]struct {
		plugin string // a shell script
		code   float64
		reason string
	}{
		"OK":                {`echo 'DISK OK - free | /=9MB;1;2'`, 0, "DISK OK - free | /=9MB;1;2"},
		"CRITICAL":          {`echo down; exit 2`, 2, "down"},
		"quotes":            {`printf '%s\n' "it's \"quoted\""`, 0, `it's "quoted"`},
		"backslashes":       {`printf '%s\n' 'C:\temp\new \\ \u0041 \'`, 0, `C:\temp\new \\ \u0041 \`},
		"several lines":     {`printf 'first\n\nthird\n'`, 0, "first\n\nthird"},
		"tab, ESC, CR, DEL": {`printf 'a\tb\033[31mc\r\177\n'`, 0, "a\tb\x1b[31mc\r\x7f"},
		"UTF-8":             {`echo 'Größe 10 µm ✓ 😀'`, 0, "Größe 10 µm ✓ 😀"},
		"percent signs":     {`printf '%s\n' '100%s %d %n'`, 0, "100%s %d %n"},
		"shell characters":  {"echo '$(id) `id` $HOME ; & * ? ~'", 0, "$(id) `id` $HOME ; & * ? ~"},
		"leading dash":      {`printf '%s\n' '-n -e'`, 0, "-n -e"},
		"no output":         {`exit 3`, 3, "no output, exit code 3"},
		"only stderr":       {`echo oops >&2; exit 1`, 1, "no output, exit code 1"},
		"long":              {`awk 'BEGIN { for (i = 0; i < 10000; i++) printf "0123456789" }'`, 0, strings.Repeat("0123456789", 10000)},
		"killed":            {`kill -9 $$`, 137, "no output, exit code 137"},
	}
	b := newMailbox(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			topic, payload := b.publish(t, "hosts/publish-plugin.sh", "Disk /var", "/bin/sh", "-c", tt.plugin)
			if want := "nagios/web1/Disk /var"; topic != want {
				t.Errorf("topic %q, want %q", topic, want)
			}
			got := decode(t, payload)
			want := result{ExitCode: tt.code, Reason: tt.reason, Source: "web1"}
			if len(got) != 1 || got[0] != want {
				t.Errorf("published %.200q, want %.200q", got, want)
			}
		})
	}
}

func TestPublishPluginEncodesNames(t *testing.T) {
	tests := map[string]struct{ host, service, topic string }{
		"the host itself": {"web1", "", "nagios/web1"},
		"plain":           {"web1", "disk", "nagios/web1/disk"},
		"all specials":    {"a/b+c#d%e", "C++ #1 100% /var", "nagios/a%2Fb%2Bc%23d%25e/C%2B%2B %231 100%25 /var"},
		"quotes":          {`say "hi"`, `it's`, `nagios/say "hi"/it's`},
	}
	b := newMailbox(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b.env = append(b.env, "CHECKBUS_HOST="+tt.host)
			topic, payload := b.publish(t, "hosts/publish-plugin.sh", tt.service, "/bin/echo", "fine")
			if topic != tt.topic {
				t.Errorf("topic %q, want %q", topic, tt.topic)
			}
			if got := decode(t, payload); got[0].Source != tt.host {
				t.Errorf("source %q, want %q", got[0].Source, tt.host)
			}
		})
	}
}

func TestPublishPluginFailsWhenNobodyTakesResult(t *testing.T) {
	tests := map[string][]string{
		"no broker": {"disk", "/bin/echo", "fine"},
		"no plugin": {"disk"},
	}
	env := publisherEnv(t, "127.0.0.1:1")
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "hosts/publish-plugin.sh", args...)
			cmd.Env = env
			if out, err := cmd.CombinedOutput(); err == nil || len(out) == 0 {
				t.Errorf("%v and %q, want an error and a message", err, out)
			}
		})
	}
}

// TestHostsReadmeWorks runs every command of the README as it stands there.
func TestHostsReadmeWorks(t *testing.T) {
	want := map[string]struct {
		topic    string
		services []string
	}{
		"One result":                     {"nagios/web1/backup", []string{""}},
		"The host itself":                {"nagios/web1", []string{""}},
		"A plugin, from cron":            {"nagios/web1/Disk /", []string{""}},
		"A job that should have run":     {"nagios/web1/nightly", []string{""}},
		"Several results in one message": {"nagios/web1", []string{"load", "users"}},
	}
	realtest.Need(t, "jq")
	realtest.Need(t, "/usr/lib/nagios/plugins/check_disk")
	b := newMailbox(t)
	for _, c := range readmeCommands(t, "hosts/README.md") {
		t.Run(c.heading, func(t *testing.T) {
			topic, payload := b.publish(t, "/bin/sh", "-eu", "-c", c.text)
			want, ok := want[c.heading]
			if !ok {
				t.Fatal("the test expects nothing of it")
			}
			if topic != want.topic {
				t.Errorf("topic %q, want %q", topic, want.topic)
			}
			var services []string
			for _, r := range decode(t, payload) {
				if r.ExitCode == nil || r.Reason == "" {
					t.Errorf("%s: a field is missing", payload)
				}
				services = append(services, r.Service)
			}
			if fmt.Sprint(services) != fmt.Sprint(want.services) {
				t.Errorf("services %q, want %q", services, want.services)
			}
		})
	}
}

type command struct{ heading, text string }

// readmeCommands returns the fenced blocks of a Markdown file. A crontab's
// line is returned without its schedule.
func readmeCommands(t *testing.T, file string) []command {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var commands []command
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		_, block, found := strings.Cut(section, "\n```")
		if !found {
			t.Fatalf("%s: %s: no command", file, heading)
		}
		block, _, _ = strings.Cut(block, "\n```")
		kind, block, _ := strings.Cut(block, "\n")
		if kind == "cron" {
			block = strings.SplitN(block, " ", 6)[5]
		}
		commands = append(commands, command{heading, block})
	}
	return commands
}
