package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// outsideWrite is how long an outside broker may take nothing off the wire.
	outsideWrite = 10 * time.Second
	// mostAnswer is the most that follows the fixed header of what a broker
	// sends to one who subscribes to one filter at a time, but for messages.
	mostAnswer = 3
)

var errOutsidePacket = errors.New("the broker sent a malformed packet")

// An outsideConn is a connection to an outside broker as the client library
// needs it, which reads byte by byte, writes from several goroutines without a
// time limit, allocates what a packet's header announces, and panics at a SUBACK
// for more than was asked (net.go:205 in v1.5.1).
type outsideConn struct {
	net.Conn
	limit int // longer messages are cut to so many bytes, the topic included
	r     *bufio.Reader
	head  []byte // fixed header still to be passed on
	left  int    // bytes of the packet still to be passed on
	cut   int    // bytes to be thrown away after these

	writing sync.Mutex
}

// newOutsideConn passes on messages whose payload has up to limit bytes, and at
// least limit bytes of longer ones.
func newOutsideConn(nc net.Conn, limit int) *outsideConn {
	return &outsideConn{Conn: nc, limit: limit + 4 + maxFilterBytes, r: bufio.NewReaderSize(nc, socketBuffer)}
}

func (c *outsideConn) Read(p []byte) (int, error) {
	for len(c.head) == 0 && c.left == 0 {
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// begin reads the next packet's fixed header, past what was cut off the one
// before.
func (c *outsideConn) begin() error {
	n, err := c.r.Discard(c.cut)
	c.cut -= n
	if err != nil {
		return err
	}
	var header []byte
	size := 0 // of the packet with its header
	for size == 0 {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		header = append(header, b)
		if size, err = packetSize(header); err != nil {
			return err
		}
	}
	c.left = size - len(header)
	if kind := header[0] >> 4; kind != packets.Publish && c.left > mostAnswer {
		return errOutsidePacket
	}
	if c.left > c.limit {
		c.left, c.cut = c.limit, c.left-c.limit
		header = binary.AppendUvarint(header[:1], uint64(c.left)) // MQTT counts as varints do
	}
	c.head = header
	return nil
}

func (c *outsideConn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(outsideWrite)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
