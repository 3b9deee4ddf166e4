package icinga

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"checkbus/checks"
	"checkbus/internal/quickack"
)

const (
	// idleTimeout is below the 10 s after which Icinga closes an idle
	// connection (lib/remote/httpserverconnection.cpp, CheckLiveness).
	idleTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer that is no list.
	maxAnswer = 1 << 20
	// listTimeout bounds the listing of all objects.
	listTimeout = 5 * time.Minute
)

// A client asks one Icinga about the whole, and reads answers of any length,
// over one connection. Do not use it from two goroutines.
type client struct {
	base      string // https://host:port
	account   *account
	transport *http.Transport
	timeout   time.Duration
}

func newClient(base string, cfg Config, t *tls.Config, a *account) *client {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &client{
		base:    base,
		account: a,
		timeout: cfg.Timeout,
		transport: &http.Transport{
			DialContext:         quickack.Dial(&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 15 * time.Second}),
			TLSClientConfig:     t,
			TLSHandshakeTimeout: cfg.Timeout,
			IdleConnTimeout:     idleTimeout,
			MaxConnsPerHost:     1,
			DisableCompression:  true,
			Protocols:           &http1,
		},
	}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// send sends a request and returns Icinga's answer, whose body the caller
// closes.
func (c *client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = *c.account.header.Load()
	return c.transport.RoundTrip(req)
}

// get asks for a short answer.
func (c *client) get(ctx context.Context, path string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}

// An account is what the gateway shows to Icinga with each request.
type account struct {
	cfg    Config
	header atomic.Pointer[http.Header] // shared by requests, and never changed
}

// load reads the password file again.
func (a *account) load() error {
	h := http.Header{
		"Accept":       {"application/json"}, // compared as a whole
		"Content-Type": {"application/json"},
		"User-Agent":   {"checkbus"},
	}
	if a.cfg.PasswordFile != "" {
		secret, err := a.cfg.password()
		if err != nil {
			return fmt.Errorf("icinga.password_file: %w", err)
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.cfg.Username+":"+secret)))
	}
	a.header.Store(&h)
	return nil
}

// A statusError is an answer other than 200 to a question.
type statusError struct {
	path   string
	status int
	text   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("ask for %s: icinga answered %d: %s", e.path, e.status, e.text)
}

func answered(path string, status int, body []byte) error {
	var reply struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(body, &reply) != nil {
		reply.Status = http.StatusText(status)
	}
	return &statusError{path, status, firstLine(reply.Status)}
}

// isStatus reports whether err is an answer with that HTTP status.
func isStatus(err error, status int) bool {
	var e *statusError
	return errors.As(err, &e) && e.status == status
}

// A process identifies one run of Icinga's worker, which ends with a reload.
type process struct {
	started float64
	pid     float64
}

// process asks which worker answers.
func (c *client) process(ctx context.Context) (process, error) {
	const path = "/v1/status/IcingaApplication"
	status, body, err := c.get(ctx, path)
	if err != nil {
		return process{}, err
	}
	if status != http.StatusOK {
		return process{}, answered(path, status, body)
	}
	var reply struct {
		Results []struct {
			Status struct {
				Application struct {
					App struct {
						Started float64 `json:"program_start"`
						PID     float64 `json:"pid"`
					} `json:"app"`
				} `json:"icingaapplication"`
			} `json:"status"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return process{}, fmt.Errorf("ask for %s: %w", path, err)
	}
	if len(reply.Results) == 0 {
		return process{}, fmt.Errorf("ask for %s: no result", path)
	}
	app := reply.Results[0].Status.Application.App
	return process{app.Started, app.PID}, nil
}

const (
	hosts    = "/v1/objects/hosts"
	services = "/v1/objects/services"
)

func kind(o checks.Object) string {
	if o.IsHost() {
		return hosts
	}
	return services
}

// list calls f with every object of a kind and its attrs. The answer is
// decoded as it arrives, since it may have the output of every check.
func (c *client) list(ctx context.Context, kind string, attrs []string, f func(*entry)) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return c.query(ctx, kind, map[string]any{"attrs": attrs}, f)
}

// named calls f with the objects of a kind that have these names and their
// attrs. If there is none of one of the names, the answer is 404.
func (c *client) named(ctx context.Context, kind string, names, attrs []string, f func(*entry)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.query(ctx, kind, map[string]any{"attrs": attrs, path.Base(kind): names}, f)
}

func (c *client) query(ctx context.Context, kind string, question any, f func(*entry)) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodGet, kind, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only for the error's text
		return answered(kind, resp.StatusCode, body)
	}
	if err := decodeList(resp.Body, f); err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	return nil
}

// decodeList reads {"results":[...]} to its end.
func decodeList(r io.Reader, f func(*entry)) error {
	d := json.NewDecoder(r)
	for _, want := range []json.Token{json.Delim('{'), "results", json.Delim('[')} {
		got, err := d.Token()
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("not Icinga's answer: %v where %v belongs", got, want)
		}
	}
	for d.More() {
		var e entry
		if err := d.Decode(&e); err != nil {
			return err
		}
		f(&e)
	}
	for range 2 { // the closing brackets: without them the list is cut short
		if _, err := d.Token(); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	_, err := io.Copy(io.Discard, io.LimitReader(r, maxAnswer))
	return err
}

// events opens a stream of events. The queue's name must be this client's own:
// clients that share one share its events.
func (c *client) events(ctx context.Context, queue string, types []string) (io.ReadCloser, error) {
	const path = "/v1/events"
	body, err := json.Marshal(map[string]any{"types": types, "queue": queue})
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only for the error's text
		return nil, answered(path, resp.StatusCode, body)
	}
	return resp.Body, nil
}
