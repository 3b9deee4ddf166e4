package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A slowLine leads to a server, and halts each connection on which that has said
// much, until it is cleared.
type slowLine struct {
	*httptest.Server
	halted  func() // says that a connection is halted
	cleared chan struct{}
}

// haltAfter is how many bytes a server says at once over a slowLine: more than the
// page has, and less than a thousand states.
const haltAfter = 200_000

// startSlowLine also returns a channel that is closed when a connection is halted.
func startSlowLine(t *testing.T, server string) (*slowLine, <-chan struct{}) {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	halted := make(chan struct{})
	l := &slowLine{halted: sync.OnceFunc(func() { close(halted) }), cleared: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return &slowConn{Conn: nc, line: l, left: haltAfter}, err
	}}
	l.Server = httptest.NewServer(proxy)
	t.Cleanup(l.Close)
	return l, halted
}

type slowConn struct {
	net.Conn
	line *slowLine
	left int // bytes until it is halted
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.line.halted()
		<-c.line.cleared
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}

// On a slow line the states may come with pauses; that all are known is said when
// all are.
func TestConsoleWaitsForAllStates(t *testing.T) {
	g, base := startWithConsole(t)
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `{"host":"host%d","exit_code":0,"reason":%q}`+"\n", i, strings.Repeat("fine ", 20))
	}
	g.publish("nagios", b.String())
	line, halted := startSlowLine(t, base)
	release := sync.OnceFunc(func() { close(line.cleared) })
	defer release() // when the test fails, so that it can be ended
	p := openConsole(t, line.URL, "/")
	select {
	case <-halted:
	case <-time.After(limit):
		t.Fatal("the gateway says too little to be halted")
	}
	p.until(fmt.Sprintf(`performance.now() > %f`, valueOf[float64](p, `performance.now()`)+3000))
	if got := valueOf[string](p, `document.body.dataset.connection`); got == "live" {
		t.Errorf("while states are to come, the page is %s", got)
	}
	if got := valueOf[string](p, `document.getElementById('objects-empty').textContent`); got != "Waiting for the gateway." {
		t.Errorf("while states are to come, it says %q", got)
	}
	release()
	p.until(`/^No problems among 1.?000 hosts and services\.$/.test(document.getElementById('objects-empty').textContent)`)
}

// While something comes the gateway is there, however late it answers.
func TestConsoleKeepsASlowLine(t *testing.T) {
	g, base := startWithConsole(t)
	p := openConsole(t, base, "/")
	p.live()
	p.run(`
		const ask = fetch, late = []
		fetch = (url, options) => url.endsWith('/api/status') ? new Promise((_, refuse) => late.push(() => refuse(new DOMException('', 'TimeoutError')))) : ask(url, options)
		let lost = false
		new MutationObserver(() => lost ||= document.body.dataset.connection === 'lost').observe(document.body, { attributes: true })`)
	p.until(`late.length > 0`)
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	p.until(`document.title === '(1) checkbus'`)
	p.run(`late.shift()()`)
	asked := valueOf[int](p, `late.length`)
	p.until(fmt.Sprintf(`late.length > %d`, asked)) // the page is at its next turn
	if valueOf[bool](p, `lost`) {
		t.Error("the page gave up a connection over which messages come")
	}
}
