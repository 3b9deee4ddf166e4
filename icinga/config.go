package icinga

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"checkbus/internal/credentials"
)

// maxConnections is far beyond what Icinga gains from: its CPU is the limit,
// and more than 16 connections only add latency.
const maxConnections = 64

// Config says where an Icinga 2 takes results and as whom the gateway speaks.
type Config struct {
	// URL are the API's addresses, such as "https://icinga1:5665": one, or
	// those of one zone's masters in order of preference. One is used at a
	// time, since masters tell each other what they took.
	URL []string `toml:"url"`
	// CA is the file of the only authority that the server's certificate may
	// come from, Icinga's own ca.crt.
	CA string `toml:"ca"`
	// ServerName is the name in the server's certificate, which is the node's
	// name; "" is the URL's host.
	ServerName string `toml:"server_name"`

	// Username is the ApiUser whose password is the first line of
	// PasswordFile. The file is read again whenever the gateway connects.
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// ClientCert and ClientKey are files of a certificate whose common name is
	// the ApiUser's client_cn, instead of a password. They are read again for
	// each new connection.
	ClientCert string `toml:"client_cert"`
	ClientKey  string `toml:"client_key"`

	// Connections is how many requests run at once, from 1 to 64; 4 to 16 are
	// sensible.
	Connections int `toml:"connections"`
	// Timeout is how long one request may take.
	Timeout time.Duration `toml:"timeout"`
}

// Defaults are the settings that have a value when the file gives none.
func Defaults() Config {
	return Config{Connections: 8, Timeout: 10 * time.Second}
}

// Validate names every mistake by its key, files that cannot be read among
// them.
func (c Config) Validate() error {
	errs := c.validateURLs()
	if c.CA == "" {
		errs = append(errs, errors.New("icinga.ca: required"))
	} else if _, err := credentials.Authorities(c.CA); err != nil {
		errs = append(errs, fmt.Errorf("icinga.ca: %w", err))
	}
	errs = append(errs, c.validateAccount()...)
	if c.Connections < 1 || c.Connections > maxConnections {
		errs = append(errs, fmt.Errorf("icinga.connections: %d is not between 1 and %d", c.Connections, maxConnections))
	}
	if c.Timeout < time.Second || c.Timeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("icinga.timeout: %v is not between 1s and 5m", c.Timeout))
	}
	return errors.Join(errs...)
}

func (c Config) validateURLs() []error {
	var errs []error
	if len(c.URL) == 0 {
		errs = append(errs, errors.New("icinga.url: required"))
	}
	seen := make(map[string]bool)
	for _, text := range c.URL {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("icinga.url: %q is no URL", text))
		case u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			errs = append(errs, fmt.Errorf("icinga.url: %q is not of the form https://host:port", u.Redacted()))
		case seen[u.Host]:
			errs = append(errs, fmt.Errorf("icinga.url: %s is there twice", u.Host))
		default:
			seen[u.Host] = true
		}
	}
	return errs
}

// validateAccount wants either a user with a password or a certificate.
func (c Config) validateAccount() []error {
	var errs []error
	password := c.Username != "" || c.PasswordFile != ""
	certificate := c.ClientCert != "" || c.ClientKey != ""
	switch {
	case password && certificate:
		errs = append(errs, errors.New("icinga.username: give a password or a client certificate, not both"))
	case certificate:
		errs = append(errs, c.validateCertificate()...)
	case !password:
		errs = append(errs, errors.New("icinga.username: required, with icinga.password_file, or else icinga.client_cert and icinga.client_key"))
	default:
		if c.Username == "" || strings.Contains(c.Username, ":") {
			errs = append(errs, fmt.Errorf("icinga.username: %q is empty or has a colon", c.Username))
		}
		if _, err := c.password(); err != nil {
			errs = append(errs, fmt.Errorf("icinga.password_file: %w", err))
		}
	}
	return errs
}

func (c Config) validateCertificate() []error {
	var errs []error
	for _, f := range []struct{ key, path string }{{"client_cert", c.ClientCert}, {"client_key", c.ClientKey}} {
		if f.path == "" {
			continue
		}
		if _, err := os.ReadFile(f.path); err != nil {
			errs = append(errs, fmt.Errorf("icinga.%s: %w", f.key, err))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	if _, err := c.certificate(); err != nil {
		errs = append(errs, fmt.Errorf("icinga.client_cert: %w", err))
	}
	return errs
}

// password reads the secret. What is wrong with it never quotes it.
func (c Config) password() (string, error) {
	if c.PasswordFile == "" {
		return "", errors.New("required")
	}
	secret, err := credentials.Password(c.PasswordFile)
	if err == nil && secret == "" {
		err = fmt.Errorf("%s: the first line is empty", c.PasswordFile)
	}
	return secret, err
}

func (c Config) certificate() (*tls.Certificate, error) {
	if c.ClientCert == "" || c.ClientKey == "" {
		return nil, errors.New("client_cert and client_key need each other")
	}
	cert, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	return &cert, err
}

// tls trusts c.CA and nothing else.
func (c Config) tls() (*tls.Config, error) {
	roots, err := credentials.Authorities(c.CA)
	if err != nil {
		return nil, fmt.Errorf("icinga.ca: %w", err)
	}
	t := &tls.Config{RootCAs: roots, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.ClientCert != "" {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate() }
	}
	return t, nil
}
