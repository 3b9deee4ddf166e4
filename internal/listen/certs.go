package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Files are what a server shows its clients, and whom it believes, in PEM.
type Files struct {
	Cert, Key         string // both or neither
	ClientCA          string // authorities of clients' certificates; "" asks for none
	RequireClientCert bool
}

// Certificates are the contents of Files. They change while a server runs; a
// connection keeps those that it began with.
type Certificates struct {
	files   Files
	current atomic.Pointer[tls.Config]

	reloading sync.Mutex
	tried     []byte // the files' contents at the latest reading
}

// ReadCertificates reads the files of a server; nil is one without TLS. The
// error has a line for each mistake that begins with the key of its file:
// tls_cert, tls_key or client_ca.
func ReadCertificates(f Files) (*Certificates, error) {
	if f.Cert == "" {
		return nil, nil
	}
	read, err := f.read()
	if err != nil {
		return nil, err
	}
	c := &Certificates{files: f, tried: read.contents}
	c.current.Store(read.config)
	return c, nil
}

// In names the table of the settings whose keys the lines of err begin with.
func In(table string, err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	return errors.New(table + "." + strings.Join(lines, "\n"+table+"."))
}

// Config is what a new connection is served with. It is not to be changed.
func (c *Certificates) Config() *tls.Config { return c.current.Load() }

// ValidNow tells whether the server's certificate is valid now.
func (c *Certificates) ValidNow() error {
	return validAt(c.files.Cert, c.current.Load(), time.Now())
}

// Reload reads the files again. Connections from now on get what they say,
// unless there is a mistake, or the certificate is not valid now: then the one
// before stays.
func (c *Certificates) Reload() error {
	_, err := c.reload(true)
	return err
}

// reload is Reload; without force it does nothing when the files are the same
// as at the last time.
func (c *Certificates) reload(force bool) (changed bool, err error) {
	c.reloading.Lock()
	defer c.reloading.Unlock()
	read, err := c.files.read()
	same := bytes.Equal(read.contents, c.tried)
	c.tried = read.contents
	switch {
	case same && !force:
		return false, nil
	case err == nil:
		err = validAt(c.files.Cert, read.config, time.Now())
	}
	if err != nil {
		return false, err
	}
	c.current.Store(read.config)
	return !same, nil
}

// contents are what files hold at one time.
type contents struct {
	contents []byte // of all of them, and the errors of reading them
	config   *tls.Config
}

// read reads the files. The contents are there also when there is an error,
// which has a line for each mistake that begins with the key of its file.
func (f Files) read() (contents, error) {
	var all contents
	var failed []error
	read := func(key, path string) []byte {
		text, err := os.ReadFile(path)
		if path == "" {
			err = errors.New("not set")
		}
		if err != nil {
			text = []byte(err.Error())
			failed = append(failed, fmt.Errorf("%s: %w", key, err))
		}
		all.contents = append(append(all.contents, 0), text...)
		return text
	}
	cert, key := read("tls_cert", f.Cert), read("tls_key", f.Key)
	var authorities []byte
	if f.ClientCA != "" {
		authorities = read("client_ca", f.ClientCA)
	}
	if len(failed) > 0 {
		return all, errors.Join(failed...)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return all, fmt.Errorf("tls_cert: %s with tls_key %s: %w", f.Cert, f.Key, err)
	}
	all.config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if f.ClientCA == "" {
		return all, nil
	}
	all.config.ClientAuth = tls.VerifyClientCertIfGiven
	if f.RequireClientCert {
		all.config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	all.config.ClientCAs = x509.NewCertPool()
	if !all.config.ClientCAs.AppendCertsFromPEM(authorities) {
		return all, fmt.Errorf("client_ca: %s holds no certificate in PEM", f.ClientCA)
	}
	return all, nil
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
