// Package credentials reads the files by which a client knows a server, and is
// known to it.
package credentials

import (
	"bufio"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxLine is how much of a file's first line is read, in bytes: more than any
// protocol takes as a password.
const maxLine = 64 << 10

// Password returns the first line of a file, without its end; it may be empty,
// and is cut after 64 KiB. The error names the file, and never what is in it.
func Password(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// Authorities returns the certificates in a PEM file, which those of servers
// may come from. The error names the file.
func Authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}
