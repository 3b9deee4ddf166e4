// Package quickack makes connections on which the other side need not wait for
// acknowledgements. Linux alone can; elsewhere they are ordinary ones.
package quickack

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// Dial is dial for connections that acknowledge at once what they read. Icinga 2
// and Mosquitto send a long answer in several small segments and, by Nagle's
// algorithm, hold the last one back until the others are acknowledged; a delayed
// acknowledgement then costs 40 ms (tcp(7), TCP_QUICKACK).
func Dial(dial *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return connect(ctx, dial, network, addr)
	}
}

// DialTurns dials as Dial does for a client that writes a request and then reads
// its answer, in one goroutine. Nobody waits for the acknowledgement of a whole
// answer, so only those of its parts are sent at once: a short answer then costs
// a system call and a packet less.
func DialTurns(ctx context.Context, dial *net.Dialer, network, addr string) (net.Conn, error) {
	c, err := connect(ctx, dial, network, addr)
	if err != nil {
		return nil, err
	}
	return &turns{conn: c}, nil
}

func connect(ctx context.Context, dial *net.Dialer, network, addr string) (conn, error) {
	c, err := dial.DialContext(ctx, network, addr)
	if err != nil {
		return conn{}, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return conn{}, fmt.Errorf("dial %s: not TCP", network)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		c.Close()
		return conn{}, err
	}
	return conn{c, raw}, nil
}

type conn struct {
	net.Conn
	raw syscall.RawConn
}

// Read asks for a quick acknowledgement each time, since the kernel forgets it.
func (c conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.acknowledge()
	return n, err
}

// acknowledge acknowledges what was read. Without it the next part of an answer
// is late, and sound.
func (c conn) acknowledge() {
	_ = c.raw.Control(quick)
}

type turns struct {
	conn
	part bool // the last call read a part of an answer, or all of it
}

// Write begins a turn.
func (t *turns) Write(p []byte) (int, error) {
	t.part = false
	return t.Conn.Write(p)
}

// Read acknowledges the part before, where the answer has more.
func (t *turns) Read(p []byte) (int, error) {
	if t.part {
		t.acknowledge()
	}
	t.part = true
	return t.Conn.Read(p)
}
