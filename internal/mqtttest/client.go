// Package mqtttest is an MQTT client for tests: it sends exactly what a test
// says, right or wrong, and shows exactly what comes back.
package mqtttest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Patience is how long a client waits for what must come.
const Patience = 30 * time.Second

// A Client is a connection to an MQTT server. Its methods end the test when
// something goes wrong.
type Client struct {
	net.Conn
	Connack Packet
	t       testing.TB
	r       *bufio.Reader
	v5      bool
	aside   []Packet // messages that came before the answer to a SUBSCRIBE
}

// Open opens a connection to address, host:port or unix:/path, and sends
// nothing.
func Open(t testing.TB, address string, o Options) *Client {
	t.Helper()
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	nc, err := net.DialTimeout(network, address, Patience)
	if err != nil {
		t.Fatal(err)
	}
	if tcp, ok := nc.(*net.TCPConn); ok && o.Buffer > 0 {
		_ = tcp.SetReadBuffer(o.Buffer)
	}
	return Over(t, nc, o)
}

// Over is Open on a connection that is there already, and ends with the test.
func Over(t testing.TB, nc net.Conn, o Options) *Client {
	t.Cleanup(func() { _ = nc.Close() })
	return &Client{Conn: nc, t: t, r: bufio.NewReader(nc), v5: o.V5}
}

// Connect opens a connection and sends a CONNECT. The answer is in Connack,
// with Type 0 when the server closed the connection instead.
func Connect(t testing.TB, address string, o Options) *Client {
	t.Helper()
	c := Open(t, address, o)
	c.Send(o.Encode())
	c.Connack, _ = c.Read()
	return c
}

// Dial is Connect for a client that must be let in.
func Dial(t testing.TB, address string, o Options) *Client {
	t.Helper()
	c := Connect(t, address, o)
	if c.Connack.Type() != CONNACK || c.Connack.Code() != 0 {
		t.Fatalf("client %q was answered %v", o.ID, c.Connack)
	}
	return c
}

// Send writes b.
func (c *Client) Send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// Publish sends messages in one write.
func (c *Client) Publish(messages ...Message) {
	c.t.Helper()
	var b []byte
	for _, m := range messages {
		b = append(b, m.Encode(c.v5)...)
	}
	c.Send(b)
}

// Ack sends a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *Client) Ack(kind int, id uint16) {
	c.t.Helper()
	header := byte(kind << 4)
	if kind == PUBREL {
		header |= 2
	}
	c.Send(binary.BigEndian.AppendUint16([]byte{header, 2}, id))
}

// Subscribe subscribes to filter and returns the SUBACK's code. options are the
// QoS and, in MQTT 5, the bits above it. Messages may come before the SUBACK
// (MQTT 5, 3.8.4), those of earlier subscriptions at any time: Read returns them
// afterwards.
func (c *Client) Subscribe(filter string, options byte) byte {
	c.t.Helper()
	return c.SubscribeAs(77, filter, options)
}

// SubscribeAs is Subscribe with a packet identifier of the test's choice.
func (c *Client) SubscribeAs(id uint16, filter string, options byte) byte {
	c.t.Helper()
	b := binary.BigEndian.AppendUint16(nil, id)
	if c.v5 {
		b = append(b, 0)
	}
	c.Send(Encode(SUBSCRIBE<<4|2, append(append(b, Str(filter)...), options)))
	p := c.answer(SUBACK)
	if p.ID() != id {
		c.t.Fatalf("SUBACK for %d, want %d", p.ID(), id)
	}
	return p.Body[len(p.Body)-1]
}

// Unsubscribe ends the subscription to filter. Messages that come before the
// UNSUBACK are kept for Read, as with Subscribe.
func (c *Client) Unsubscribe(filter string) {
	c.t.Helper()
	b := []byte{0, 78}
	if c.v5 {
		b = append(b, 0)
	}
	c.Send(Encode(UNSUBSCRIBE<<4|2, append(b, Str(filter)...)))
	c.answer(UNSUBACK)
}

// answer returns the next packet that is no message, which must be of the given
// type, and puts the messages before it aside.
func (c *Client) answer(kind int) Packet {
	c.t.Helper()
	for {
		p, err := c.receive()
		if err != nil {
			c.t.Fatalf("want packet type %d: %v", kind, err)
		}
		switch p.Type() {
		case kind:
			return p
		case PUBLISH:
			c.aside = append(c.aside, p)
		default:
			c.t.Fatalf("want packet type %d, got %v", kind, p)
		}
	}
}

// Ping sends a PINGREQ and waits for the answer, so that all sent before is
// known to be read. Nothing else may come in between.
func (c *Client) Ping() {
	c.t.Helper()
	c.Send([]byte{PINGREQ << 4, 0})
	c.Next(PINGRESP)
}

// Disconnect says good-bye and closes the connection.
func (c *Client) Disconnect() {
	c.t.Helper()
	c.Send([]byte{DISCONNECT << 4, 0})
	_ = c.Close()
}

// Read returns the next packet. io.EOF is the end of the connection.
func (c *Client) Read() (Packet, error) {
	if len(c.aside) > 0 {
		p := c.aside[0]
		c.aside = c.aside[1:]
		return p, nil
	}
	return c.receive()
}

// receive is Read from the connection.
func (c *Client) receive() (Packet, error) {
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return Packet{}, err
	}
	header, err := c.r.ReadByte()
	if err != nil {
		return Packet{}, err
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return Packet{}, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(c.r, body)
	return Packet{header, body, c.v5}, err
}

// Next returns the next packet, which must be of the given type.
func (c *Client) Next(kind int) Packet {
	c.t.Helper()
	p, err := c.Read()
	if err != nil {
		c.t.Fatalf("want packet type %d: %v", kind, err)
	}
	if p.Type() != kind {
		c.t.Fatalf("want packet type %d, got %v", kind, p)
	}
	return p
}

// Acked waits for an acknowledgement of the given type for id.
func (c *Client) Acked(kind int, id uint16) Packet {
	c.t.Helper()
	p := c.Next(kind)
	if p.ID() != id {
		c.t.Fatalf("acknowledgement for %d, want %d", p.ID(), id)
	}
	return p
}

// Closed waits for the end of the connection, and returns the DISCONNECT before
// it, if any. Other packets are skipped.
func (c *Client) Closed() (last Packet) {
	c.t.Helper()
	for {
		p, err := c.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("the connection stays open")
		}
		if err != nil {
			return last
		}
		if p.Type() == DISCONNECT {
			last = p
		}
	}
}
