package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func (c aclCase) ask(a *ACL) bool {
	writes := c.verb == "write"
	return a.Allows(c.user, c.client, writes, c.topic) && !(writes && Reserved(c.topic))
}

func (c aclCase) withClient() aclCase {
	if c.client == "" {
		c.client = fmt.Sprintf("c%x", c.user) // one for each user
	}
	return c
}

func TestACLDecides(t *testing.T) {
	for name, file := range aclFiles {
		t.Run(name, func(t *testing.T) {
			a, err := parseACL("acl", []byte(file.text+aclAdmin))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range file.cases {
				if c = c.withClient(); c.ask(a) != c.want {
					t.Errorf("%v: %t, want %t", c, c.ask(a), c.want)
				}
			}
		})
	}
}

// The same files and the same questions, put to a real Mosquitto.
func TestACLDecidesAsMosquittoDoes(t *testing.T) {
	cases := 0
	for name, file := range aclFiles {
		cases += len(file.cases)
		t.Run(name, func(t *testing.T) {
			a, err := parseACL("acl", []byte(file.text+aclAdmin))
			if err != nil {
				t.Fatal(err)
			}
			for c, mosquitto := range askMosquitto(t, file) {
				if ours := c.ask(a); ours != mosquitto {
					t.Errorf("%v: Mosquitto says %t, we say %t", c, mosquitto, ours)
				}
			}
		})
	}
	if cases < 60 {
		t.Errorf("%d cases are too few", cases)
	}
}

// askMosquitto returns Mosquitto's decisions on the cases of file. What may be
// read is seen by subscribing to everything and counting what arrives.
func askMosquitto(t *testing.T, file aclFile) map[aclCase]bool {
	acl := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte(file.text+aclAdmin), 0o600); err != nil {
		t.Fatal(err)
	}
	mosquitto := realtest.StartMosquitto(t, "acl_file "+acl, "set_tcp_nodelay true")
	decided := map[aclCase]bool{}
	clients := map[[2]string]*aclClient{}
	for _, c := range file.cases {
		c = c.withClient()
		id := [2]string{c.user, c.client}
		if clients[id] == nil {
			clients[id] = newACLClient(t, mosquitto.Addr, c.user, c.client)
		}
		if c.verb == "write" {
			decided[c] = clients[id].publish(c.topic, "from a client")
		}
	}
	admin := newACLClient(t, mosquitto.Addr, "admin", "admin")
	for _, c := range file.cases {
		if c.verb == "read" && !strings.HasPrefix(c.topic, "$SYS") && !admin.publish(c.topic, "from the admin") {
			t.Fatalf("the admin may not publish %s", c.topic)
		}
	}
	for _, client := range clients {
		client.Send([]byte{mqtttest.PINGREQ << 4, 0})
		client.await(mqtttest.PINGRESP) // with that, it has all that was published
	}
	for _, c := range file.cases {
		if c = c.withClient(); c.verb == "read" {
			payload, ok := clients[[2]string{c.user, c.client}].received[c.topic]
			decided[c] = ok && payload != "from a client"
		}
	}
	return decided
}

// An aclClient has subscribed to everything, which is always granted.
type aclClient struct {
	*mqtttest.Client
	t        *testing.T
	received map[string]string // topics with the last payload
}

func newACLClient(t *testing.T, addr, user, id string) *aclClient {
	t.Helper()
	c := &aclClient{mqtttest.Dial(t, addr, mqtttest.Options{ID: id, User: user, V5: true}), t, map[string]string{}}
	for _, filter := range []string{"#", "$x/#", "$SYS/broker/version"} {
		if code := c.Subscribe(filter, 0); code >= 0x80 {
			t.Errorf("user %q: subscription to %s: code %#x", user, filter, code)
		}
	}
	return c
}

// publish reports whether the broker takes a message.
func (c *aclClient) publish(topic, payload string) bool {
	c.t.Helper()
	c.Publish(mqtttest.Message{Topic: topic, Payload: payload, QoS: 1, ID: 1})
	return c.await(mqtttest.PUBACK).Code() < 0x80
}

// await returns the next packet of the given type, and notes messages before it.
func (c *aclClient) await(kind int) mqtttest.Packet {
	c.t.Helper()
	for {
		p, err := c.Read()
		switch {
		case err != nil:
			c.t.Fatal(err)
		case p.Type() == mqtttest.PUBLISH:
			c.received[p.Topic()] = p.Payload()
		case p.Type() == kind:
			return p
		default:
			c.t.Fatalf("got %v, waiting for packet type %d", p, kind)
		}
	}
}

func TestACLFilesAreTakenAsMosquittoTakesThem(t *testing.T) {
	for name, tt := range aclTexts {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "acl")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadACL(path); (err == nil) != tt.valid {
				t.Errorf("ReadACL: %v, want an error: %t", err, !tt.valid)
			}
			if starts, log := mosquittoStarts(t, "acl_file "+path); starts != tt.valid {
				t.Errorf("mosquitto starts: %t, want %t\n%s", starts, tt.valid, log)
			}
		})
	}
}

// mosquittoStarts reports whether Mosquitto starts with these lines of settings.
func mosquittoStarts(t *testing.T, settings string) (starts bool, log string) {
	t.Helper()
	program := realtest.Need(t, "mosquitto")
	dir := t.TempDir()
	// As root Mosquitto would become a user that cannot read the test's files.
	conf := []byte("user root\nlistener 0 ./socket\n" + settings + "\n")
	if err := os.WriteFile(filepath.Join(dir, "conf"), conf, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", "conf")
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stderr); !starts && lines.Scan(); {
		log += lines.Text() + "\n"
		starts = strings.HasSuffix(lines.Text(), " running")
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	_ = cmd.Wait()
	return starts, log
}

func TestACLErrorsNameFileAndLine(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"unknown word":   {"topic a\n# x\n # y\n", `acl:3: "#" is none of topic, pattern and user (a comment's # stands first in its line)`},
		"unknown access": {"topic rw a\n", `acl:1: topic: access "rw" is none of read, write, readwrite and deny`},
		"no topic":       {"pattern\n", `acl:1: pattern: the topic is empty`},
		"no name":        {"user \n", `acl:1: user: the name is missing`},
		"bad topic":      {"topic read a+\n", `acl:1: topic: topic "a+": a + stands for a whole level`},
		"NUL":            {"topic read a\x00b\n", `acl:1: the line holds a NUL byte`},
		"all at once":    {"user\ntopic a\ntopic #/a\n", "acl:1: user: the name is missing\nacl:3: topic: topic \"#/a\": a # stands for all of the last levels"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := parseACL("acl", []byte(tt.text))
			if err == nil || err.Error() != tt.want || a != nil {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := ReadACL(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestDefaultAccessLetsAHostSpeakForItself(t *testing.T) {
	type can struct{ read, write bool }
	all, reads, none := can{true, true}, can{true, false}, can{}
	tests := map[string]struct {
		root, user string
		local      bool
		want       map[string]can
	}{
		"a host": {"nagios", "web1", false, map[string]can{
			"nagios/web1": all, "nagios/web1/disk": all, "nagios/web1/": all,
			"nagios/web10": none, "nagios/web": none, "nagios/db1": none, "nagios/db1/web1": none,
			"nagios": none, "nagios/": none, "nagios//web1": none,
			"checkbus/event/db1": reads, "nagiosx/db1": reads, "web1": reads, "$SYS/broker/uptime": reads,
		}},
		"a host on this machine": {"nagios", "web1", true, map[string]can{
			"nagios/web1": all, "nagios/db1": none, "nagios": none, "other": reads,
		}},
		"a name to encode": {"nagios", "a/b+c", false, map[string]can{
			"nagios/a%2Fb%2Bc": all, "nagios/a%2Fb%2Bc/x": all, "nagios/a/b+c": none, "nagios/a": none,
		}},
		"a root of two levels": {"site/nagios", "web1", false, map[string]can{
			"site/nagios/web1": all, "site/nagios/db1": none, "site/nagios": none, "site": reads, "site/web1": reads,
		}},
		"anonymous on this machine": {"nagios", "", true, map[string]can{
			"nagios": all, "nagios/web1": all, "x": all,
		}},
		"anonymous from elsewhere": {"nagios", "", false, map[string]can{
			"nagios": none, "nagios/web1": none, "nagiosx": reads, "checkbus/event/web1": reads,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := DefaultAccess{Root: tt.root, Local: tt.local}
			for topic, want := range tt.want {
				got := can{d.Allows(tt.user, "c", false, topic), d.Allows(tt.user, "c", true, topic)}
				if got != want {
					t.Errorf("%s: %+v, want %+v", topic, got, want)
				}
			}
		})
	}
}

func TestACLDecisionsDoNotAllocate(t *testing.T) {
	a, err := parseACL("acl", []byte("pattern write out/%u/%c/#\npattern deny out/%u/secret\nuser web1\ntopic read in/#\n"))
	if err != nil {
		t.Fatal(err)
	}
	d := DefaultAccess{Root: "nagios"}
	n := testing.AllocsPerRun(100, func() {
		if !a.Allows("web1", "dev1", true, "out/web1/dev1/x") || !d.Allows("web1", "dev1", true, "nagios/web1/x") {
			t.Error("denied")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkACLWithASectionForEachOfManyHosts(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "user host%d\ntopic readwrite nagios/host%d/#\ntopic read checkbus/#\n", i, i)
	}
	a, err := parseACL("acl", []byte(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !a.Allows("host99999", "c", true, "nagios/host99999/disk") {
			b.Fatal("denied")
		}
	}
}

func FuzzParseACL(f *testing.F) {
	for _, file := range aclFiles {
		f.Add([]byte(file.text), "bob", "dev1", "a/b")
	}
	for _, tt := range aclTexts {
		f.Add([]byte(tt.text), "%u", "%c", "$SYS/a")
	}
	f.Fuzz(func(t *testing.T, text []byte, user, client, topic string) {
		a, err := parseACL("acl", text)
		if (a == nil) == (err == nil) {
			t.Fatalf("got %v and %v", a, err)
		}
		if err != nil {
			return
		}
		a.Allows(user, client, true, topic)
		for _, rules := range a.users {
			for _, r := range rules {
				if err := checkFilter(r.filter); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
