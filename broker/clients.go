package broker

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Client is a client that is connected.
type Client struct {
	ID          string    `json:"id"`
	User        string    `json:"user"`    // authenticated as; empty for an anonymous one
	Address     string    `json:"address"` // or unix, or bridge for one of the gateway's own
	Version     string    `json:"version"` // of MQTT: 3.1, 3.1.1 or 5
	Connected   time.Time `json:"connected"`
	MessagesIn  int64     `json:"messages_in"` // since then
	MessagesOut int64     `json:"messages_out"`
}

// traffic is what a connection has carried.
type traffic struct {
	since                   time.Time
	messagesIn, messagesOut atomic.Int64
}

// Clients returns the first n connected clients, by their identifiers, of those
// that come after the identifier after.
func (b *Broker) Clients(after string, n int) []Client {
	all := []Client{}
	b.mu.Lock()
	for id, s := range b.sessions {
		if id <= after {
			continue
		}
		s.mu.Lock()
		if s.conn != nil {
			all = append(all, s.conn.describe(id))
		}
		s.mu.Unlock()
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(x, y Client) int { return strings.Compare(x.ID, y.ID) })
	return all[:min(n, len(all))]
}

// protocolNames are the versions of MQTT by their protocol level (MQTT 5, 3.1.2.2).
var protocolNames = map[byte]string{3: "3.1", 4: "3.1.1", 5: "5"}

// describe tells of a connection that has the session of client id.
func (c *conn) describe(id string) Client {
	address := c.RemoteAddr().String()
	switch {
	case c.listener.bridge:
		address = "bridge"
	case c.RemoteAddr().Network() == "unix":
		address = "unix"
	}
	return Client{
		ID:          id,
		User:        c.rights.user,
		Address:     address,
		Version:     protocolNames[c.version],
		Connected:   c.traffic.since,
		MessagesIn:  c.traffic.messagesIn.Load(),
		MessagesOut: c.traffic.messagesOut.Load(),
	}
}
