package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	socket, log := startMosquitto(t, "allow_anonymous true\nacl_file "+acl+"\n")
	if socket == "" {
		t.Fatalf("mosquitto does not start: %s", log)
	}
	decided := map[aclCase]bool{}
	clients := map[[2]string]*rawClient{}
	for _, c := range file.cases {
		c = c.withClient()
		id := [2]string{c.user, c.client}
		if clients[id] == nil {
			clients[id] = connectSubscriber(t, socket, c.user, c.client)
		}
		if c.verb == "write" {
			decided[c] = clients[id].publish(c.topic, "from a client") < 0x80
		}
	}
	admin := connectSubscriber(t, socket, "admin", "admin")
	for _, c := range file.cases {
		if c.verb == "read" && !strings.HasPrefix(c.topic, "$SYS") {
			if reason := admin.publish(c.topic, "from the admin"); reason >= 0x80 {
				t.Fatalf("publish %s: reason code %#x", c.topic, reason)
			}
		}
	}
	for _, client := range clients {
		client.catchUp()
	}
	for _, c := range file.cases {
		if c = c.withClient(); c.verb == "read" {
			payload, ok := clients[[2]string{c.user, c.client}].received[c.topic]
			decided[c] = ok && payload != "from a client"
		}
	}
	return decided
}

// connectSubscriber connects a client that subscribes to everything, which is
// always granted.
func connectSubscriber(t *testing.T, socket, user, client string) *rawClient {
	t.Helper()
	var name *string
	if user != "" {
		name = &user
	}
	c, reason := connectRaw(t, socket, client, name, nil)
	if reason != 0 {
		t.Fatalf("connect as %q: reason code %#x", user, reason)
	}
	for _, filter := range []string{"#", "$x/#", "$SYS/broker/version"} {
		if reason := c.subscribe(filter); reason >= 0x80 {
			t.Errorf("user %q: subscription to %s: reason code %#x", user, filter, reason)
		}
	}
	return c
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
			if socket, log := startMosquitto(t, "acl_file "+path+"\n"); (socket != "") != tt.valid {
				t.Errorf("mosquitto starts: %t, want %t\n%s", socket != "", tt.valid, log)
			}
		})
	}
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
			"nagios": reads, "nagios/web1": reads, "checkbus/event/web1": reads,
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
