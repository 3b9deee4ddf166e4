package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Options say who connects, and how.
type Options struct {
	Client         string
	User, Password string
	Version        byte // 4 for MQTT 3.1.1, 5 for MQTT 5
}

// A Conn is one connection to a broker. Its methods are for one goroutine at
// a time.
type Conn struct {
	net.Conn
	reader  *reader
	version byte
	window  int // publishes the broker takes unacknowledged
}

// Dial connects to the broker at addr (host:port) and returns when it is
// accepted. The dialogue has until ctx ends.
func Dial(ctx context.Context, addr string, o Options) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: nc, reader: newReader(nc), version: o.Version}
	release := c.bound(ctx)
	defer release()
	if err := c.connect(o); err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect %s as %q: %w", addr, o.Client, errors.Join(err, ctx.Err()))
	}
	return c, nil
}

// bound makes reads and writes fail once ctx ends, until release is called.
func (c *Conn) bound(ctx context.Context) (release func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

func (c *Conn) connect(o Options) error {
	if _, err := c.Write(appendConnect(nil, o)); err != nil {
		return err
	}
	kind, body, err := c.reader.next()
	if err != nil {
		return err
	}
	if kind != connackPacket {
		return fmt.Errorf("packet 0x%02x instead of CONNACK", kind)
	}
	reason, window, err := parseConnack(body, o.Version)
	if err != nil {
		return err
	}
	if reason != 0 {
		return fmt.Errorf("refused with code 0x%02x", reason)
	}
	c.window = window
	return nil
}

// Publish publishes at QoS 1 and returns when the broker has acknowledged.
func (c *Conn) Publish(topic string, payload []byte) error {
	packet, id, _ := appendPublish(nil, c.version, 1, topic, payload)
	binary.BigEndian.PutUint16(packet[id:], 1)
	if _, err := c.Write(packet); err != nil {
		return err
	}
	kind, body, err := c.reader.next()
	if err != nil {
		return err
	}
	if kind != pubackPacket {
		return unexpected(kind, body)
	}
	_, reason, err := parsePuback(body)
	if err == nil && reason >= failed {
		err = fmt.Errorf("publish to %s refused with code 0x%02x", topic, reason)
	}
	return err
}

// Disconnect says goodbye and closes the connection.
func (c *Conn) Disconnect() error {
	_, err := c.Write([]byte{disconnectPacket, 0})
	return errors.Join(err, c.Close())
}

func unexpected(kind byte, body []byte) error {
	if kind == disconnectPacket && len(body) > 0 {
		return fmt.Errorf("the broker disconnected with code 0x%02x", body[0])
	}
	return fmt.Errorf("unexpected packet 0x%02x", kind)
}
