package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxRequest is the largest HTTP request taken, in bytes; browsers send their
	// cookies along.
	maxRequest = 16 << 10
	// socketBuffer is how many bytes of an HTTP request are read, and of a
	// WebSocket message are written, at once.
	socketBuffer = 4 << 10
	// frameBuffer is how many bytes each WebSocket has to read small messages
	// with, for as long as it is open.
	frameBuffer = 1 << 10
	// maxMessage is the largest WebSocket message that is sent, in bytes. A browser
	// hands out none before its end, which on a slow line is a long time.
	maxMessage = 32 << 10
)

// subprotocols are what clients ask for (MQTT 5, 6.0); the second is the name
// in MQTT 3.1, which Mosquitto takes as well.
var subprotocols = []string{"mqtt", "mqttv3.1"}

var (
	errNoUpgrade = errors.New("an HTTP request that does not ask for a WebSocket")
	errText      = errors.New("a WebSocket message that is not binary")
)

// writeBuffers are shared by connections, since most are idle.
var writeBuffers sync.Pool

// upgrade makes c a WebSocket connection, whose messages carry MQTT.
func (c *conn) upgrade() error {
	limited := &io.LimitedReader{R: c.Conn, N: maxRequest}
	r := bufio.NewReaderSize(limited, socketBuffer)
	w := &reply{c: c.Conn, r: r, header: http.Header{}}
	req, err := http.ReadRequest(r)
	if err != nil {
		if limited.N == 0 {
			return w.refuse(http.StatusRequestHeaderFieldsTooLarge, "the request is too large")
		}
		return err
	}
	l := c.listener.settings
	switch {
	case req.URL.Path != l.path():
		return w.refuse(http.StatusNotFound, "there is nothing here")
	case !websocket.IsWebSocketUpgrade(req):
		w.header.Set("Upgrade", "websocket")
		return w.refuse(http.StatusUpgradeRequired, "this is MQTT over WebSocket, and no page")
	case !slices.ContainsFunc(subprotocols, func(p string) bool { return slices.Contains(websocket.Subprotocols(req), p) }):
		return w.refuse(http.StatusBadRequest, "the sub-protocol mqtt is not asked for")
	}
	upgrader := websocket.Upgrader{
		Subprotocols:    subprotocols,
		CheckOrigin:     func(req *http.Request) bool { return l.allowsOrigin(req.Header.Get("Origin")) },
		ReadBufferSize:  frameBuffer,
		WriteBufferSize: socketBuffer,
		WriteBufferPool: &writeBuffers,
		Error: func(_ http.ResponseWriter, _ *http.Request, status int, err error) {
			_ = w.refuse(status, err.Error()) // told by Upgrade as well
		},
	}
	ws, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return err
	}
	ws.SetReadLimit(int64(c.maxIn))
	c.wrap(&wsConn{Conn: c.Conn, ws: ws})
	return nil
}

// path is where in the server's tree the WebSocket is.
func (l Listener) path() string {
	if l.Path == "" {
		return "/mqtt"
	}
	return l.Path
}

// allowsOrigin reports whether a page of this origin may connect. Only browsers
// name one.
func (l Listener) allowsOrigin(origin string) bool {
	return origin == "" || len(l.Origins) == 0 ||
		slices.ContainsFunc(l.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// A reply answers an HTTP request: by a refusal, or by giving the connection
// away.
type reply struct {
	c      net.Conn
	r      *bufio.Reader
	header http.Header
}

// refuse answers with a status and a line of text, and returns an error that
// says so.
func (w *reply) refuse(status int, text string) error {
	w.header.Set("Content-Type", "text/plain; charset=utf-8")
	w.header.Set("X-Content-Type-Options", "nosniff")
	answer := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		ContentLength: int64(len(text) + 1), Body: io.NopCloser(strings.NewReader(text + "\n")),
	}
	var b bytes.Buffer
	if err := answer.Write(&b); err != nil {
		return err
	}
	if _, err := w.c.Write(b.Bytes()); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", errNoUpgrade, text)
}

// Hijack gives the connection to the WebSocket library, which takes no time
// limits of its own: conn has them.
func (w *reply) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc := untimed{w.c}
	return nc, bufio.NewReadWriter(w.r, bufio.NewWriterSize(nc, socketBuffer)), nil
}

// Header, Write and WriteHeader make a reply an http.ResponseWriter; what is
// written goes through refuse.
func (w *reply) Header() http.Header         { return w.header }
func (w *reply) Write(b []byte) (int, error) { return len(b), nil }
func (w *reply) WriteHeader(int)             {}

// untimed is a connection without time limits.
type untimed struct{ net.Conn }

func (untimed) SetDeadline(time.Time) error      { return nil }
func (untimed) SetReadDeadline(time.Time) error  { return nil }
func (untimed) SetWriteDeadline(time.Time) error { return nil }

// A wsConn is the stream of bytes in the binary messages of a WebSocket, where
// packets need not begin or end with messages (MQTT 5, 6.0). Its time limits are
// those of the connection below.
type wsConn struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // the rest of the message at work
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				c.sayClose(websocket.CloseUnsupportedData)
				return 0, errText
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(b []byte) (n int, err error) {
	for part := range slices.Chunk(b, maxMessage) {
		if err := c.ws.WriteMessage(websocket.BinaryMessage, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Close says good-bye as WebSockets do. It must not be called while a Write
// is under way.
func (c *wsConn) Close() error {
	c.sayClose(websocket.CloseNormalClosure)
	return c.Conn.Close()
}

func (c *wsConn) sayClose(code int) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(drainTimeout))
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Time{}) // the peer may be gone
}
