package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// pki is what a TLS listener and its clients need, in one directory.
type pki struct {
	dir string
	*realtest.Authority
	cert, key string // the server's
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir()}
	p.Authority = realtest.NewAuthority(t, p.dir)
	p.cert, p.key = p.Issue(t, p.dir, "server")
	return p
}

// serve makes the listener of a test speak TLS.
func (p *pki) serve(c *Config) {
	c.Listeners[0].TLSCert, c.Listeners[0].TLSKey = p.cert, p.key
}

// verify lets clients show certificates, whose common name they are.
func (p *pki) verify(c *Config) {
	p.serve(c)
	c.Listeners[0].ClientCA, c.Listeners[0].Identity = p.File, "cn"
}

// client is the configuration of a client with a certificate of this name, or
// none.
func (p *pki) client(t testing.TB, name string, change ...func(*x509.Certificate)) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "server"}
	cfg.RootCAs.AppendCertsFromPEM(pem)
	if name != "" {
		pair, err := tls.LoadX509KeyPair(p.Issue(t, p.dir, name, change...))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg
}

// dialTLS connects a client and sends its CONNECT. Where the server refuses the
// certificate, the Connack has Type 0.
func (g *gateway) dialTLS(cfg *tls.Config, o mqtttest.Options) *mqtttest.Client {
	g.t.Helper()
	nc, err := tls.Dial("tcp", g.addr, cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	c := mqtttest.Over(g.t, nc, o)
	_, _ = c.Write(o.Encode()) // in TLS 1.3 the refusal may be there already
	c.Connack, _ = c.Read()
	return c
}

func TestClientCertificates(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	required := func(c *Config) { p.verify(c); c.Listeners[0].RequireClientCert = true }
	door := func(c *Config) { p.verify(c); c.Listeners[0].Identity = ""; anonymous(c) }
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	serverOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	nameless := func(c *x509.Certificate) { c.Subject.CommonName = "" }
	password := as("web1", "secret1", false)

	tests := map[string]struct {
		settings func(*Config)
		client   *tls.Config
		o        mqtttest.Options
		user     string // who it is, "anonymous", or "" when it is refused
	}{
		"by name":                          {p.verify, p.client(t, "host1"), mqtttest.Options{}, "host1"},
		"by name, whatever it says":        {p.verify, p.client(t, "host1"), password, "host1"},
		"required and shown":               {required, p.client(t, "host1"), mqtttest.Options{}, "host1"},
		"required and missing":             {required, p.client(t, ""), password, ""},
		"not required, with a password":    {p.verify, p.client(t, ""), password, "web1"},
		"not required, without a password": {p.verify, p.client(t, ""), mqtttest.Options{}, ""},
		"of another authority":             {p.verify, withRoots(other.client(t, "host1"), p.client(t, "")), password, ""},
		"expired":                          {p.verify, p.client(t, "expired", expired), password, ""},
		"of a server":                      {p.verify, p.client(t, "server-only", serverOnly), password, ""},
		"without a name":                   {p.verify, p.client(t, "nameless", nameless), password, ""},
		"with a name in two lines":         {p.verify, p.client(t, "a\nb"), password, ""},
		"where it names nobody":            {door, p.client(t, "host1"), mqtttest.Options{}, "anonymous"},
		"where it names nobody, password":  {door, p.client(t, "host1"), password, "web1"},
	}
	for name, tt := range tests {
		for version, v5 := range versions {
			t.Run(name+", "+version, func(t *testing.T) {
				g := start(t, secured(t, "pattern write nagios/%u\ntopic write nagios/anonymous\n"), tt.settings)
				tt.o.V5 = v5
				c := g.dialTLS(tt.client, tt.o)
				if got := c.Connack.Type() == mqtttest.CONNACK && c.Connack.Code() == 0; got != (tt.user != "") {
					t.Fatalf("let in: %t, answered %v", got, c.Connack)
				}
				if tt.user == "" {
					c.Closed()
					eventually(t, "it is counted", func() bool { s := g.Stats(); return s.BadHandshakes+s.Unauthorized == 1 })
					return
				}
				c.Publish(mqtttest.Message{Topic: "nagios/" + tt.user, QoS: 1, ID: 1})
				c.Acked(mqtttest.PUBACK, 1)
				if m := g.got(t, 1)[0]; m.User != tt.user && tt.user != "anonymous" {
					t.Errorf("user %q", m.User)
				}
			})
		}
	}
}

// withRoots is cfg that believes whom other believes.
func withRoots(cfg, other *tls.Config) *tls.Config {
	cfg.RootCAs = other.RootCAs
	return cfg
}

func TestTLSIsNewEnough(t *testing.T) {
	p := newPKI(t)
	g := start(t, p.serve, anonymous)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := p.client(t, "")
		cfg.MinVersion, cfg.MaxVersion = version, version
		nc, err := tls.Dial("tcp", g.addr, cfg)
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = nc.Close()
		}
	}
}

func TestHandshakeMustComeInTime(t *testing.T) {
	p := newPKI(t)
	g := start(t, p.serve, anonymous)
	certs := g.listeners[0].certificates
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		go func() { _, _ = client.Write([]byte{22, 3, 1}) }()
		c := newConn(server, &listener{certificates: certs}, Default(), &g.count)
		began := time.Now()
		if err := g.open(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("open: %v", err)
		}
		if took := time.Since(began); took != Default().ConnectTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestHandshakesEndWhenTheGatewayStops(t *testing.T) {
	p := newPKI(t)
	g := start(t, p.serve, anonymous)
	c := mqtttest.Open(t, g.addr, mqtttest.Options{})
	eventually(t, "it is being served", func() bool { return g.count.connections.Load() == 1 })
	began := time.Now()
	g.stop()
	if took := time.Since(began); took > Default().ConnectTimeout/2 {
		t.Errorf("took %v", took)
	}
	c.Closed()
}

func TestTLSSubscriberThatDoesNotReadHarmsNobody(t *testing.T) {
	p := newPKI(t)
	g := start(t, p.serve, anonymous)
	slow := g.dialTLS(p.client(t, ""), mqtttest.Options{ID: "slow"})
	slow.Subscribe("a", 0)
	payload := string(make([]byte, 1<<20))
	began := time.Now()
	for range 3 * outLimit >> 20 {
		g.tell("a", payload)
	}
	eventually(t, "the slow consumer is closed", func() bool { return g.Stats().SlowConsumers == 1 })
	if took := time.Since(began); took > mqtttest.Patience/2 {
		t.Errorf("the publisher was held up for %v", took)
	}
}

func TestMistakesInCertificatesAreErrorsAtTheStart(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	garbage := filepath.Join(p.dir, "garbage")
	write(t, garbage, "nothing")
	tests := map[string]struct {
		listener Listener
		want     string
	}{
		"no certificate":          {Listener{TLSCert: garbage, TLSKey: p.key}, "listener[0].tls_cert: "},
		"missing certificate":     {Listener{TLSCert: "/nonexistent", TLSKey: p.key}, "listener[0].tls_cert: open /nonexistent: "},
		"missing key":             {Listener{TLSCert: p.cert, TLSKey: "/nonexistent"}, "listener[0].tls_key: open /nonexistent: "},
		"another's key":           {Listener{TLSCert: p.cert, TLSKey: other.key}, "listener[0].tls_cert: " + p.cert + " with tls_key " + other.key + ": "},
		"missing authority":       {Listener{TLSCert: p.cert, TLSKey: p.key, ClientCA: "/nonexistent"}, "listener[0].client_ca: open /nonexistent: "},
		"authority without one":   {Listener{TLSCert: p.cert, TLSKey: p.key, ClientCA: garbage}, "listener[0].client_ca: " + garbage},
		"a key for the authority": {Listener{TLSCert: p.cert, TLSKey: p.key, ClientCA: p.key}, "listener[0].client_ca: " + p.key},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			tt.listener.Address = "127.0.0.1:0"
			cfg.Listeners[0] = tt.listener
			if err := cfg.Check(); !strings.HasPrefix(fmt.Sprint(err), tt.want) {
				t.Errorf("Check = %v\nwant %s", err, tt.want)
			}
			b, err := New(cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Listen(); !strings.HasPrefix(fmt.Sprint(err), tt.want) {
				t.Errorf("Listen = %v\nwant %s", err, tt.want)
			}
		})
	}
}
