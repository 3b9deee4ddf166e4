package icinga

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestAWrongPasswordDelaysResultsUntilTheFileIsMended(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}})
	right, err := os.ReadFile(ic.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg := configOf(ic)
	cfg.PasswordFile = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(cfg.PasswordFile, []byte("swordfish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, cfg)
	g.times.slow, g.times.patience = 50*time.Millisecond, 50*time.Millisecond
	g.start()
	batch := g.accept(checks.Result{Object: disk, Reason: "patient"})
	for range 3 {
		err := g.Submit(context.Background(), batch)[0]
		if err == nil || errors.Is(err, checks.ErrRejected) || !strings.Contains(err.Error(), "401") {
			t.Fatalf("with a wrong password: %v", err)
		}
	}
	if err := os.WriteFile(cfg.PasswordFile, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if rejected := g.handOver(batch); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
	if g.log.count("core unreachable") != 1 || g.log.count("core back") != 1 {
		t.Error("not one line when the core went and one when it was back")
	}
	if g.log.count("swordfish")+g.log.count(strings.TrimSpace(string(right))) != 0 {
		t.Error("the log tells the password")
	}
}

func TestAClientCertificateIsAnAccount(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}})
	cfg := configOf(ic)
	cfg.Username, cfg.PasswordFile = "", ""
	cfg.ClientCert, cfg.ClientKey = ic.ClientCert, ic.ClientKey
	g := newGateway(t, cfg)
	g.start()
	if rejected := g.deliver(checks.Result{Object: disk, Reason: "certified"}); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: []checks.Object{disk}})
	good := configOf(ic)
	for name, change := range map[string]func(*Config){
		"authority": func(c *Config) { c.CA = realtest.NewAuthority(t, t.TempDir()).File },
		"name":      func(c *Config) { c.ServerName = "icinga-other" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			g := newGateway(t, cfg)
			g.times.patience = 100 * time.Millisecond
			g.start()
			err := g.Submit(context.Background(), g.accept(checks.Result{Object: disk}))[0]
			if err == nil || errors.Is(err, checks.ErrRejected) || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("Submit = %v", err)
			}
		})
	}
}

func TestForbiddenResultsAreRejectedWithOneAlarm(t *testing.T) {
	open, closed := service("open"), service("closed")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{open},
		Config:  `object Service "closed" { import "checkbus-service"; host_name = "web1"; enable_passive_checks = false }`,
	})
	g := newGateway(t, configOf(ic))
	g.start()
	for range 3 {
		verdicts := g.Submit(context.Background(), g.accept(checks.Result{Object: closed}, checks.Result{Object: open}))
		if !errors.Is(verdicts[0], checks.ErrRejected) || errors.Is(verdicts[0], checks.ErrUnknownObject) || verdicts[1] != nil {
			t.Errorf("Submit = %v", verdicts)
		}
	}
	if n := g.log.count("result forbidden"); n != 1 {
		t.Errorf("%d alarms, want 1", n)
	}
}

// An account that may look but not submit gets 404, as if there were no such
// object. The results are sound, and wait for the permission.
func TestAMissingPermissionIsNoUnknownObject(t *testing.T) {
	disk := service("disk")
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{
		Objects: []checks.Object{disk},
		Config: `object ApiUser "looker" { password = CheckbusPassword; permissions = [
			"actions/none", "objects/query/Host", "objects/query/Service", "events/ObjectCreated", "events/ObjectDeleted", "status/query" ] }`,
	})
	cfg := configOf(ic)
	cfg.Username = "looker"
	g := newGateway(t, cfg)
	g.start()
	err := g.Submit(context.Background(), g.accept(checks.Result{Object: disk}))[0]
	t.Log(err)
	if err == nil || errors.Is(err, checks.ErrRejected) {
		t.Errorf("Submit = %v", err)
	}
	if g.log.count("permission missing") != 1 {
		t.Error("no alarm")
	}
}
