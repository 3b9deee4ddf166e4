package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// probeTimeout is how long it may take to ask a server with TLS, and without.
const probeTimeout = 5 * time.Second

// What a server may speak.
const (
	speaksMQTT      = "MQTT"
	speaksWebSocket = "MQTT over WebSocket"
	speaksHTTP      = "HTTP"
)

// A finding is what a server speaks.
type finding struct {
	protocol string // "" where it is not known what speaks TLS
	tls      bool
}

// schemes are what servers speak by the scheme of their URLs.
var schemes = map[string]finding{
	"mqtt": {speaksMQTT, false}, "mqtts": {speaksMQTT, true},
	"ws": {speaksWebSocket, false}, "wss": {speaksWebSocket, true},
	"http": {speaksHTTP, false}, "https": {speaksHTTP, true},
}

func (f finding) String() string {
	switch {
	case f.protocol == "":
		return "TLS"
	case f.tls:
		return f.protocol + " with TLS"
	}
	return f.protocol + " without TLS"
}

// scheme is that of its URL.
func (f finding) scheme() string {
	for scheme, spoken := range schemes {
		if spoken == f {
			return scheme
		}
	}
	return ""
}

// explain says more of err, which ended the first connection to u: what to do,
// where the server speaks something else than the URL says, or is not trusted.
func explain(ctx context.Context, u *url.URL, err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w; use -ca with a PEM file of its authority", err)
	}
	wanted, known := schemes[u.Scheme]
	if !known {
		return err
	}
	host := hostPort(u)
	found, ok := find(ctx, host)
	if !ok {
		return err
	}
	if wanted.protocol == speaksHTTP && found.protocol == speaksWebSocket {
		found.protocol = speaksHTTP
	}
	spoken := found.String()
	if found.protocol == "" || found.protocol == speaksHTTP && wanted.protocol == speaksWebSocket {
		found.protocol = wanted.protocol // as far as one can tell
	}
	switch {
	case found == wanted:
		return err
	case wanted.protocol == speaksHTTP && found.protocol == speaksMQTT:
		return fmt.Errorf("%s speaks %s: use -address with web.address of the gateway", host, spoken)
	case found.protocol == speaksHTTP && wanted.protocol != speaksHTTP:
		return fmt.Errorf("%s speaks %s: use -address with listener.address of the gateway", host, spoken)
	}
	right := url.URL{Scheme: found.scheme(), Host: host}
	switch {
	case found.protocol == wanted.protocol:
		right.Path = u.Path
	case found.protocol == speaksWebSocket:
		right.Path = "/mqtt"
	}
	return fmt.Errorf("%s speaks %s: use -address %v", host, spoken, &right)
}

// hostPort is where a URL leads to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443", "http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// find asks the server at host:port, with TLS and without. ok is false where
// nobody answers, or nothing that is known.
func find(ctx context.Context, host string) (f finding, ok bool) {
	plain := &net.Dialer{}
	// Whose certificate it is does not matter: the server is told nothing.
	secured := &tls.Dialer{NetDialer: plain, Config: &tls.Config{InsecureSkipVerify: true}}
	if protocol, connected := (probe{host, secured.DialContext}).protocol(ctx); connected {
		return finding{protocol, true}, true
	}
	protocol, _ := probe{host, plain.DialContext}.protocol(ctx)
	return finding{protocol, false}, protocol != ""
}

// A probe asks a server what it speaks.
type probe struct {
	host string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// protocol tells what the server speaks, and whether one can connect.
func (p probe) protocol(ctx context.Context) (protocol string, connected bool) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	// To an MQTT broker the beginning is no CONNECT, and it hangs up.
	upgrade := "GET /mqtt HTTP/1.1\r\nHost: " + p.host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Y2hlY2tidXMgYXNrcy4uLg==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	answer, connected := p.ask(ctx, upgrade, len("HTTP/1.1 101"))
	switch {
	case !connected:
		return "", false
	case answer == "HTTP/1.1 101":
		return speaksWebSocket, true
	case strings.HasPrefix(answer, "HTTP/"):
		return speaksHTTP, true
	}
	const connect = "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00" // MQTT 3.1.1, 3.1
	if answer, _ := p.ask(ctx, connect, 1); answer == "\x20" {     // CONNACK
		return speaksMQTT, true
	}
	return "", true
}

// ask returns the first n bytes that the server answers, or fewer.
func (p probe) ask(ctx context.Context, question string, n int) (answer string, connected bool) {
	nc, err := p.dial(ctx, "tcp", p.host)
	if err != nil {
		return "", false
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if _, err := io.WriteString(nc, question); err != nil {
		return "", true
	}
	text := make([]byte, n)
	n, _ = io.ReadFull(nc, text) // what came says enough
	return string(text[:n]), true
}
