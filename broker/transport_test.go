package broker

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"checkbus/internal/realtest"
)

// TestMosquittoClientsOverEveryTransport covers what Mosquitto's clients can:
// they have no WebSocket.
func TestMosquittoClientsOverEveryTransport(t *testing.T) {
	p := newPKI(t)
	cert, key := p.Issue(t, p.dir, "web1")
	socket := p.dir + "/mqtt"
	tests := map[string]struct {
		settings func(*Config)
		options  []string
	}{
		"IPv4":             {func(*Config) {}, nil},
		"IPv6":             {func(c *Config) { c.Listeners[0].Address = "[::1]:0" }, nil},
		"password":         {secured(t, ""), []string{"-u", "web1", "-P", "secret1"}},
		"Unix socket":      {func(c *Config) { c.Listeners[0].Address = "unix:" + socket }, []string{"--unix", socket}},
		"TLS":              {func(c *Config) { p.serve(c); anonymous(c) }, []string{"--cafile", p.File}},
		"TLS 1.2":          {func(c *Config) { p.serve(c); anonymous(c) }, []string{"--cafile", p.File, "--tls-version", "tlsv1.2"}},
		"TLS, certificate": {p.verify, []string{"--cafile", p.File, "--cert", cert, "--key", key}},
		"TLS, ALPN":        {func(c *Config) { p.serve(c); anonymous(c) }, []string{"--cafile", p.File, "--tls-alpn", "mqtt"}},
	}
	for name, tt := range tests {
		for _, version := range []string{"311", "5"} {
			t.Run(name+", "+version, func(t *testing.T) {
				g := start(t, tt.settings)
				run := func(program string, args ...string) *exec.Cmd {
					args = append(append(args, "-V", version, "-q", "1", "-t", "nagios/web1"), tt.options...)
					if host, port, _ := net.SplitHostPort(g.addr); host != "unix" {
						args = append(args, "-h", host, "-p", port)
					}
					return exec.Command(realtest.Need(t, program), args...)
				}
				sub := run("mosquitto_sub", "-C", "100", "-W", "60")
				var out bytes.Buffer
				sub.Stdout = &out
				if err := sub.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "mosquitto_sub is subscribed", func() bool { return g.Stats().Subscriptions == 1 })
				var lines strings.Builder
				for i := range 100 {
					fmt.Fprintf(&lines, "line %d\n", i)
				}
				pub := run("mosquitto_pub", "-l")
				pub.Stdin = strings.NewReader(lines.String())
				succeed(t, pub)
				if err := sub.Wait(); err != nil {
					t.Fatalf("mosquitto_sub: %v", err)
				}
				if out.String() != lines.String() {
					t.Errorf("received:\n%s", out.String())
				}
				g.got(t, 100)
			})
		}
	}
}
