package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/gorilla/websocket"
)

// upgrade asks for the WebSocket sub-protocol mqtt (MQTT 5, section 6) on a
// connection that has TLS already where it is to have it.
func (p *probe) upgrade(ctx context.Context, conn net.Conn) (net.Conn, error) {
	p.phases.enter("websocket")
	dialer := websocket.Dialer{
		Subprotocols:   []string{"mqtt"},
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	target := url.URL{Scheme: "ws", Host: p.address(), Path: p.path}
	ws, resp, err := dialer.DialContext(ctx, target.String(), nil)
	if errors.Is(err, websocket.ErrBadHandshake) {
		return nil, fmt.Errorf("the broker answered %s to the upgrade of %s", resp.Status, p.path)
	}
	if err != nil {
		return nil, err
	}
	if ws.Subprotocol() != "mqtt" {
		return nil, fmt.Errorf("the server of %s does not speak the sub-protocol mqtt", p.path)
	}
	return &webConn{Conn: ws.UnderlyingConn(), ws: ws}, nil
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
			_, frame, err := c.ws.NextReader()
			if err != nil {
				return 0, closedByPeer(err)
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
