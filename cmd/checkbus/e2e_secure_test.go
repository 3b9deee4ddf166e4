package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

// setPassword runs checkbus passwd.
func setPassword(t *testing.T, file, user, password string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "passwd", file, user)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("checkbus passwd: %v\n%s", err, out)
	}
}

// letsIn reports whether a user may publish its own result; options are those of
// mosquitto_pub, which only prints that MQTT 5 refused it.
func (g *gateway) letsIn(user string, options ...string) bool {
	g.t.Helper()
	args := append([]string{"-q", "1", "-t", "nagios/" + user, "-m", `{"exit_code": 0, "reason": "up"}`}, options...)
	out, err := g.mosquitto("mosquitto_pub", args...).CombinedOutput()
	return err == nil && len(out) == 0
}

// hangUp sends SIGHUP, as systemctl reload does.
func (g *gateway) hangUp() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		g.t.Fatal(err)
	}
}

func TestHangupReloadsAccessFiles(t *testing.T) {
	dir := t.TempDir()
	passwords, acl := filepath.Join(dir, "passwd"), filepath.Join(dir, "acl")
	setPassword(t, passwords, "web1", "secret1")
	rules := "pattern write nagios/%u/#\n"
	if err := os.WriteFile(acl, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, fmt.Sprintf("[access]\npassword_file = %q\nacl_file = %q\n", passwords, acl))
	if !g.letsIn("web1", "-u", "web1", "-P", "secret1") {
		t.Error("the right password is refused")
	}
	for name, options := range map[string][]string{
		"wrong password": {"-u", "web1", "-P", "secret2"},
		"unknown user":   {"-u", "web2", "-P", "secret2"},
		"anonymous":      nil,
	} {
		if g.letsIn("web1", options...) {
			t.Errorf("%s: let in", name)
		}
	}

	setPassword(t, passwords, "web2", "secret2")
	g.hangUp()
	waitFor(t, "the new user to be let in", func() bool { return g.letsIn("web2", "-u", "web2", "-P", "secret2") })

	if err := os.WriteFile(acl, []byte(rules+"topic grant x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.hangUp()
	waitFor(t, "the mistake to be named in one line", func() bool {
		for line := range strings.Lines(g.logged()) {
			if strings.Contains(line, "level=ERROR") && strings.Contains(line, acl+":2: ") {
				return true
			}
		}
		return false
	})
	if !g.letsIn("web2", "-u", "web2", "-P", "secret2") {
		t.Error("a bad file changed something")
	}
	if log := g.logged(); strings.Contains(log, "secret") {
		t.Error("a password is logged")
	}
}

func TestClientCertificatesNameTheirHost(t *testing.T) {
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	cert, key := ca.Issue(t, dir, "server")
	g := startGateway(t, fmt.Sprintf("tls_cert = %q\ntls_key = %q\nclient_ca = %q\nrequire_client_cert = true\nidentity = \"cn\"\n", cert, key, ca.File))
	hostCert, hostKey := ca.Issue(t, dir, "web1")
	stranger := realtest.NewAuthority(t, t.TempDir())
	otherCert, otherKey := stranger.Issue(t, t.TempDir(), "web1")

	try := func() {
		t.Helper()
		for _, version := range []string{"311", "5"} {
			if !g.letsIn("web1", "-V", version, "--cafile", ca.File, "--cert", hostCert, "--key", hostKey) {
				t.Errorf("MQTT %s: refused", version)
			}
			if g.letsIn("web1", "-V", version, "--cafile", ca.File) {
				t.Errorf("MQTT %s: let in without a certificate", version)
			}
			if g.letsIn("web1", "-V", version, "--cafile", ca.File, "--cert", otherCert, "--key", otherKey) {
				t.Errorf("MQTT %s: let in with another authority's certificate", version)
			}
		}
		if g.letsIn("web2", "-V", "5", "--cafile", ca.File, "--cert", hostCert, "--key", hostKey) {
			t.Error("web1 spoke for web2")
		}
	}
	try()
	ca.Issue(t, dir, "server")
	g.hangUp()
	waitFor(t, "the certificate to be reloaded", func() bool { return strings.Contains(g.logged(), "files reloaded") })
	try()
}
