package broker

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestNewRulesHoldForConnectedClients(t *testing.T) {
	g := start(t, secured(t, "user web1\ntopic read end\n"))
	c := g.dial(as("web1", "secret1", true))
	for _, filter := range []string{"a", "b/#", "end"} {
		if code := c.Subscribe(filter, 1); code != 1 {
			t.Errorf("a subscription to %s was answered %#x", filter, code)
		}
	}
	may := func(want bool) {
		t.Helper()
		for id, topic := range []string{1: "a", 2: "b/c"} {
			if id == 0 {
				continue
			}
			c.Publish(mqtttest.Message{Topic: "nagios/web1", QoS: 1, ID: uint16(id)})
			if p := c.Acked(mqtttest.PUBACK, uint16(id)); want != (p.Code() == 0) {
				t.Errorf("a publish was answered %#x", p.Code())
			}
			g.tell(topic, "x")
			if want {
				if p := c.Next(mqtttest.PUBLISH); p.Topic() != topic {
					t.Errorf("delivered %v", p)
				}
			}
		}
		g.nothingMore(c)
	}
	rules := []string{"user web1\ntopic read #\ntopic write nagios/web1\n", "user web1\ntopic read end\n"}
	may(false)
	for i, text := range rules {
		write(t, g.cfg.Access.ACLFile, text)
		if err := g.Reload(); err != nil {
			t.Fatal(err)
		}
		may(i == 0)
	}
}

func TestBadFilesLeaveWhatTheySaidBefore(t *testing.T) {
	g := start(t, secured(t, "user web1\ntopic write nagios/web1\n"))
	c := g.dial(as("web1", "secret1", true))
	write(t, g.cfg.Access.ACLFile, "user web1\ntopic write nagios/#\ntopic grant x\n")
	write(t, g.cfg.Access.PasswordFile, "\nweb1:secret1\n")
	err := g.Reload()
	for _, want := range []string{
		fmt.Sprintf("access.password_file: %s:2: ", g.cfg.Access.PasswordFile),
		fmt.Sprintf("access.acl_file: %s:3: ", g.cfg.Access.ACLFile),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Reload = %v, want %s", err, want)
		}
	}
	for topic, want := range map[string]byte{"nagios/web1": 0, "nagios/web2": 0x87} {
		c.Publish(mqtttest.Message{Topic: topic, QoS: 1, ID: 1})
		if p := c.Acked(mqtttest.PUBACK, 1); p.Code() != want {
			t.Errorf("%s was answered %#x", topic, p.Code())
		}
	}
	g.dial(as("web2", "secret2", true))
}

func TestOneBadFileDoesNotKeepTheOtherFromBeingRead(t *testing.T) {
	g := start(t, secured(t, "user web1\ntopic write nagios/web1\n"))
	write(t, g.cfg.Access.ACLFile, "nonsense\n")
	if err := SetPassword(g.cfg.Access.PasswordFile, "web3", "secret3"); err != nil {
		t.Fatal(err)
	}
	if g.Reload() == nil {
		t.Error("no error")
	}
	g.dial(as("web3", "secret3", true))
}

func TestUsersWhoseLoginIsGoneAreDisconnected(t *testing.T) {
	for version, v5 := range versions {
		t.Run(version, func(t *testing.T) {
			g := start(t, secured(t, ""), anonymous)
			passwords := g.cfg.Access.PasswordFile
			if err := SetPassword(passwords, "web3", "secret3"); err != nil {
				t.Fatal(err)
			}
			if err := g.Reload(); err != nil {
				t.Fatal(err)
			}
			deleted, changed := g.dial(as("web1", "secret1", v5)), g.dial(as("web2", "secret2", v5))
			kept, guest := g.dial(as("web3", "secret3", v5)), g.dial(mqtttest.Options{ID: "guest"})

			if err := DeletePassword(passwords, "web1"); err != nil {
				t.Fatal(err)
			}
			if err := SetPassword(passwords, "web2", "other"); err != nil {
				t.Fatal(err)
			}
			if err := g.Reload(); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*mqtttest.Client{deleted, changed} {
				if p := c.Closed(); v5 && p.Code() != 0x87 {
					t.Errorf("told %v", p)
				}
			}
			kept.Ping()
			guest.Ping()
			if c := mqtttest.Connect(t, g.addr, as("web1", "secret1", v5)); c.Connack.Code() == 0 {
				t.Error("a deleted user is let in")
			}
		})
	}
}

func TestMissingFilesAreErrorsAtTheStart(t *testing.T) {
	cfg := Default()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.Access = Access{PasswordFile: "/nonexistent/passwd", ACLFile: "/nonexistent/acl"}
	b, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = b.Listen()
	for _, want := range []string{"access.password_file: ", "access.acl_file: ", "/nonexistent/passwd", "/nonexistent/acl"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen = %v, want %s", err, want)
		}
	}
}
