package broker

import (
	"crypto/tls"
	"net"
	"time"
)

// open does what the listener's transport needs before MQTT begins, within the
// time limit for a CONNECT.
func (b *Broker) open(c *conn) error {
	secured, isWebSocket := c.listener.certificates != nil, c.listener.settings.isWebSocket()
	if !c.listener.settings.ProxyProtocol && !secured && !isWebSocket {
		c.readRaw()
		return b.seat(c)
	}
	err := c.limit(c.connectBy)
	begun := &opening{Conn: c.Conn, c: c}
	c.wrap(begun)
	if err == nil && c.listener.settings.ProxyProtocol {
		err = c.unproxy()
	}
	if err == nil {
		err = b.seat(c)
	}
	if err == nil && secured {
		err = c.secure(c.listener.certificates.Config())
	}
	if err == nil && isWebSocket {
		err = c.upgrade()
	}
	if err != nil {
		return handshakeError{err}
	}
	begun.c = nil
	c.hold(0, false)
	return c.limit(time.Time{})
}

// secure makes c a TLS connection.
func (c *conn) secure(cfg *tls.Config) error {
	secured := tls.Server(c.Conn, cfg)
	if err := secured.Handshake(); err != nil {
		return err
	}
	if peers := secured.ConnectionState().PeerCertificates; len(peers) > 0 {
		c.certificate = peers[0] // verified in the handshake
	}
	c.wrap(secured)
	return nil
}

// wrap puts a transport over c's connection, which is nc's.
func (c *conn) wrap(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Conn = nc
}

// limit sets the time until which reading and writing must be done, unless the
// connection is closed.
func (c *conn) limit(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	return c.socket.SetDeadline(t)
}
