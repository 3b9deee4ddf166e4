package broker

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// A receiver reads from a socket into a buffer that it has only while there is
// something in it: the usual Read must be given one to wait with.
type receiver struct {
	socket syscall.RawConn
	in     *frames
	try    func(fd uintptr) bool
	n      int
	err    error
}

// readRaw makes c read with a receiver, if it can.
func (c *conn) readRaw() {
	nc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return
	}
	if socket, err := nc.SyscallConn(); err == nil {
		c.receiver = &receiver{socket: socket, in: &c.in}
		c.receiver.try = c.receiver.read
	}
}

// receive reads once from the network into c.in, and returns how many bytes.
func (c *conn) receive() (int, error) {
	if c.receiver == nil {
		return c.Conn.Read(c.in.space())
	}
	if err := c.receiver.socket.Read(c.receiver.try); err != nil {
		return 0, err
	}
	return c.receiver.n, c.receiver.err
}

// read is called when there may be something to read, and reports whether there
// was: bytes, the end, or an error.
func (r *receiver) read(fd uintptr) bool {
	for {
		r.n, r.err = syscall.Read(int(fd), r.in.sharedSpace())
		switch {
		case errors.Is(r.err, syscall.EINTR):
			continue
		case errors.Is(r.err, syscall.EAGAIN):
			r.in.rest()
			return false
		case r.err != nil:
			r.n, r.err = 0, os.NewSyscallError("read", r.err)
		case r.n == 0:
			r.err = io.EOF
		}
		return true
	}
}
