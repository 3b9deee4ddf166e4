package main

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

// makeCerts fills dir with ca.crt, other-ca.crt, and pairs of .crt and .key:
// server (for localhost and 127.0.0.1, 60 days left), expired (since a day),
// future (begins in 5 days), elsewhere (for another name), and probe, a client's.
func makeCerts(t *testing.T, dir string) {
	t.Helper()
	other := realtest.NewAuthority(t, t.TempDir())
	if err := os.Rename(other.File, filepath.Join(dir, "other-ca.crt")); err != nil {
		t.Fatal(err)
	}
	ca := realtest.NewAuthority(t, dir)
	lasts := func(days int, names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(0, 0, -40), time.Now().AddDate(0, 0, days)
			c.DNSNames = names
		}
	}
	ca.Issue(t, dir, "server", lasts(60, "localhost"))
	ca.Issue(t, dir, "expired", lasts(-1, "localhost"))
	ca.Issue(t, dir, "future", lasts(60, "localhost"), func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, 0, 5) })
	ca.Issue(t, dir, "elsewhere", lasts(60, "elsewhere.example"), func(c *x509.Certificate) { c.IPAddresses = nil })
	ca.Issue(t, dir, "probe", lasts(60))
}

// Who issued a certificate that is not trusted is named.
func TestUnknownAuthorityIsNamed(t *testing.T) {
	ca, leaf := pkix.Name{CommonName: "CA"}, pkix.Name{CommonName: "broker"}
	for want, cert := range map[string]*x509.Certificate{
		"by itself": {RawIssuer: []byte("broker"), RawSubject: []byte("broker"), Issuer: leaf, Subject: leaf},
		"CN=CA":     {RawIssuer: []byte("CA"), RawSubject: []byte("broker"), Issuer: ca, Subject: leaf},
	} {
		got := explainTLS(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{Cert: cert}})
		if got != "x509: certificate signed by unknown authority, "+want {
			t.Errorf("%s: %s", want, got)
		}
	}
}
