package broker

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"

	"github.com/gorilla/websocket"
	"github.com/pires/go-proxyproto"
)

// behind makes the listener of a test one behind a load balancer.
func behind(c *Config) { c.Listeners[0].ProxyProtocol = true }

// header is what a load balancer says of a client at this address.
func header(t *testing.T, version byte, from string) []byte {
	t.Helper()
	source, err := net.ResolveTCPAddr("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: source.IP, Port: 1883}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProxyProtocolSaysWhereAClientIs(t *testing.T) {
	local, err := (&proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}).Format()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		header []byte
		want   string // in the log of a refused login; "" is a refused connection
	}{
		"version 1":             {header(t, 1, "203.0.113.9:4000"), "203.0.113.9:4000"},
		"version 2":             {header(t, 2, "203.0.113.9:4000"), "203.0.113.9:4000"},
		"version 2, IPv6":       {header(t, 2, "[2001:db8::9]:4000"), "[2001:db8::9]:4000"},
		"the load balancer":     {local, "127.0.0.1:"},
		"unknown to version 1":  {[]byte("PROXY UNKNOWN\r\n"), "127.0.0.1:"},
		"none":                  {nil, ""},
		"wrong":                 {[]byte("PROXY TCP4 here there 1 2\r\n"), ""},
		"without end":           {[]byte("PROXY TCP4 " + strings.Repeat("1", 5000)), ""},
		"another version":       {append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x31, 0x11, 0, 0), ""},
		"shorter than it says":  {append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 3, 1, 2, 3), ""},
		"twice, as by a client": {append(header(t, 1, "203.0.113.9:4000"), header(t, 1, "127.0.0.1:4000")...), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, secured(t, ""), behind)
			c := mqtttest.Open(t, g.addr, mqtttest.Options{})
			_, _ = c.Write(append(tt.header, as("web1", "wrong", false).Encode()...)) // it may be refused half way
			c.Closed()
			if tt.want == "" {
				g.stop()
				if n := g.Stats().Unauthorized; n != 0 {
					t.Error("it came as far as the password")
				}
				return
			}
			if log := g.log.String(); !strings.Contains(log, tt.want) {
				t.Errorf("%s is not in the log:\n%s", tt.want, log)
			}
		})
	}
}

func TestProxyProtocolIsFollowedByTLSAndWebSocket(t *testing.T) {
	p := newPKI(t)
	for name, settings := range map[string]func(*Config){
		"plain": func(*Config) {}, "TLS": p.serve, "WebSocket": overWebSocket,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, behind, anonymous, settings)
			nc, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := nc.Write(header(t, 2, "127.0.0.1:4000")); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "TLS":
				nc = tls.Client(nc, p.client(t, ""))
			case "WebSocket":
				dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, NetDial: func(string, string) (net.Conn, error) { return nc, nil }}
				ws, _, err := dialer.Dial(g.url("ws"), nil)
				if err != nil {
					t.Fatal(err)
				}
				nc = &wsConn{Conn: nc, ws: ws}
			}
			o := mqtttest.Options{ID: "c", V5: true}
			c := mqtttest.Over(t, nc, o)
			c.Send(o.Encode())
			c.Next(mqtttest.CONNACK)
			c.Publish(result(1, 1, "x")) // it is not on this machine, whatever is said
			if p := c.Acked(mqtttest.PUBACK, 1); p.Code() != 0x87 {
				t.Errorf("answered %#x", p.Code())
			}
		})
	}
}

func TestUnixSocketHasItsMode(t *testing.T) {
	for mode, want := range map[string]os.FileMode{"": 0o660, "0666": 0o666, "600": 0o600} {
		path := filepath.Join(t.TempDir(), "mqtt")
		start(t, func(c *Config) { c.Listeners[0] = Listener{Address: "unix:" + path, SocketMode: mode} })
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q: %o, want %o", mode, got, want)
		}
	}
}
