package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"checkbus/internal/web"
)

// statusTimeout is how long the gateway may take to answer.
const statusTimeout = 10 * time.Second

// mostStatus is the largest answer that is read, in bytes.
const mostStatus = 1 << 20

// runStatus shows the running gateway at a glance. It fails when the gateway
// cannot be reached, is not ready or is degraded.
func runStatus(ctx context.Context, args []string, out, log io.Writer) error {
	flags := newFlags("status", "Shows the running gateway at a glance. Exits 1 when it is not ready or does not answer, 3 when it is degraded:\na bridge or the outside broker is down.", log)
	config := flags.String("config", "", "settings `file` of the gateway, which say where its web server is")
	address := flags.String("address", "", "`where` the web server is, instead: host:port, or an http:// or https:// URL")
	user := flags.String("user", "", "log in as this `user`")
	passwordFile := flags.String("password-file", "", "`file` whose first line is the user's password")
	ca := flags.String("ca", "", "PEM `file` of the authorities that its certificate may come from; makes -address HOST:PORT one with TLS")
	asJSON := flags.Bool("json", false, "one JSON object, as at /api/status")
	if err := parse(flags, args); err != nil {
		return err
	}
	switch {
	case *user != "" && *passwordFile == "":
		return errors.New("-password-file: needed with -user")
	case *user == "" && *passwordFile != "":
		return errors.New("-user: needed with -password-file")
	}
	s, err := readSettings(*config)
	if err != nil {
		return err
	}
	base, err := statusURL(*address, s.Web, *ca != "")
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("api/status").String(), nil)
	if err != nil {
		return err
	}
	if *user != "" {
		password, err := os.ReadFile(*passwordFile)
		if err != nil {
			return fmt.Errorf("-password-file: %w", err)
		}
		line, _, _ := strings.Cut(string(password), "\n")
		request.SetBasicAuth(*user, strings.TrimSuffix(line, "\r"))
	}
	client, err := statusClient(s.Web, *address != "", *ca)
	if err != nil {
		return err
	}
	text, err := fetch(client, request)
	if err != nil {
		return explain(ctx, base, err)
	}
	var f figures
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%s: no answer of checkbus: %w", base, err)
	}
	if *asJSON {
		_, err = out.Write(text)
	} else {
		err = f.write(out, base.Host)
	}
	if err != nil {
		return err
	}
	return f.health()
}

// statusURL is where a gateway is: at address, secure says how where that does
// not, or where its settings say.
func statusURL(address string, cfg web.Config, secure bool) (*url.URL, error) {
	if address == "" {
		host, port, err := net.SplitHostPort(cfg.Address)
		if err != nil || port == "0" {
			return nil, fmt.Errorf("web.address is %q, which tells nothing of where to ask; use -address", cfg.Address)
		}
		if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
			host = "localhost"
		}
		address, secure = net.JoinHostPort(host, port), cfg.TLSCert != ""
	}
	switch {
	case strings.Contains(address, "://"):
	case secure:
		address = "https://" + address
	default:
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err == nil && u.User != nil {
		return nil, fmt.Errorf("-address: %s names a user; use -user and -password-file", u.Redacted())
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("-address: %q is neither host:port nor a URL such as https://gateway:8090", address)
	}
	return u, nil
}

// statusClient asks a gateway of this machine, whose certificate is the one that
// its settings name, or one elsewhere, whose certificate is of an authority in
// the file ca, or of a public one.
func statusClient(cfg web.Config, elsewhere bool, ca string) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case ca != "":
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("-ca: %s: no PEM certificate", ca)
		}
	case !elsewhere && cfg.TLSCert != "":
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("web.tls_cert: %w", err)
		}
		trust.InsecureSkipVerify = true // its name may be any: it is compared below
		trust.VerifyConnection = func(c tls.ConnectionState) error {
			if !c.PeerCertificates[0].Equal(pair.Leaf) {
				return fmt.Errorf("the certificate shown is not that of %s", cfg.TLSCert)
			}
			return nil
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: statusTimeout}, nil
}

// fetch returns the answer of a gateway.
func fetch(client *http.Client, request *http.Request) ([]byte, error) {
	response, err := client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the rest of it repeats the URL
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", request.URL, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, mostStatus))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", request.URL, err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return text, nil
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %s: no gateway's web server, see web.address", request.URL, response.Status)
	default:
		return nil, fmt.Errorf("%s: %s: %s", request.URL, response.Status, printable(strings.TrimSpace(string(text[:min(len(text), 200)]))))
	}
}
