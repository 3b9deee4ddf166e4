package broker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// shown is the serial number of the certificate that a new connection sees.
func (g *gateway) shown(p *pki) string {
	g.t.Helper()
	nc, err := tls.Dial("tcp", g.addr, p.client(g.t, ""))
	if err != nil {
		g.t.Fatal(err)
	}
	defer nc.Close()
	return nc.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// copyTo copies a file through a temporary one, as certbot and others do.
func copyTo(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to+".new", string(data))
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// link makes path a symbolic link to target, replacing what it was.
func link(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// renewals are the ways in which certificates are replaced on disk. Each is
// given an empty directory, the names of the certificate and the key there, and
// a new pair; called a second time it replaces the first.
var renewals = map[string]func(t testing.TB, dir, cert, key string){
	"renamed files": func(t testing.TB, dir, cert, key string) {
		copyTo(t, key, filepath.Join(dir, "tls.key"))
		copyTo(t, cert, filepath.Join(dir, "tls.crt"))
	},
	"overwritten files": func(t testing.TB, dir, cert, key string) {
		for name, from := range map[string]string{"tls.key": key, "tls.crt": cert} {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), string(data))
		}
	},
	"links to files, as certbot": func(t testing.TB, dir, cert, key string) {
		link(t, key, filepath.Join(dir, "tls.key"))
		link(t, cert, filepath.Join(dir, "tls.crt"))
	},
	"a link to a directory, as Kubernetes": func(t testing.TB, dir, cert, key string) {
		version, err := os.MkdirTemp(dir, "..version")
		if err != nil {
			t.Fatal(err)
		}
		copyTo(t, key, filepath.Join(version, "tls.key"))
		copyTo(t, cert, filepath.Join(version, "tls.crt"))
		for _, name := range []string{"tls.key", "tls.crt"} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
				link(t, filepath.Join("..data", name), filepath.Join(dir, name))
			}
		}
		link(t, filepath.Base(version), filepath.Join(dir, "..data"))
	},
}

func TestRenewedCertificatesReachNewConnectionsAndDropNone(t *testing.T) {
	for name, renew := range renewals {
		t.Run(name, func(t *testing.T) {
			p := newPKI(t)
			dir := t.TempDir()
			renew(t, dir, p.cert, p.key)
			p.cert, p.key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
			g := start(t, p.serve, anonymous)
			before := g.shown(p)

			const clients = 20
			stop := make(chan struct{})
			var publishing sync.WaitGroup
			var acked [clients]int
			for i := range clients {
				c := g.dialTLS(p.client(t, ""), mqtttest.Options{ID: fmt.Sprint("client", i)})
				publishing.Go(func() { acked[i] = publishUntil(c, stop) })
			}
			cert, key := p.Issue(t, t.TempDir(), "server")
			renew(t, dir, cert, key)
			eventually(t, "new connections see the new certificate", func() bool { return g.shown(p) != before })
			close(stop)
			publishing.Wait()
			sum := 0
			for i, n := range acked {
				if n < 0 {
					t.Errorf("client %d lost its connection", i)
				}
				sum += n
			}
			g.got(t, sum)
		})
	}
}

// publishUntil publishes one message after another until stop, and returns how
// many were acknowledged, or -1 when the connection broke.
func publishUntil(c *mqtttest.Client, stop <-chan struct{}) int {
	m := mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 1}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return n
		default:
		}
		m.ID = uint16(n%65535 + 1)
		if _, err := c.Write(m.Encode(false)); err != nil {
			return -1
		}
		if p, err := c.Read(); err != nil || p.Type() != mqtttest.PUBACK || p.ID() != m.ID {
			return -1
		}
	}
}

func TestBadNewCertificateKeepsTheOldOne(t *testing.T) {
	tests := map[string]func(t *testing.T, p *pki){
		"garbage":     func(t *testing.T, p *pki) { write(t, p.cert, "nothing") },
		"missing":     func(t *testing.T, p *pki) { _ = os.Remove(p.cert) },
		"another key": func(t *testing.T, p *pki) { copyTo(t, newPKI(t).key, p.key) },
		"expired": func(t *testing.T, p *pki) {
			p.Issue(t, p.dir, "server", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		},
		"not valid yet": func(t *testing.T, p *pki) {
			p.Issue(t, p.dir, "server", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPKI(t)
			g := start(t, p.serve, anonymous)
			before := g.shown(p)
			spoil(t, p)
			eventually(t, "it is logged", func() bool { return strings.Contains(g.log.String(), "the one before stays") })
			if err := g.Reload(); err == nil || !strings.HasPrefix(err.Error(), "listener[0].tls_cert: ") {
				t.Errorf("Reload = %v", err)
			}
			if g.shown(p) != before {
				t.Error("another certificate is shown")
			}
			p.Issue(t, p.dir, "server")
			eventually(t, "a good one is taken", func() bool { return g.shown(p) != before })
			for line := range strings.Lines(g.log.String()) {
				if strings.Contains(line, "level=ERROR") && !strings.Contains(line, p.dir) {
					t.Errorf("the file is not named: %s", line)
				}
			}
		})
	}
}

func TestReloadReadsCertificatesAndAuthorities(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	g := start(t, p.verify)
	before := g.shown(p)
	p.Issue(t, p.dir, "server")
	stranger := withRoots(other.client(t, "host1"), p.client(t, ""))
	if c := g.dialTLS(stranger, mqtttest.Options{}); c.Connack.Type() != 0 {
		t.Errorf("answered %v", c.Connack)
	}
	cas, err := os.ReadFile(other.File)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.File, string(cas))
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	if c := g.dialTLS(stranger, mqtttest.Options{}); c.Connack.Type() != mqtttest.CONNACK || c.Connack.Code() != 0 {
		t.Errorf("answered %v", c.Connack)
	}
	nc, err := tls.Dial("tcp", g.addr, stranger)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.ConnectionState().PeerCertificates[0].SerialNumber.String() == before {
		t.Error("the old certificate is shown")
	}
}
