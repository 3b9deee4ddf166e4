package realtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/checks"
)

// icingaNode is the node name, and so the name in the server's certificate.
const icingaNode = "icinga-test"

// icingaPassword is the gateway's password; see Icinga.PasswordFile.
const icingaPassword = `it's "s3cret" \ ü`

// IcingaOptions say what an Icinga 2 is configured with.
type IcingaOptions struct {
	// Objects are the passive hosts and services. The host of a service is
	// there too, named or not.
	Objects []checks.Object
	// Config is more configuration, in Icinga's language.
	Config string
}

// Icinga is a running Icinga 2 with its own folders, certificates and port.
// The accounts are those of contrib/icinga2/api-user.conf: "checkbus" with
// the password in PasswordFile, and the certificate ClientCert.
type Icinga struct {
	URL        string // "https://127.0.0.1:port"
	CA         string // file of the authority that issued the certificates
	ServerName string // the name in the server's certificate

	User         string
	PasswordFile string
	ClientCert   string // files of a client certificate with the same rights
	ClientKey    string

	t       testing.TB
	dir     string
	program string
	admin   *icingaAdmin
	running *icingaProcess
}

// An icingaProcess is Icinga's supervisor, the leader of a process group that
// its workers stay in.
type icingaProcess struct {
	pid  int
	done chan struct{} // closed when the supervisor is gone
}

// StartIcinga runs a real Icinga 2 until the test ends and returns when its
// API answers. Its log is printed when the test fails.
func StartIcinga(t testing.TB, o IcingaOptions) *Icinga {
	t.Helper()
	ic := &Icinga{
		ServerName: icingaNode,
		User:       "checkbus",
		t:          t,
		dir:        t.TempDir(),
		program:    Need(t, "icinga2"),
	}
	for _, d := range []string{"etc", "lib/certs", "log", "run", "cache", "spool"} {
		if err := os.MkdirAll(filepath.Join(ic.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	certs := filepath.Join(ic.dir, "lib/certs")
	ca := NewAuthority(t, certs)
	ca.Issue(t, certs, icingaNode)
	ic.CA = ca.File
	ic.ClientCert, ic.ClientKey = ca.Issue(t, ic.dir, "gateway")
	ic.PasswordFile = filepath.Join(ic.dir, "password")
	ic.write("password", icingaPassword+"\n")

	addr := FreeAddr(t)
	ic.URL = "https://" + addr
	ic.admin = newIcingaAdmin(t, ic)
	ic.configure(addr)
	ic.Configure(o)
	t.Cleanup(ic.cleanup)
	ic.Start()
	return ic
}

// Configure replaces the objects and the further configuration. It takes
// effect at the next Start or Reload.
func (ic *Icinga) Configure(o IcingaOptions) {
	ic.t.Helper()
	var b strings.Builder
	seen := make(map[checks.Object]bool)
	for _, obj := range o.Objects {
		for _, one := range []checks.Object{{Host: obj.Host}, obj} {
			if !seen[one] {
				b.WriteString(icingaObject(one))
			}
			seen[one] = true
		}
	}
	b.WriteString(o.Config)
	ic.write("etc/objects.conf", b.String())
}

func icingaObject(o checks.Object) string {
	if o.IsHost() {
		return fmt.Sprintf("object Host %s { import \"checkbus-host\" }\n", icingaQuote(o.Host))
	}
	return fmt.Sprintf("object Service %s { import \"checkbus-service\"; host_name = %s }\n",
		icingaQuote(o.Service), icingaQuote(o.Host))
}

// icingaQuote writes s as a string of Icinga's language.
func icingaQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// configure writes the main file, which uses what contrib/icinga2 offers.
func (ic *Icinga) configure(addr string) {
	ic.t.Helper()
	host, port, _ := strings.Cut(addr, ":")
	contrib := filepath.Join(moduleRoot(ic.t), "contrib/icinga2")
	ic.write("etc/icinga2.conf", fmt.Sprintf(`
const NodeName = %s
const ZoneName = NodeName
const CheckbusPassword = %s
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
include <itl>
object CheckerComponent "checker" { }
object ApiListener "api" { bind_host = %s; bind_port = %s }
object ApiUser "admin" { password = %s; permissions = [ "*" ] }
include %s
include %s
object ApiUser "checkbus-certificate" { import "checkbus-permissions"; client_cn = "gateway" }
include "objects.conf"
`, icingaQuote(icingaNode), icingaQuote(icingaPassword), icingaQuote(host), port, icingaQuote(ic.admin.password),
		icingaQuote(filepath.Join(contrib, "api-user.conf")), icingaQuote(filepath.Join(contrib, "templates.conf"))))
}

func (ic *Icinga) write(name, text string) {
	ic.t.Helper()
	if err := os.WriteFile(filepath.Join(ic.dir, name), []byte(text), 0o600); err != nil {
		ic.t.Fatal(err)
	}
}

// command is icinga2 with all folders below ic.dir. As root it would become
// another user who may not write there; as that user it must not be told to.
func (ic *Icinga) command(args ...string) *exec.Cmd {
	ic.t.Helper()
	args = append([]string{"daemon", "-c", filepath.Join(ic.dir, "etc/icinga2.conf")}, args...)
	for name, d := range map[string]string{
		"ConfigDir": "etc", "DataDir": "lib", "LogDir": "log", "InitRunDir": "run", "CacheDir": "cache", "SpoolDir": "spool",
	} {
		args = append(args, "-D"+name+"="+filepath.Join(ic.dir, d))
	}
	me, err := user.Current()
	if err != nil {
		ic.t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		ic.t.Fatal(err)
	}
	cmd := exec.Command(ic.program, args...)
	cmd.Env = append(os.Environ(), "ICINGA2_USER="+me.Username, "ICINGA2_GROUP="+group.Name)
	return cmd
}

// Validate checks the configuration as "icinga2 daemon -C" does.
func (ic *Icinga) Validate() error {
	out, err := ic.command("-C").CombinedOutput()
	if err != nil {
		return fmt.Errorf("icinga2 daemon -C: %w\n%s", err, out)
	}
	return nil
}

// Start starts Icinga again after Stop or Kill and waits until its API answers.
func (ic *Icinga) Start() {
	ic.t.Helper()
	cmd := ic.command("-x", "warning") // else it logs every request
	log, err := os.OpenFile(filepath.Join(ic.dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		ic.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		ic.t.Fatal(err)
	}
	p := &icingaProcess{pid: cmd.Process.Pid, done: make(chan struct{})}
	ic.running = p
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // killed or stopped: its exit code says nothing
	}()
	ic.WaitReady()
}

// PID returns the process identifier of the running supervisor.
func (ic *Icinga) PID() int { return ic.running.pid }

// WaitReady waits until the API answers.
func (ic *Icinga) WaitReady() {
	ic.t.Helper()
	Eventually(ic.t, 60*time.Second, "icinga2 to answer", func() bool {
		select {
		case <-ic.running.done:
			ic.t.Fatal("icinga2 ended by itself")
		default:
		}
		return ic.admin.started() != 0
	})
}

// Reload sends SIGHUP and waits until a new worker answers.
func (ic *Icinga) Reload() {
	ic.t.Helper()
	before := ic.admin.started()
	if err := syscall.Kill(ic.running.pid, syscall.SIGHUP); err != nil {
		ic.t.Fatal(err)
	}
	Eventually(ic.t, 60*time.Second, "icinga2 to reload", func() bool {
		now := ic.admin.started()
		return now != 0 && now != before
	})
}

// Kill ends all processes of this Icinga at once, as a power cut would.
func (ic *Icinga) Kill() { ic.end(syscall.SIGKILL) }

// Stop lets Icinga end in order.
func (ic *Icinga) Stop() { ic.end(syscall.SIGTERM) }

// end signals the supervisor, or for SIGKILL the whole group, and waits until
// the supervisor is gone and the port is free. It does not wait for workers
// that are dead and that init has not reaped.
func (ic *Icinga) end(sig syscall.Signal) {
	ic.t.Helper()
	p := ic.running
	if p == nil {
		return
	}
	ic.running = nil
	to := p.pid
	if sig == syscall.SIGKILL {
		to = -p.pid
	}
	if err := syscall.Kill(to, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		ic.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		ic.t.Fatal("icinga2 does not end")
	}
	Eventually(ic.t, 60*time.Second, "icinga2's port to be free", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(ic.URL, "https://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

// Pause stops all processes of this Icinga without ending them, so that it
// takes connections and never answers. The returned function resumes them.
func (ic *Icinga) Pause() (resume func()) {
	ic.t.Helper()
	group := -ic.running.pid
	if err := syscall.Kill(group, syscall.SIGSTOP); err != nil {
		ic.t.Fatal(err)
	}
	return func() {
		if err := syscall.Kill(group, syscall.SIGCONT); err != nil {
			ic.t.Error(err)
		}
	}
}

func (ic *Icinga) cleanup() {
	ic.Kill()
	ic.admin.close()
	if !ic.t.Failed() {
		return
	}
	log, err := os.ReadFile(filepath.Join(ic.dir, "out.log"))
	if err != nil {
		ic.t.Log(err)
		return
	}
	const most = 8 << 10
	log = log[max(0, len(log)-most):]
	ic.t.Logf("the end of icinga2's log:\n%s", bytes.TrimSpace(log))
}

// Eventually waits until the condition holds, asking every few milliseconds,
// and fails the test when it does not within limit.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// moduleRoot is the folder of go.mod.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}
