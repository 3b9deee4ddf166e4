package web

import (
	"errors"
	"fmt"

	"checkbus/internal/listen"
)

// Config holds the settings of the web server.
type Config struct {
	// Address is host:port, port 0 being any free one, or systemd:NAME for a
	// socket that systemd opened. "" is no web server. Other than on loopback it
	// needs TLS, and a password file to log in by.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files: the server's certificate, with those
	// between it and its authority, and its key.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
}

// Default returns the settings of a web server for this machine alone.
func Default() Config { return Config{Address: "127.0.0.1:8090"} }

// Validate returns every mistake in c, each named by its key. passwords tells
// whether there is a password file.
func (c Config) Validate(passwords bool) error {
	if c.Address == "" {
		return nil
	}
	var errs []error
	if network, _ := listen.Network(c.Address); network == "unix" {
		errs = append(errs, fmt.Errorf("web.address: %q is neither host:port nor systemd:NAME", c.Address))
	} else if err := listen.CheckAddress(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("web.address: %w", err))
	} else if network == "tcp" && !listen.IsLocal(c.Address) {
		errs = append(errs, c.mayBeReached(passwords))
	}
	switch {
	case c.TLSCert == "" && c.TLSKey != "":
		errs = append(errs, errors.New("web.tls_key: needs web.tls_cert"))
	case c.TLSCert != "" && c.TLSKey == "":
		errs = append(errs, errors.New("web.tls_cert: needs web.tls_key"))
	}
	return errors.Join(errs...)
}

// mayBeReached tells what is missing for other machines to reach the server.
func (c Config) mayBeReached(passwords bool) error {
	if c.TLSCert != "" && passwords {
		return nil
	}
	return fmt.Errorf("web.address: other machines reach %s, which needs web.tls_cert, web.tls_key and access.password_file", c.Address)
}

// Check reads the files that the settings name, and returns every mistake in
// them.
func (c Config) Check() error {
	if c.Address == "" {
		return nil
	}
	certs, err := listen.ReadCertificates(c.files())
	if certs != nil {
		err = certs.ValidNow()
	}
	return listen.In("web", err)
}

func (c Config) files() listen.Files { return listen.Files{Cert: c.TLSCert, Key: c.TLSKey} }

// String says what runs where, for an operator.
func (c Config) String() string {
	switch {
	case c.Address == "":
		return "none"
	case c.TLSCert != "":
		return c.Address + ", TLS"
	}
	return c.Address
}
