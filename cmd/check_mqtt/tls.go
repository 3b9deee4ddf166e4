package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"checkbus/internal/credentials"
)

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
		roots, err := credentials.Authorities(s.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		cfg.RootCAs = roots
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
		unknown x509.UnknownAuthorityError
		invalid *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &record):
		return "the broker does not speak TLS on this port"
	case errors.As(err, &alert):
		return fmt.Sprintf("the broker broke the handshake off: %v", alert)
	case errors.As(err, &unknown) && unknown.Cert != nil:
		return unknown.Error() + ", " + issuer(unknown.Cert)
	case errors.As(err, &invalid):
		return invalid.Err.Error()
	}
	return ""
}

// issuer names the authority that was not found: the broker may not send all
// certificates between its own and the authority's.
func issuer(cert *x509.Certificate) string {
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return "by itself"
	}
	return cert.Issuer.String()
}

func (p *probe) tlsDetails() []string {
	if p.state.Version == 0 {
		return nil
	}
	lines := []string{tls.VersionName(p.state.Version) + " " + tls.CipherSuiteName(p.state.CipherSuite)}
	for _, cert := range p.state.PeerCertificates {
		lines = append(lines, fmt.Sprintf("certificate %s, issued by %s, ends %s",
			cert.Subject, cert.Issuer, cert.NotAfter.UTC().Format(time.RFC3339)))
	}
	return lines
}
