package broker

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// secured makes settings with the users web1 and web2, whose passwords are
// secret1 and secret2, and with these rules, if any.
func secured(t testing.TB, acl string) func(*Config) {
	t.Helper()
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwd")
	for user, password := range map[string]string{"web1": "secret1", "web2": "secret2"} {
		if err := SetPassword(passwords, user, password); err != nil {
			t.Fatal(err)
		}
	}
	return func(c *Config) {
		c.Access.PasswordFile = passwords
		if acl != "" {
			c.Access.ACLFile = filepath.Join(dir, "acl")
			write(t, c.Access.ACLFile, acl)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// anonymous lets in clients without a user name.
func anonymous(c *Config) { yes := true; c.Listeners[0].AllowAnonymous = &yes }

// as are the options of a client that logs in.
func as(user, password string, v5 bool) mqtttest.Options {
	return mqtttest.Options{ID: user + "-client", User: user, Password: &password, V5: v5}
}

func TestWhoIsLetIn(t *testing.T) {
	open := start(t, secured(t, ""), anonymous)
	closed := start(t, secured(t, ""))
	plain := start(t)
	tests := map[string]struct {
		g      *gateway
		o      mqtttest.Options
		v3, v5 byte
	}{
		"the right password":              {closed, as("web1", "secret1", false), 0, 0},
		"a wrong password":                {closed, as("web1", "secret2", false), 4, 0x86},
		"no password":                     {closed, mqtttest.Options{User: "web1"}, 4, 0x86},
		"an empty password":               {closed, as("web1", "", false), 4, 0x86},
		"an unknown user":                 {closed, as("nobody", "secret1", false), 4, 0x86},
		"no user":                         {closed, mqtttest.Options{}, 5, 0x87},
		"no user where that is allowed":   {open, mqtttest.Options{}, 0, 0},
		"a wrong password there":          {open, as("web1", "x", false), 4, 0x86},
		"an unknown user there":           {open, as("nobody", "x", false), 4, 0x86},
		"a user where names mean nothing": {plain, as("nobody", "x", false), 0, 0},
	}
	for name, tt := range tests {
		for version, v5 := range versions {
			t.Run(name+", "+version, func(t *testing.T) {
				tt.o.V5 = v5
				want := tt.v3
				if v5 {
					want = tt.v5
				}
				before := tt.g.Stats().Unauthorized
				c := mqtttest.Connect(t, tt.g.addr, tt.o)
				if c.Connack.Type() != mqtttest.CONNACK || c.Connack.Code() != want {
					t.Fatalf("answered %v, want %#x", c.Connack, want)
				}
				if want != 0 {
					c.Closed()
				}
				if counted := tt.g.Stats().Unauthorized != before; counted != (want != 0) {
					t.Errorf("counted as refused: %t", counted)
				}
			})
		}
	}
	if log := closed.log.String(); strings.Count(log, "login refused") != 1 || strings.Contains(log, "secret") {
		t.Errorf("logged:\n%s", log)
	}
}

func TestUserNamesThatNobodyCheckedMeanNothing(t *testing.T) {
	g := start(t)
	c := g.dial(as("web1", "guessed", false))
	c.Publish(result(1, 1, "x"))
	c.Acked(mqtttest.PUBACK, 1)
	if m := g.got(t, 1)[0]; m.User != "" {
		t.Errorf("user %q", m.User)
	}
}

// guessed makes the wait after wrong passwords, which begins with a second, as
// long as a slow machine may need; there must be one already.
func (g *gateway) guessed(address netip.Addr, user string) {
	g.t.Helper()
	if g.attempts.Wait(address, user) == 0 {
		g.t.Fatal("no wait after too many wrong passwords")
	}
	for range 5 {
		g.attempts.Failed(address, user)
	}
}

func TestGuessingMakesAUserWait(t *testing.T) {
	g := start(t, secured(t, ""))
	for range loginAttempts {
		mqtttest.Connect(t, g.addr, as("web1", "guess", true))
	}
	g.guessed(netip.MustParseAddr("127.0.0.1"), "web1")
	for name, code := range map[string]byte{"3.1.1": 3, "5": 0x9F} {
		if c := mqtttest.Connect(t, g.addr, as("web1", "secret1", versions[name])); c.Connack.Code() != code {
			t.Errorf("%s: answered %#x", name, c.Connack.Code())
		}
	}
	g.dial(as("web2", "secret2", true)) // from the same address
}

func TestLoginsThatWaitHoldUpNobodyElse(t *testing.T) {
	g := start(t, secured(t, ""), anonymous)
	for range cap(g.hashers) {
		g.hashers <- struct{}{}
	}
	waiting := mqtttest.Open(t, g.addr, mqtttest.Options{})
	waiting.Send(as("web1", "secret1", false).Encode())
	eventually(t, "it is being served", func() bool { return g.count.connections.Load() == 1 })

	c := g.dial(mqtttest.Options{ID: "other"})
	c.Publish(result(1, 1, "x"))
	c.Acked(mqtttest.PUBACK, 1)
	g.stop()
	waiting.Closed()
}

func TestUsersSpeakForThemselves(t *testing.T) {
	for version, v5 := range versions {
		t.Run(version, func(t *testing.T) {
			g := start(t, secured(t, ""))
			web1, web2 := g.dial(as("web1", "secret1", v5)), g.dial(as("web2", "secret2", v5))
			for _, filter := range []string{"nagios/#", "nagios/web1/disk", "$share/g/nagios/web1", "end", "checkbus/#"} {
				if code := web2.Subscribe(filter, 1); code != 1 {
					t.Errorf("a subscription to %s was answered %#x", filter, code)
				}
			}
			for i, topic := range []string{"nagios/web1/disk", "nagios/web1", "nagios/web2", "nagios", "other", "checkbus/state/web1"} {
				id := uint16(i + 1)
				web1.Publish(mqtttest.Message{Topic: topic, QoS: 1, ID: id})
				denied := i > 1
				if p := web1.Acked(mqtttest.PUBACK, id); v5 && denied != (p.Code() == 0x87) {
					t.Errorf("%s was answered %#x", topic, p.Code())
				}
			}
			for i, m := range g.got(t, 2) {
				if want := []string{"nagios/web1/disk", "nagios/web1"}[i]; m.Topic != want || m.User != "web1" {
					t.Errorf("accepted %+v", m)
				}
			}
			for i, m := range g.refused(t, 2) {
				if want := []string{"nagios/web2", "nagios"}[i]; m.Topic != want || m.User != "web1" {
					t.Errorf("denied %+v", m)
				}
			}
			if err := g.Publish("checkbus/state/web1", nil, false); err != nil {
				t.Fatal(err)
			}
			if p := web2.Next(mqtttest.PUBLISH); p.Topic() != "checkbus/state/web1" {
				t.Errorf("delivered %v", p)
			}
			g.nothingMore(web2)
		})
	}
}

func TestAnonymousFromElsewhereReadsAllButResults(t *testing.T) {
	g := start(t)
	g.elsewhere()
	c := g.dial(mqtttest.Options{ID: "stranger"})
	for _, filter := range []string{"#", "nagios/web1", "end"} {
		c.Subscribe(filter, 0)
	}
	g.tell("nagios/web1", "secret")
	g.tell("checkbus/state/web1", "for all")
	if p := c.Next(mqtttest.PUBLISH); p.Payload() != "for all" {
		t.Errorf("delivered %v", p)
	}
	g.nothingMore(c)
}

func TestWillObeysTheRules(t *testing.T) {
	g := start(t, secured(t, "user web1\ntopic write nagios/web1/#\n"))
	for i, topic := range []string{"nagios/web1/up", "nagios/web2/up"} {
		o := as("web1", "secret1", false)
		o.Will = &mqtttest.Message{Topic: topic, Payload: "gone"}
		_ = g.dial(o).Close()
		if i == 0 {
			if m := g.got(t, 1)[0]; m.Topic != topic || m.User != "web1" || !m.Will || m.Client != "web1-client" {
				t.Errorf("got %+v", m)
			}
		}
	}
	if m := g.refused(t, 1)[0]; m.Topic != "nagios/web2/up" || !m.Will {
		t.Errorf("denied %+v", m)
	}
}

func TestSessionStaysWithItsUser(t *testing.T) {
	g := start(t, secured(t, "user web1\ntopic a\nuser web2\ntopic b\n"))
	o := as("web1", "secret1", false)
	o.ID, o.Persistent = "shared", true
	c := g.dial(o)
	c.Subscribe("a", 1)
	c.Disconnect()
	eventually(t, "it is away", func() bool { return g.Stats().Connected == 0 })
	g.tell("a", "for web1")

	o = as("web2", "secret2", false)
	o.ID, o.Persistent = "shared", true
	c = g.dial(o)
	if c.Connack.SessionPresent() {
		t.Error("another user's session is present")
	}
	c.Ping()
	if n := g.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}
