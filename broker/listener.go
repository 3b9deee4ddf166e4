package broker

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"checkbus/internal/listen"
)

// A Listener is one address that clients connect to, and how.
type Listener struct {
	// Address is host:port, unix:/path, or systemd:NAME. An empty host is all
	// addresses, IPv4 and IPv6, and port 0 any free port. NAME is that of sockets
	// which systemd opened: FileDescriptorName in the socket unit, or else the
	// unit's own name.
	Address string `toml:"address"`
	// SocketMode is who may connect to a Unix socket, as the mode of its file in
	// octal digits. "" is "0660".
	SocketMode string `toml:"socket_mode"`
	// ProxyProtocol is for a listener that only a load balancer reaches: each
	// connection must begin with the PROXY protocol, version 1 or 2, which says
	// where the client is. Such a client is never taken to be on this machine.
	ProxyProtocol bool `toml:"proxy_protocol"`
	// ProxyFrom are the networks, as "10.0.0.0/8", and addresses of the load
	// balancers; connections from elsewhere are refused. Without any, whoever
	// reaches the listener is believed.
	ProxyFrom []string `toml:"proxy_from"`
	// Protocol is what clients speak: "mqtt", or "websocket" for MQTT in the binary
	// messages of WebSockets, with the sub-protocol mqtt. "" is "mqtt".
	Protocol string `toml:"protocol"`
	// Path is where the WebSocket is: in "https://host/mqtt" it is "/mqtt", which
	// is the default.
	Path string `toml:"path"`
	// Origins are the origins, as "https://console.example.org", whose pages may
	// connect with a browser. Without any, pages of all origins may.
	Origins []string `toml:"origins"`
	// TLSCert and TLSKey are PEM files: the server's certificate, with those
	// between it and its authority, and its key. With them clients must speak
	// TLS, 1.2 or newer.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// ClientCA is a PEM file of certificate authorities. A client may show a
	// certificate of one of these, and no other.
	ClientCA string `toml:"client_ca"`
	// RequireClientCert refuses clients that show no certificate.
	RequireClientCert bool `toml:"require_client_cert"`
	// Identity says which part of a client's certificate is its user name: "cn",
	// the common name, or "subject", all of the subject in the form of RFC 2253.
	// Then the client needs no password, and the user name that it gives is
	// ignored. With "" certificates only open the door.
	Identity string `toml:"identity"`
	// AllowAnonymous lets in clients that give no user name, and no certificate
	// that names them. By default it is so on loopback and Unix sockets as long
	// as neither a password file nor certificates say who a client is, but not
	// for WebSockets, which any page in a browser on this machine can open.
	// Without an ACL file they have all rights over loopback and Unix sockets,
	// and from elsewhere only read, and no results.
	AllowAnonymous *bool `toml:"allow_anonymous"`
}

// validate returns every mistake in l, each with its key.
func (l Listener) validate() []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if err := listen.CheckAddress(l.Address); err != nil {
		wrong("address", "%w", err)
	}
	switch l.Protocol {
	case "", "mqtt":
		if l.Path != "" {
			wrong("path", "needs protocol = \"websocket\"")
		}
		if len(l.Origins) > 0 {
			wrong("origins", "needs protocol = \"websocket\"")
		}
	case "websocket":
		if !strings.HasPrefix(l.path(), "/") || strings.ContainsAny(l.path(), "?#") {
			wrong("path", "%q is not a path such as /mqtt", l.Path)
		}
		for _, o := range l.Origins {
			if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o {
				wrong("origins", "%q is not an origin such as https://console.example.org", o)
			}
		}
	default:
		wrong("protocol", "%q is neither mqtt nor websocket", l.Protocol)
	}
	switch {
	case l.TLSCert == "" && l.TLSKey != "":
		wrong("tls_key", "needs tls_cert")
	case l.TLSCert != "" && l.TLSKey == "":
		wrong("tls_cert", "needs tls_key")
	case l.TLSCert == "" && l.ClientCA != "":
		wrong("client_ca", "needs tls_cert and tls_key")
	}
	if l.SocketMode != "" {
		if network, _ := listen.Network(l.Address); network != "unix" {
			wrong("socket_mode", "needs a Unix socket")
		} else if _, err := l.socketMode(); err != nil {
			wrong("socket_mode", "%q is not a mode such as 0660", l.SocketMode)
		}
	}
	if len(l.ProxyFrom) > 0 && !l.ProxyProtocol {
		wrong("proxy_from", "needs proxy_protocol = true")
	}
	for _, s := range l.ProxyFrom {
		if _, err := parseNetwork(s); err != nil {
			wrong("proxy_from", "%q is neither an address nor a network such as 10.0.0.0/8", s)
		}
	}
	if l.RequireClientCert && l.ClientCA == "" {
		wrong("require_client_cert", "needs client_ca")
	}
	switch l.Identity {
	case "":
	case "cn", "subject":
		if l.ClientCA == "" {
			wrong("identity", "needs client_ca")
		}
	default:
		wrong("identity", "%q is neither cn nor subject", l.Identity)
	}
	return errs
}

// inListener names the listener that err, which begins with a key, is about.
func inListener(i int, err error) error { return listen.In(fmt.Sprintf("listener[%d]", i), err) }

// isLocal reports whether only clients on this machine reach the listener.
func (l Listener) isLocal() bool { return !l.ProxyProtocol && listen.IsLocal(l.Address) }

// files are what the listener shows its clients, and whom it believes.
func (l Listener) files() listen.Files {
	return listen.Files{Cert: l.TLSCert, Key: l.TLSKey, ClientCA: l.ClientCA, RequireClientCert: l.RequireClientCert}
}

func (l Listener) socketMode() (fs.FileMode, error) {
	if l.SocketMode == "" {
		return 0o660, nil
	}
	mode, err := strconv.ParseUint(l.SocketMode, 8, 9)
	return fs.FileMode(mode), err
}

// String says what runs where, for an operator.
func (l Listener) String() string {
	text := l.Address
	if l.TLSCert != "" || l.isWebSocket() {
		text += ", " + l.transport()
	}
	if l.isWebSocket() {
		text += " at " + l.path()
	}
	switch {
	case l.RequireClientCert:
		text += ", with a client certificate"
	case l.ClientCA != "":
		text += ", with or without a client certificate"
	}
	if l.ProxyProtocol {
		text += ", behind the PROXY protocol"
	}
	return text
}

// URL is where a client on this machine finds l, as in Remote.Address; "" where
// l does not say it, or needs what a Remote does not do.
func (l Listener) URL() string {
	network, address := listen.Network(l.Address)
	host, port, err := net.SplitHostPort(address)
	switch {
	case network == "unix" && !l.isWebSocket() && l.TLSCert == "":
		return l.Address
	case network != "tcp", err != nil, port == "0", l.ProxyProtocol:
		return ""
	}
	if ip, _ := netip.ParseAddr(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	scheme, path := "mqtt", ""
	if l.isWebSocket() {
		scheme, path = "ws", l.path()
	}
	if l.TLSCert != "" {
		scheme += "s"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + path
}

func (l Listener) isWebSocket() bool { return l.Protocol == "websocket" }

func (l Listener) transport() string {
	switch secured := l.TLSCert != ""; {
	case l.isWebSocket() && secured:
		return "secure WebSocket"
	case l.isWebSocket():
		return "WebSocket"
	case secured:
		return "TLS"
	}
	return "plain"
}
