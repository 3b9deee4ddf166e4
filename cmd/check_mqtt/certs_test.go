package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An issuer signs certificates for tests.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// makeCerts fills dir with ca.crt, other-ca.crt, and pairs of .crt and .key:
// server (for localhost and 127.0.0.1, 60 days left), expired, elsewhere (for
// another name), client (of CN probe).
func makeCerts(t *testing.T, dir string) {
	t.Helper()
	day := 24 * time.Hour
	ca := newIssuer(t, dir, "ca")
	newIssuer(t, dir, "other-ca")
	local := []net.IP{net.IPv4(127, 0, 0, 1)}
	ca.issue(t, dir, "server", 60*day, &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: local})
	ca.issue(t, dir, "expired", -day, &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: local})
	ca.issue(t, dir, "elsewhere", 60*day, &x509.Certificate{DNSNames: []string{"elsewhere.example"}})
	ca.issue(t, dir, "probe", 60*day, &x509.Certificate{})
}

func newIssuer(t *testing.T, dir, name string) *issuer {
	t.Helper()
	is := &issuer{cert: &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	is.cert, is.key = is.issue(t, dir, name, 1000*time.Hour, is.cert)
	return is
}

// issue writes NAME.crt and NAME.key, signed by is, or by itself when is has no
// key yet.
func (is *issuer) issue(t *testing.T, dir, name string, left time.Duration, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-1000*time.Hour), time.Now().Add(left)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	signer := is.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, is.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
	writePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
}
