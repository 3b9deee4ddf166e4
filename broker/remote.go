package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"checkbus/internal/credentials"
)

// dialTimeout is how long one address may take until MQTT can begin, TLS and
// WebSocket included.
const dialTimeout = 10 * time.Second

// maxSecret is the longest password, in bytes (MQTT 5, 3.1.3.6).
const maxSecret = 65535

// defaultPorts are those of each scheme of a remote's address.
var defaultPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// A Remote is another broker: where it is, and how the gateway and it know each
// other.
type Remote struct {
	// Address are URLs of one broker, or of several that stand in for each other,
	// in order of preference: mqtt://host:port, mqtts:// for TLS, ws:// and wss://
	// with a path, or unix:/path. Default ports are 1883, 8883, 80 and 443; the
	// default path is /mqtt.
	Address []string `toml:"address"`
	// Username is who the gateway is there. Its password is the first line of
	// PasswordFile, which is read again for each connection; without one none is
	// sent.
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// CA is a PEM file of the only authorities that the broker's certificate may
	// come from; "" is those that the system trusts. Cert and Key are PEM files
	// of the gateway's own certificate. ServerName is the name in the broker's
	// certificate; "" is the host of the address. The files are read again for
	// each connection.
	CA         string `toml:"ca"`
	Cert       string `toml:"cert"`
	Key        string `toml:"key"`
	ServerName string `toml:"server_name"`
}

// validate returns every mistake in r, each beginning with its key.
func (r Remote) validate() []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if len(r.Address) == 0 {
		wrong("address", "required")
	}
	seen, secured, valid := map[string]bool{}, false, true
	for _, address := range r.Address {
		u, err := parseRemote(address)
		if err != nil {
			wrong("address", "%w", err)
			valid = false
			continue
		}
		if seen[u.String()] {
			wrong("address", "%s is there twice", address)
		}
		seen[u.String()] = true
		secured = secured || isSecure(u)
	}
	switch {
	case r.Username == "" && r.PasswordFile != "":
		wrong("password_file", "needs username")
	case len(r.Username) > maxSecret:
		wrong("username", "is longer than %d bytes", maxSecret)
	}
	if (r.Cert == "") != (r.Key == "") {
		wrong("cert", "cert and key need each other")
	}
	if valid && !secured && r.CA+r.Cert+r.Key+r.ServerName != "" {
		wrong("address", "ca, cert, key and server_name need an address with mqtts:// or wss://")
	}
	return errs
}

// check reads the files that r names, and returns every mistake, each beginning
// with its key.
func (r Remote) check() []error {
	var errs []error
	for _, f := range []struct{ key, path string }{
		{"password_file", r.PasswordFile},
		{"ca", r.CA},
		{"cert", r.Cert},
		{"key", r.Key},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.ReadFile(f.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.key, err))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if _, err := r.password(); err != nil {
		errs = append(errs, err)
	}
	if _, err := r.tlsConfig(""); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// parseRemote reads an address, and fills in the default port and path.
func parseRemote(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL such as mqtts://broker.example.org:8883") // err may quote a password
	}
	port, known := defaultPorts[u.Scheme]
	isWebSocket := u.Scheme == "ws" || u.Scheme == "wss"
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%s: give username and password_file instead", u.Redacted())
	case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/") && u.Host == "" && u.RawQuery == "" && u.Fragment == "":
		return u, nil
	case u.Scheme == "unix":
		return nil, fmt.Errorf("%q needs an absolute path, as in unix:/run/mosquitto.sock", address)
	case !known || u.Hostname() == "" || u.Fragment != "":
		return nil, fmt.Errorf("%q is not of the form mqtt://host:port, mqtts://, ws://, wss:// or unix:/path", address)
	case !isWebSocket && (strings.Trim(u.Path, "/") != "" || u.RawQuery != ""):
		return nil, fmt.Errorf("%q has a path, which only ws:// and wss:// have", address)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if isWebSocket && u.Path == "" {
		u.Path = "/mqtt"
	}
	return u, nil
}

func isSecure(u *url.URL) bool { return u.Scheme == "mqtts" || u.Scheme == "wss" }

// password reads the password file; "" is none. The error names the key, and
// never what is in the file.
func (r Remote) password() (string, error) {
	if r.PasswordFile == "" {
		return "", nil
	}
	secret, err := credentials.Password(r.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	if secret == "" || len(secret) > maxSecret {
		return "", fmt.Errorf("password_file: %s: the first line has no password of up to %d bytes", r.PasswordFile, maxSecret)
	}
	return secret, nil
}

// tlsConfig reads the certificates for a connection to host. The error begins
// with a key.
func (r Remote) tlsConfig(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if r.ServerName != "" {
		cfg.ServerName = r.ServerName
	}
	if r.CA != "" {
		roots, err := credentials.Authorities(r.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		cfg.RootCAs = roots
	}
	if r.Cert != "" {
		pair, err := tls.LoadX509KeyPair(r.Cert, r.Key)
		if err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// dial opens a connection over which MQTT can begin, within 10 s. address is
// one of r.Address. The error names the address, or the key of a file.
func (r Remote) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	u, err := parseRemote(address)
	if err != nil {
		return nil, err
	}
	var secured *tls.Config
	if isSecure(u) {
		if secured, err = r.tlsConfig(u.Hostname()); err != nil {
			return nil, err
		}
	}
	nc, err := dialURL(ctx, u, secured)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return nc, nil
}

// dialURL connects to u; secured is nil without TLS.
func dialURL(ctx context.Context, u *url.URL, secured *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{KeepAliveConfig: keepAlive}
	switch u.Scheme {
	case "unix":
		return dialer.DialContext(ctx, "unix", u.Path)
	case "mqtt":
		return dialer.DialContext(ctx, "tcp", u.Host)
	case "mqtts":
		return (&tls.Dialer{NetDialer: dialer, Config: secured}).DialContext(ctx, "tcp", u.Host)
	}
	ws, answer, err := (&websocket.Dialer{
		NetDialContext:  dialer.DialContext,
		TLSClientConfig: secured,
		Subprotocols:    subprotocols[:1],
		ReadBufferSize:  socketBuffer,
		WriteBufferSize: socketBuffer,
	}).DialContext(ctx, u.String(), nil)
	if answer != nil {
		defer answer.Body.Close() // it has no more than a refusal's text
	}
	switch {
	case err != nil && answer != nil:
		return nil, fmt.Errorf("%w: %s", err, answer.Status)
	case err != nil:
		return nil, err
	}
	return &wsConn{Conn: ws.NetConn(), ws: ws}, nil
}

// whyNot says why another broker is not connected; "" when it is.
func whyNot(up bool, failed *error) string {
	switch {
	case up:
		return ""
	case failed == nil || *failed == nil:
		return "not connected"
	}
	return (*failed).Error()
}
