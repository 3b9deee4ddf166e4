package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"time"

	"checkbus/checks"
)

// certificate looks at the certificate that the broker shows, and goes no
// further than the handshake.
func certificate(ctx context.Context, p *probe) (finding, error) {
	conn, err := p.dialTCP(ctx)
	if err != nil {
		return finding{}, err
	}
	defer conn.Close()
	var shown []*x509.Certificate
	cfg := p.tls.Clone()
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		shown = state.PeerCertificates
		return nil
	}
	p.tls = cfg
	_, err = p.handshake(ctx, conn)
	var invalid *tls.CertificateVerificationError
	if errors.As(err, &invalid) {
		f := p.lifetime(invalid.UnverifiedCertificates[0], time.Now())
		f.State, f.Text = checks.Critical, reason(err)+", "+f.Text
		return f, nil
	}
	if shown == nil {
		return finding{}, err
	}
	// A broker may end the handshake for want of a client certificate after
	// it has shown its own.
	return p.lifetime(shown[0], time.Now()), nil
}

// lifetime judges how long a certificate holds, in days; one that has ended or
// not begun is CRITICAL without thresholds and with --insecure, too.
func (p *probe) lifetime(cert *x509.Certificate, now time.Time) finding {
	days := math.Floor(cert.NotAfter.Sub(now).Hours()/24*100) / 100
	when := fmt.Sprintf("ends in %.1f days", days)
	if days < 0 {
		when = fmt.Sprintf("ended %.1f days ago", -days)
	}
	text := fmt.Sprintf("certificate of %s %s, %s", certName(cert), when, stamp(cert.NotAfter))
	f := found(text, p.limited(checks.Perfdata{Label: "days", Value: days})).with("value", fmt.Sprintf("%.2f", days))
	if cert.NotBefore.After(now) {
		f.Text += ", begins " + stamp(cert.NotBefore)
	}
	if days < 0 || cert.NotBefore.After(now) {
		f.State = checks.Critical
	}
	return f
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func certName(cert *x509.Certificate) string {
	if cert.Subject.CommonName != "" {
		return cert.Subject.CommonName
	}
	if len(cert.DNSNames) > 0 {
		return cert.DNSNames[0]
	}
	return cert.Subject.String()
}
