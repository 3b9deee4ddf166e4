package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"

	"github.com/gorilla/websocket"
)

// maxUpgrade is the longest answer to an upgrade that is read, in bytes.
const maxUpgrade = 64 << 10

// upgrade asks for the WebSocket sub-protocol mqtt (MQTT 5, section 6) on a
// connection that has TLS already where it is to have it.
func (p *probe) upgrade(ctx context.Context, conn net.Conn) (net.Conn, error) {
	p.phases.enter("websocket")
	answer := &boundedConn{Conn: conn, in: io.LimitedReader{R: conn, N: maxUpgrade}}
	dialer := websocket.Dialer{
		Subprotocols:   []string{"mqtt"},
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return answer, nil },
	}
	target := p.path
	target.Scheme, target.Host = "ws", p.address()
	ws, resp, err := dialer.DialContext(ctx, target.String(), nil)
	if errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("the broker answered %s to the upgrade of %s", resp.Status, p.path.Path)
	}
	if err != nil {
		return nil, err
	}
	answer.in.N = math.MaxInt64
	if ws.Subprotocol() != "mqtt" {
		return nil, fmt.Errorf("the server of %s does not speak the sub-protocol mqtt", p.path.Path)
	}
	return &webConn{Conn: ws.UnderlyingConn(), ws: ws}, nil
}

// A boundedConn reads no further than in does: the library would keep a
// header of any length.
type boundedConn struct {
	net.Conn
	in io.LimitedReader
}

func (c *boundedConn) Read(b []byte) (int, error) {
	if c.in.N == 0 {
		return 0, fmt.Errorf("the answer to the upgrade is longer than %d bytes", maxUpgrade)
	}
	return c.in.Read(b)
}

// A webConn carries MQTT in binary WebSocket frames, whose bounds mean nothing.
type webConn struct {
	net.Conn
	ws    *websocket.Conn
	frame io.Reader
}

func (c *webConn) Read(b []byte) (int, error) {
	for {
		if c.frame == nil {
			kind, frame, err := c.ws.NextReader()
			if err != nil {
				return 0, closedByPeer(err)
			}
			if kind != websocket.BinaryMessage { // MQTT 5, section 6.0
				return 0, fmt.Errorf("%w: a text frame of WebSocket", errMalformed)
			}
			c.frame = frame
		}
		n, err := c.frame.Read(b)
		if err == io.EOF {
			c.frame, err = nil, nil
			if n == 0 {
				continue
			}
		}
		return n, err
	}
}

// closedByPeer makes the close frame of a peer the end of the stream.
func closedByPeer(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return io.EOF
	}
	return err
}

func (c *webConn) Write(b []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}
