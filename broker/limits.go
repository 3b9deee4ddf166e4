package broker

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mochi-mqtt/server/v2/packets"
)

var (
	errCrowdedAddress = errors.New("too many connections from this address")
	errUntrusted      = errors.New("not a load balancer of proxy_from")
)

// A handshakeError is why a connection ended before MQTT began.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// note counts and logs why c ended, where it was refused or met a limit.
func (b *Broker) note(c *conn, err error) {
	client, remote, listener := c.name(), c.RemoteAddr().String(), c.listener.settings.Address
	switch {
	case errors.Is(err, packets.ErrServerBusy):
		b.crowded(remote)
	case errors.Is(err, errCrowdedAddress):
		b.count.refusedAddress.Add(1)
		b.seldom[addressRefused].log(func(count int) {
			b.log.Warn("connection refused, there are too many from its address", "remote", remote, "max_connections_per_address", b.cfg.MaxConnectionsPerAddress, "count", count)
		})
	case errors.Is(err, errUntrusted):
		b.count.refusedProxies.Add(1)
		b.seldom[proxyRefused].log(func(count int) {
			b.log.Warn("connection refused, proxy_from does not name where it comes from", "remote", remote, "listener", listener, "count", count)
		})
	case errors.Is(err, errHalfSent):
		b.count.squeezed.Add(1)
		b.seldom[partialRefused].log(func(count int) {
			b.log.Warn("client closed, connections have sent too much of packets that are not complete", "client", client, "remote", remote, "count", count)
		})
	case c.oversize:
		b.count.refusedPackets.Add(1)
		b.seldom[packetRefused].log(func(count int) {
			b.log.Warn("client closed, its packet is too large", "client", client, "remote", remote, "max_packet", b.cfg.MaxPacket, "count", count)
		})
	case !c.started && time.Now().After(c.connectBy):
		b.count.connectTimeouts.Add(1)
		b.seldom[connectLate].log(func(count int) {
			b.log.Warn("connection closed, no CONNECT came in time", "remote", remote, "connect_timeout", b.cfg.ConnectTimeout, "count", count)
		})
	case errors.As(err, new(handshakeError)):
		b.count.handshakes.Add(1)
		if errors.Is(err, io.EOF) {
			return // a look whether the port is open ends so
		}
		b.seldom[handshakeFailed].log(func(count int) {
			b.log.Warn("handshake failed", "remote", remote, "listener", listener, "err", err, "count", count)
		})
	}
}

// isFull reports whether there is no room for one more client. The gateway's own
// bridges always have room, and take none from others.
func (b *Broker) isFull(c *conn) bool {
	return !c.listener.bridge && b.count.seated.Load() >= int64(b.cfg.MaxConnections)
}

// countClient counts c's client as let in with 1, and as gone with -1.
func (b *Broker) countClient(c *conn, n int64) {
	atomic.AddInt64(&b.server.Info.ClientsConnected, n)
	if !c.listener.bridge {
		b.count.seated.Add(n)
	}
}

// makeRoom closes the connection that is open longest of those that are not let in
// yet, and reports whether there is one: who says nothing keeps nobody out.
func (b *Broker) makeRoom() bool {
	b.mu.Lock()
	oldest := b.strangers.Front()
	if oldest != nil {
		b.noStranger(oldest.Value.(*conn))
	}
	b.mu.Unlock()
	if oldest == nil {
		return false
	}
	oldest.Value.(*conn).evict(packets.ErrServerBusy)
	return true
}

// crowded counts and logs a connection beyond max_connections.
func (b *Broker) crowded(remote string) {
	b.count.refused.Add(1)
	b.seldom[connectionRefused].log(func(count int) {
		b.log.Warn("connection refused, there are too many", "remote", remote, "max_connections", b.cfg.MaxConnections, "count", count)
	})
}

// isOversize reports whether reading ended because of a packet, or a WebSocket
// message, that is larger than allowed.
func isOversize(err error) bool {
	return errors.Is(err, packets.ErrPacketTooLarge) || errors.Is(err, websocket.ErrReadLimit)
}

// tooDeep reports whether a client's topic or filter has more levels than
// max_topic_levels, and then counts and logs it.
func (b *Broker) tooDeep(c *conn, topic string) bool {
	if strings.Count(topic, "/") <= b.cfg.MaxTopicLevels {
		return false
	}
	b.count.refusedTopics.Add(1)
	client, begins := c.rights.client, strings.Clone(topic[:min(len(topic), 40)])
	b.seldom[topicRefused].log(func(count int) {
		b.log.Warn("topic refused, it has too many levels", "client", client, "begins", begins, "max_topic_levels", b.cfg.MaxTopicLevels, "count", count)
	})
	return true
}

// exceeded counts and logs a client that has sent more than its Receive Maximum.
func (b *Broker) exceeded(c *conn) {
	client := c.rights.client
	b.count.tooMany.Add(1)
	b.seldom[tooManyUnacknowledged].log(func(count int) {
		b.log.Warn("client closed, it has sent too much that is not acknowledged", "client", client, "receive_maximum", receiveMaximum, "count", count)
	})
}
