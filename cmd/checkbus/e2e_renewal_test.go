package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// A crowd publishes over TLS connections of its own, each result when the one
// before is acknowledged.
type crowd struct {
	clients sync.WaitGroup
	acked   atomic.Int64
	lost    atomic.Int64 // connections that ended
	ending  atomic.Bool
}

func startCrowd(t *testing.T, addr string, cfg *tls.Config, n int) *crowd {
	t.Helper()
	c := &crowd{}
	for i := range n {
		nc, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		o := mqtttest.Options{ID: fmt.Sprint("crowd", i)}
		client := mqtttest.Over(t, nc, o)
		client.Send(o.Encode())
		client.Next(mqtttest.CONNACK)
		c.clients.Go(func() { c.publish(client, "nagios/"+o.ID) })
	}
	t.Cleanup(c.finish)
	return c
}

func (c *crowd) publish(client *mqtttest.Client, topic string) {
	m := mqtttest.Message{Topic: topic, Payload: `{"exit_code": 0, "reason": "fine"}`, QoS: 1, ID: 1}
	for !c.ending.Load() {
		_, _ = client.Write(m.Encode(false)) // Read tells as well
		if p, err := client.Read(); err != nil || p.Type() != mqtttest.PUBACK {
			c.lost.Add(1)
			return
		}
		c.acked.Add(1)
	}
}

func (c *crowd) finish() {
	c.ending.Store(true)
	c.clients.Wait()
}

// goesOn waits until each member has published on average ten more.
func (c *crowd) goesOn(t *testing.T, members int) {
	t.Helper()
	want := c.acked.Load() + 10*int64(members)
	waitFor(t, "the crowd to go on", func() bool { return c.acked.Load() >= want || c.lost.Load() > 0 })
}

// serial is the number of the certificate that a new connection is shown.
func serial(t *testing.T, addr string, cfg *tls.Config) string {
	t.Helper()
	nc, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	return nc.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// trusting is a client that knows an authority.
func trusting(t *testing.T, ca *realtest.Authority) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots}
}

func TestCertificatesAreRenewedUnderLoad(t *testing.T) {
	t.Parallel()
	const members = 50
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	cert, key := ca.Issue(t, dir, "server")
	g := startGateway(t, fmt.Sprintf("tls_cert = %q\ntls_key = %q\nallow_anonymous = true\n", cert, key))
	cfg := trusting(t, ca)
	load := startCrowd(t, g.addr, cfg, members)
	load.goesOn(t, members)

	shown := serial(t, g.addr, cfg)
	for range 3 {
		ca.Issue(t, dir, "server")
		waitFor(t, "the new certificate", func() bool { return serial(t, g.addr, cfg) != shown })
		load.goesOn(t, members)
		shown = serial(t, g.addr, cfg)

		mistakes := strings.Count(g.logged(), "new certificate not taken")
		if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the mistake to be logged", func() bool {
			return strings.Count(g.logged(), "new certificate not taken") > mistakes && strings.Contains(g.logged(), "tls_cert: "+cert)
		})
		load.goesOn(t, members)
		if now := serial(t, g.addr, cfg); now != shown {
			t.Errorf("a bad file changed the certificate from %s to %s", shown, now)
		}
	}
	load.finish()
	if n := load.lost.Load(); n > 0 {
		t.Errorf("%d connections were lost", n)
	}
}
