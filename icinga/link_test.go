package icinga

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers the requests of a link with what handle writes to the raw
// connection, and counts the connections.
func serve(t *testing.T, timeout time.Duration, handle func(w io.Writer)) (l *link, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	f := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the next request fails
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for reader := bufio.NewReader(c); err == nil; {
			handle(c)
			if r, err = http.ReadRequest(reader); err == nil {
				_, err = io.Copy(io.Discard, r.Body)
			}
		}
	}))
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	f.StartTLS()
	t.Cleanup(f.Close)
	a := &account{}
	if err := a.load(); err != nil {
		t.Fatal(err)
	}
	l, err := newLink(f.URL, Config{Timeout: timeout}, f.Client().Transport.(*http.Transport).TLSClientConfig.Clone(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l, connections
}

func TestALinkReadsAnyAnswer(t *testing.T) {
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
	tests := map[string]struct {
		answer      string
		want        string // "" for an error
		connections int64  // for two requests
	}{
		"with a length":         {length + "\r\nfine", "fine", 1},
		"in chunks":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n", "fine", 1},
		"the last one":          {length + "Connection: close\r\n\r\nfine", "fine", 2},
		"of HTTP/1.0":           {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", "fine", 2},
		"more than was asked":   {length + "\r\nfine" + length + "\r\nmore", "fine", 2},
		"no HTTP":               {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "", 2},
		"no end":                {"HTTP/1.1 102 Processing\r\n\r\n", "", 2},
		"a body without end":    {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + strings.Repeat("x", maxAnswer), "", 2},
		"a header without end":  {"HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", maxAnswer/6), "", 2},
		"a length that is none": {"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nfine", "", 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l, connections := serve(t, 10*time.Second, func(w io.Writer) {
				_, _ = io.WriteString(w, tt.answer) // fails where the link hangs up
			})
			for range 2 {
				status, answer, err := l.do(t.Context(), http.MethodPost, "/", []byte("{}"))
				if (err == nil) != (tt.want != "") || err == nil && (string(answer) != tt.want || status != http.StatusOK) {
					t.Errorf("do = %d, %.20q, %v", status, answer, err)
				}
			}
			if n := connections.Load(); n != tt.connections {
				t.Errorf("%d connections, want %d", n, tt.connections)
			}
		})
	}
}

func TestALinkDoesNotWaitForLong(t *testing.T) {
	silent := func(io.Writer) {}
	l, _ := serve(t, 50*time.Millisecond, silent)
	var timeout net.Error
	if _, _, err := l.do(t.Context(), http.MethodGet, "/", nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("without an answer: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1)
	l, _ = serve(t, time.Minute, func(io.Writer) { asked <- struct{}{} })
	go func() {
		<-asked
		cancel()
	}()
	if _, _, err := l.do(ctx, http.MethodGet, "/", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if l.conn != nil {
		t.Error("a connection with an answer to come is kept")
	}
}

func TestAnIdleLinkIsClosedBeforeIcingaDoesIt(t *testing.T) {
	l, connections := serve(t, 10*time.Second, func(w io.Writer) { _, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	ask := func() {
		t.Helper()
		if _, _, err := l.do(t.Context(), http.MethodGet, "/", nil); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	l.closeIdle()
	if l.conn == nil {
		t.Error("closed although it was just used")
	}
	l.used = l.used.Add(-idleTimeout)
	ask()
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections, want another after a while", n)
	}
	l.used = l.used.Add(-idleTimeout)
	l.closeIdle()
	if l.conn != nil {
		t.Error("open although it was not used for a while")
	}
}

func TestALinkShowsTheAccountAsItIsNow(t *testing.T) {
	l, err := newLink("https://icinga1", Config{}, &tls.Config{}, &account{})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"old", "new"} {
		l.account.header.Store(&http.Header{"Authorization": {secret}})
		l.write(http.MethodPost, "/x", []byte("body"))
		want := "POST /x HTTP/1.1\r\nHost: icinga1\r\nAuthorization: " + secret + "\r\nContent-Length: 4\r\n\r\nbody"
		if string(l.out) != want {
			t.Errorf("the request is %q, want %q", l.out, want)
		}
	}
	if l.addr != "icinga1:443" || l.tls.ServerName != "icinga1" {
		t.Errorf("connects to %s as %s", l.addr, l.tls.ServerName)
	}
}

// Whatever Icinga, or what stands in for it, answers: the link reads no more
// than its bound, and keeps nothing of it for the next answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"))
	f.Add([]byte("HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n0\r\nA: b\r\n\r\nmore"))
	f.Add([]byte("HTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\ngone"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		l := link{limit: io.LimitedReader{R: bytes.NewReader(answer)}}
		l.reader = bufio.NewReader(&l.limit)
		status, again, err := l.read()
		if err == nil && (status < 200 || l.answer.Len() > maxAnswer) {
			t.Errorf("read = %d with %d bytes", status, l.answer.Len())
		}
		if again && (err != nil || l.reader.Buffered() > 0) {
			t.Errorf("the connection is used again after %v, with %d bytes left", err, l.reader.Buffered())
		}
	})
}
