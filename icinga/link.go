package icinga

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
	"checkbus/internal/quickack"
)

// A link is a lane's connection to Icinga, for one small request after
// another. net/http would hand each one over to two more goroutines, which
// doubles the CPU that a result costs. One goroutine uses it at a time.
type link struct {
	addr    string // host:port
	host    string // as the URL has it
	tls     *tls.Config
	account *account
	timeout time.Duration // of one request, with the time to connect

	conn   *tls.Conn // nil while there is none
	used   time.Time // when the last answer came
	limit  io.LimitedReader
	reader *bufio.Reader // of limit

	shown  *http.Header // the account as head has it
	head   []byte       // the fields that each request has
	body   []byte       // of the last submission
	out    []byte       // the last request
	answer bytes.Buffer // the last answer
}

func newLink(base string, cfg Config, t *tls.Config, a *account) (*link, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("icinga.url: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	if t.ServerName == "" {
		t.ServerName = u.Hostname()
	}
	return &link{
		addr:    net.JoinHostPort(u.Hostname(), port),
		host:    u.Host,
		tls:     t,
		account: a,
		timeout: cfg.Timeout,
		reader:  bufio.NewReader(nil),
	}, nil
}

// close says goodbye to Icinga, if there is a connection.
func (l *link) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// drop closes the connection without a word, which might wait for Icinga.
func (l *link) drop() {
	l.conn.NetConn().Close()
	l.conn = nil
}

// closeIdle closes the connection before Icinga does.
func (l *link) closeIdle() {
	if time.Since(l.used) > idleTimeout {
		l.close()
	}
}

// do sends a request and reads the whole answer, which holds until the next
// request. After an error Icinga may have received the request or not; do
// never sends it again.
func (l *link) do(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	deadline := time.Now().Add(l.timeout)
	l.closeIdle()
	if l.conn == nil {
		if err := l.connect(ctx, deadline); err != nil {
			return 0, nil, err
		}
	}
	conn := l.conn
	if err := conn.SetDeadline(deadline); err != nil {
		l.drop()
		return 0, nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(0, 0)) // it fails on a closed connection, which is as good
	})
	status, again, err := l.exchange(method, path, body)
	ended := !stop()
	if err != nil && ended {
		err = ctx.Err()
	}
	if err != nil || ended || !again {
		l.drop()
	}
	l.used = time.Now()
	return status, l.answer.Bytes(), err
}

func (l *link) connect(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	raw, err := quickack.DialTurns(ctx, &net.Dialer{KeepAlive: 15 * time.Second}, "tcp", l.addr)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return err
	}
	l.conn, l.used = conn, time.Now()
	l.limit.R = conn
	l.reader.Reset(&l.limit)
	return nil
}

var errLongAnswer = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

// exchange sends a request and reads the answer. It reports whether the
// connection is good for another.
func (l *link) exchange(method, path string, body []byte) (status int, again bool, err error) {
	l.write(method, path, body)
	if _, err := l.conn.Write(l.out); err != nil {
		return 0, false, err
	}
	status, again, err = l.read()
	if err != nil && l.limit.N <= 0 {
		err = errLongAnswer
	}
	return status, again, err
}

// write puts a request into l.out.
func (l *link) write(method, path string, body []byte) {
	if h := l.account.header.Load(); h != l.shown {
		var head bytes.Buffer
		fmt.Fprintf(&head, "Host: %s\r\n", l.host)
		_ = h.Write(&head) // into memory
		l.shown, l.head = h, head.Bytes()
	}
	b := append(l.out[:0], method...)
	b = append(b, ' ')
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = append(b, l.head...)
	if len(body) > 0 {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	l.out = append(b, body...)
}

// read reads an answer into l.answer.
func (l *link) read() (status int, again bool, err error) {
	l.answer.Reset()
	l.limit.N = maxAnswer
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if _, err := l.answer.ReadFrom(resp.Body); err != nil {
		return 0, false, err
	}
	if resp.StatusCode < http.StatusOK {
		return 0, false, fmt.Errorf("icinga answered %d, which is no end", resp.StatusCode)
	}
	// What comes unasked would pass for the next answer.
	return resp.StatusCode, !resp.Close && l.reader.Buffered() == 0, nil
}

// object asks for one object, with statusAttrs; nil when Icinga does not have
// it, or does not show it to this account.
func (l *link) object(ctx context.Context, o checks.Object) (*entry, error) {
	path := kind(o) + "/" + url.PathEscape(o.String())
	status, body, err := l.do(ctx, http.MethodGet, path+"?attrs="+strings.Join(statusAttrs, "&attrs="), nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK:
		return nil, answered(path, status, body)
	}
	var reply struct {
		Results []*entry `json:"results"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	}
	if len(reply.Results) != 1 || reply.Results[0] == nil {
		return nil, fmt.Errorf("ask for %s: %d results", path, len(reply.Results))
	}
	reply.Results[0].Name = o.String()
	return reply.Results[0], nil
}
