package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"os"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// keptSession is how long a broker is asked to keep the session of
// --clean=false with MQTT 5; with 3.1.1 it decides itself.
const keptSession = 24 * time.Hour

// A will is what the broker is to publish when the client vanishes.
type will struct {
	topic   string
	payload []byte
	qos     byte
}

// identity is who a client says it is.
type identity struct {
	clientID string
	user     string
	password string
}

// open connects all the way up to CONNACK, one phase after another.
func (p *probe) open(ctx context.Context, id identity, w *will) (*client, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	p.phases.enter("connect")
	c := newClient(ctx, conn, p.version, p.trace)
	if err := c.connect(ctx, p.connectParams(id, w), p.connectProperties()); err != nil {
		c.drop()
		return nil, err
	}
	p.phases.end()
	return c, nil
}

func (p *probe) connectParams(id identity, w *will) packets.ConnectParams {
	params := packets.ConnectParams{
		ProtocolName:     []byte("MQTT"),
		ClientIdentifier: id.clientID,
		Keepalive:        uint16(p.keepalive / time.Second),
		Clean:            p.clean,
		UsernameFlag:     id.user != "",
		Username:         []byte(id.user),
		PasswordFlag:     id.password != "",
		Password:         []byte(id.password),
	}
	if w != nil {
		params.WillFlag, params.WillTopic, params.WillPayload, params.WillQos = true, w.topic, w.payload, w.qos
	}
	return params
}

func (p *probe) connectProperties() packets.Properties {
	return packets.Properties{
		SessionExpiryInterval:     uint32(keptSession / time.Second),
		SessionExpiryIntervalFlag: !p.clean,
		MaximumPacketSize:         maxPacket,
	}
}

// dial brings up TCP and what --transport puts on top of it.
func (p *probe) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		secure, err := p.handshake(ctx, conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	if p.transport == "ws" || p.transport == "wss" {
		web, err := p.upgrade(ctx, conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = web
	}
	p.phases.end()
	return conn, nil
}

// dialTCP tries every address of the broker; looking the name up is a phase of
// its own.
func (p *probe) dialTCP(ctx context.Context) (net.Conn, error) {
	if net.ParseIP(p.host) == nil {
		p.phases.enter("lookup")
	} else {
		p.phases.enter("tcp")
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			if info.Err == nil {
				p.phases.enter("tcp")
			}
		},
	})
	var d net.Dialer
	return d.DialContext(ctx, "tcp", p.address())
}

// address is host:port of the broker.
func (p *probe) address() string {
	return net.JoinHostPort(p.host, strconv.Itoa(p.port))
}

func (p *probe) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	p.phases.enter("tls")
	secure := tls.Client(conn, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	p.state = secure.ConnectionState()
	return secure, nil
}

// tlsConfig reads the files that the options name; nil where the transport
// has no TLS. Its errors are the operator's to mend.
func tlsConfig(s *settings) (*tls.Config, error) {
	if s.transport != "tls" && s.transport != "wss" {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: s.serverName, InsecureSkipVerify: s.insecure}
	if cfg.ServerName == "" {
		cfg.ServerName = s.host
	}
	if s.anyName {
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, cfg.RootCAs) }
	}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no PEM certificate", s.ca)
		}
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// verifyChain verifies who issued the certificate, and not for which name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

// explainTLS words a failed handshake; "" where err is none of TLS.
func explainTLS(err error) string {
	var (
		record  tls.RecordHeaderError
		alert   tls.AlertError
		invalid *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &record):
		return "the broker does not speak TLS on this port"
	case errors.As(err, &alert):
		return fmt.Sprintf("the broker broke the handshake off: %v", alert)
	case errors.As(err, &invalid):
		return invalid.Err.Error()
	}
	return ""
}
