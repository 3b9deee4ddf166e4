package broker

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// visitors upgrade requests of the console's pages. The origin of a page must be
// the host that it asks.
var visitors = websocket.Upgrader{
	Subprotocols:    subprotocols,
	ReadBufferSize:  frameBuffer,
	WriteBufferSize: socketBuffer,
	WriteBufferPool: &writeBuffers,
}

// ServeWebSocket serves MQTT over WebSocket to a page of another server, until
// the connection ends. user is who logged in there, or "" for somebody on this
// machine whom nobody asked; the CONNECT's user name and password are not looked
// at. Such a client has the rights of its user, or of anonymous clients, but for
// publishing. No call may begin after Run has ended.
func (b *Broker) ServeWebSocket(w http.ResponseWriter, r *http.Request, user string) {
	if err := b.enter(); err != nil {
		if errors.Is(err, errFull) {
			b.crowded(r.RemoteAddr)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer b.leave()
	if !slices.Contains(websocket.Subprotocols(r), subprotocols[0]) {
		http.Error(w, "this is MQTT over WebSocket", http.StatusBadRequest)
		return
	}
	h := &hijacker{ResponseWriter: w}
	ws, err := visitors.Upgrade(h, r, nil)
	if err != nil {
		return // it is answered
	}
	ws.SetReadLimit(int64(b.cfg.MaxPacket))
	c := newConn(&wsConn{Conn: h.conn, ws: ws}, &listener{}, b.cfg, &b.count)
	c.socket = h.conn
	if secured, ok := h.conn.(*tls.Conn); ok {
		c.socket = secured.NetConn()
	}
	c.visitor = &visitor{user}
	b.serve(c)
}

// A visitor is a client that came through ServeWebSocket.
type visitor struct{ user string }

var (
	errFull     = errors.New("the gateway has no room")
	errStopping = errors.New("the gateway is stopping")
)

// enter counts a connection that is about to be served, unless there are too
// many or Run is about to end.
func (b *Broker) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending() {
		return errStopping
	}
	if b.count.connections.Load() >= int64(b.cfg.MaxConnections+strangers) {
		return errFull
	}
	b.count.connections.Add(1)
	b.clients.Add(1)
	return nil
}

func (b *Broker) leave() {
	b.count.connections.Add(-1)
	b.clients.Done()
}

// A hijacker keeps the connection that it takes from an HTTP server, and shows
// it to the WebSocket library without time limits: conn has them.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack takes the connection.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = nc
	return untimed{nc}, rw, err
}

// CheckPassword reports whether password is that of user, for a client of
// another protocol at address. It costs and counts as a login over MQTT does.
// When wait is positive, nothing was checked: after too many wrong passwords, or
// because too many logins are under way.
func (b *Broker) CheckPassword(ctx context.Context, address netip.Addr, user, password string) (ok bool, wait time.Duration) {
	passwords := b.access.Load().passwords
	if passwords == nil || user == "" {
		return false, 0
	}
	why := b.checkPassword(ctx.Done(), address, passwords, user, password)
	switch why {
	case nil:
		return true, 0
	case refuseTooOften:
		wait = max(time.Second, b.attempts.Wait(address, user))
	case refuseBusy:
		wait = time.Second
	}
	b.noteRefusal(why, user, "", address.String())
	return false, wait
}

// PasswordStamp changes when user is given another password. It is "" for a user
// that there is not.
func (b *Broker) PasswordStamp(user string) string {
	passwords := b.access.Load().passwords
	if passwords == nil {
		return ""
	}
	return passwords.stamp(user)
}

// MayRead reports whether user may get what is published on topic, or with ""
// an anonymous client on this machine.
func (b *Broker) MayRead(user, topic string) bool {
	return rights{user: user, local: user == "", access: &b.access}.mayRead(topic)
}
