package broker

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certificates are what a listener shows its clients, and whom it believes.
// They change while it runs; a connection keeps those that it began with.
type certificates struct {
	settings Listener
	current  atomic.Pointer[tls.Config]
	tried    []byte // the files' contents at the latest reading; under Broker.reloading
}

// newCertificates reads the files of a listener; nil is one without TLS.
func newCertificates(l Listener) (*certificates, error) {
	if l.TLSCert == "" {
		return nil, nil
	}
	files, err := readTLS(l)
	if err != nil {
		return nil, err
	}
	c := &certificates{settings: l, tried: files.contents}
	c.current.Store(files.config)
	return c, nil
}

// validNow tells whether the server's certificate is valid now.
func (c *certificates) validNow() error {
	return validAt(c.settings.TLSCert, c.current.Load(), time.Now())
}

// reload reads the files again. Connections from now on get what they say,
// unless there is a mistake, or the certificate is not valid now: then the one
// before stays. Without force it does nothing when the files are the same as at
// the last time.
func (c *certificates) reload(force bool) (changed bool, err error) {
	files, err := readTLS(c.settings)
	same := bytes.Equal(files.contents, c.tried)
	c.tried = files.contents
	switch {
	case same && !force:
		return false, nil
	case err == nil:
		err = validAt(c.settings.TLSCert, files.config, time.Now())
	}
	if err != nil {
		return false, err
	}
	c.current.Store(files.config)
	return !same, nil
}

// tlsFiles are the files of a listener, as they are at one time.
type tlsFiles struct {
	contents []byte // of all of them, and the errors of reading them
	config   *tls.Config
}

// readTLS reads the files of a listener. The contents are there also when there
// is an error, which begins with the key of the file that it is about.
func readTLS(l Listener) (tlsFiles, error) {
	var files tlsFiles
	var failed error
	read := func(key, path string) []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
			failed = fmt.Errorf("%s: %w", key, err)
		}
		files.contents = append(append(files.contents, 0), text...)
		return text
	}
	cert, key := read("tls_cert", l.TLSCert), read("tls_key", l.TLSKey)
	var authorities []byte
	if l.ClientCA != "" {
		authorities = read("client_ca", l.ClientCA)
	}
	if failed != nil {
		return files, failed
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return files, fmt.Errorf("tls_cert: %s with tls_key %s: %w", l.TLSCert, l.TLSKey, err)
	}
	files.config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if l.ClientCA == "" {
		return files, nil
	}
	files.config.ClientAuth = tls.VerifyClientCertIfGiven
	if l.RequireClientCert {
		files.config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	files.config.ClientCAs = x509.NewCertPool()
	if !files.config.ClientCAs.AppendCertsFromPEM(authorities) {
		return files, fmt.Errorf("client_ca: %s holds no certificate in PEM", l.ClientCA)
	}
	return files, nil
}

// validAt tells whether the server's certificate, read from path, is valid at a
// time.
func validAt(path string, cfg *tls.Config, now time.Time) error {
	leaf := cfg.Certificates[0].Leaf
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("tls_cert: %s expired on %s", path, leaf.NotAfter.Format(time.DateTime))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("tls_cert: %s is not valid before %s", path, leaf.NotBefore.Format(time.DateTime))
	}
	return nil
}
