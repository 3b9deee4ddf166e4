package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/broker"
	"checkbus/internal/realtest"
)

// Who asks at a wrong port is told what is there, and where to ask; by checkbus's
// own ports and by those of a Mosquitto.
func TestAWrongPortSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	cert, key := authority.Issue(t, dir, "server")
	addr := map[string]string{}
	for _, name := range []string{"tls", "mutual", "ws", "wss", "web", "theirTLS", "theirMutual", "theirWS", "nobody"} {
		addr[name] = realtest.FreeAddr(t)
	}
	g := startGateway(t, fmt.Sprintf(`
[[listener]]
address = %q
tls_cert = %q
tls_key = %q
[[listener]]
address = %q
tls_cert = %[2]q
tls_key = %[3]q
client_ca = %[5]q
require_client_cert = true
identity = "cn"
[[listener]]
address = %q
protocol = "websocket"
allow_anonymous = true
[[listener]]
address = %q
protocol = "websocket"
path = "/here"
allow_anonymous = true
tls_cert = %[2]q
tls_key = %[3]q
[web]
address = %[8]q
`, addr["tls"], cert, key, addr["mutual"], authority.File, addr["ws"], addr["wss"], addr["web"]))
	secured := fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s\n", authority.File, cert, key)
	at := func(name string) string {
		_, port, _ := net.SplitHostPort(addr[name])
		return "listener " + port + " 127.0.0.1\n"
	}
	m := realtest.StartMosquitto(t, at("theirTLS")+secured, at("theirMutual")+secured+"require_certificate true", at("theirWS")+"protocol websockets")
	addr["mqtt"], addr["theirs"] = g.addr, m.Addr
	for _, name := range []string{"theirTLS", "theirMutual", "theirWS"} {
		waitFor(t, name+" to listen", func() bool {
			nc, err := net.Dial("tcp", addr[name])
			return err == nil && nc.Close() == nil
		})
	}

	tests := map[string]struct{ url, want string }{
		"watch the web server":           {"mqtt://$web", "$web speaks MQTT over WebSocket without TLS: use -address ws://$web/mqtt"},
		"watch it with TLS":              {"mqtts://$web", "$web speaks MQTT over WebSocket without TLS: use -address ws://$web/mqtt"},
		"watch TLS without":              {"mqtt://$tls", "$tls speaks MQTT with TLS: use -address mqtts://$tls"},
		"watch Mosquitto's TLS without":  {"mqtt://$theirTLS", "$theirTLS speaks MQTT with TLS: use -address mqtts://$theirTLS"},
		"watch without a certificate":    {"mqtt://$mutual", "$mutual speaks TLS: use -address mqtts://$mutual"},
		"watch Mosquitto without one":    {"mqtt://$theirMutual", "$theirMutual speaks TLS: use -address mqtts://$theirMutual"},
		"watch with TLS":                 {"mqtts://$mqtt", "$mqtt speaks MQTT without TLS: use -address mqtt://$mqtt"},
		"watch Mosquitto with TLS":       {"mqtts://$theirs", "$theirs speaks MQTT without TLS: use -address mqtt://$theirs"},
		"watch a WebSocket as TCP":       {"mqtt://$ws", "$ws speaks MQTT over WebSocket without TLS: use -address ws://$ws/mqtt"},
		"watch Mosquitto's as TCP":       {"mqtt://$theirWS", "$theirWS speaks MQTT over WebSocket without TLS: use -address ws://$theirWS/mqtt"},
		"watch a WebSocket with TLS":     {"wss://$ws/mqtt", "$ws speaks MQTT over WebSocket without TLS: use -address ws://$ws/mqtt"},
		"watch a WebSocket without TLS":  {"ws://$wss/here", "$wss speaks HTTP with TLS: use -address wss://$wss/here"},
		"watch TCP as a WebSocket":       {"ws://$mqtt/mqtt", "$mqtt speaks MQTT without TLS: use -address mqtt://$mqtt"},
		"watch a WebSocket somewhere":    {"mqtt://$wss", "$wss speaks HTTP with TLS: use -address with listener.address of the gateway"},
		"watch what it is":               {"mqtt://$mqtt", "as before"},
		"watch what Mosquitto is":        {"mqtt://$theirs", "as before"},
		"watch a WebSocket at its place": {"wss://$wss/here", "as before"},
		"watch nobody":                   {"mqtt://$nobody", "as before"},
		"watch a socket":                 {"unix:/run/mosquitto.sock", "as before"},
		"status of MQTT":                 {"http://$mqtt", "$mqtt speaks MQTT without TLS: use -address with web.address of the gateway"},
		"status of MQTT with TLS":        {"http://$tls", "$tls speaks MQTT with TLS: use -address with web.address of the gateway"},
		"status of TLS":                  {"http://$mutual", "$mutual speaks TLS: use -address https://$mutual"},
		"status with TLS":                {"https://$web", "$web speaks HTTP without TLS: use -address http://$web"},
		"status without TLS":             {"http://$wss", "$wss speaks HTTP with TLS: use -address https://$wss"},
		"status of what it is":           {"http://$web", "as before"},
		"status of nobody":               {"https://$nobody", "as before"},
	}
	expand := func(s string) string { return os.Expand(s, func(name string) string { return addr[name] }) }
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(expand(tt.url))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := explain(t.Context(), u, errors.New("as before")).Error(), expand(tt.want); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

// What ends the first connection is told on one line.
func TestCommandsSayWhyTheyDoNotConnect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	cert, key := authority.Issue(t, dir, "server")
	passwords, secret := filepath.Join(dir, "passwd"), filepath.Join(dir, "secret")
	if err := broker.SetPassword(passwords, "ann", "right"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secured := realtest.FreeAddr(t)
	g := startGateway(t, fmt.Sprintf("[[listener]]\naddress = %q\ntls_cert = %q\ntls_key = %q\n[access]\npassword_file = %q\n", secured, cert, key, passwords))
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"TLS":                {[]string{"watch", "-address", secured}, secured + " speaks MQTT with TLS: use -address mqtts://" + secured},
		"no TLS":             {[]string{"watch", "-address", g.addr, "-ca", authority.File}, g.addr + " speaks MQTT without TLS: use -address mqtt://" + g.addr},
		"an authority":       {[]string{"watch", "-address", "mqtts://" + secured}, "x509: certificate signed by unknown authority; use -ca with a PEM file of its authority"},
		"a wrong password":   {[]string{"watch", "-address", g.addr, "-user", "ann", "-password-file", secret}, "mqtt://" + g.addr + ": bad user name or password"},
		"MQTT as the status": {[]string{"status", "-address", g.addr}, g.addr + " speaks MQTT without TLS: use -address with web.address of the gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), program, tt.args...).CombinedOutput()
			if err == nil || strings.Count(string(out), "\n") != 1 || !strings.HasSuffix(string(out), tt.want+"\n") {
				t.Errorf("%v, %s\nwant %s", err, out, tt.want)
			}
		})
	}
}
