// Package quickack makes connections to an Icinga 2 answer without delay.
package quickack

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dial is dial for connections that acknowledge at once what they read. Icinga 2
// sends an answer in several small segments and, by Nagle's algorithm, holds the
// last one back until the others are acknowledged; a delayed acknowledgement
// then costs 40 ms (tcp(7), TCP_QUICKACK).
func Dial(dial *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			c.Close()
			return nil, err
		}
		return conn{c, raw}, nil
	}
}

type conn struct {
	net.Conn
	raw syscall.RawConn
}

// Read asks for a quick acknowledgement each time, since the kernel forgets it.
func (c conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	_ = c.raw.Control(func(fd uintptr) { // without it the answer is late, and sound
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
	return n, err
}
