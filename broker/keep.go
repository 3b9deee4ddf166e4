package broker

import (
	"strings"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// maxSubscriptions is how many filters one client may subscribe to.
	maxSubscriptions = 4096
	// keptForOne is how much memory the filters of one client may take, in bytes.
	keptForOne = 32 << 20
	// keptAnyway is what each client has room for where all together have as much
	// as max_kept: for its filters, its will and its aliases each.
	keptAnyway = 16 << 10
	// filterCost is what a filter takes beside its text and levels, in bytes.
	filterCost = 512
)

// keep counts size more bytes that are kept for a client in own, and reports
// false, and counts nothing, where there is no room for them.
func (b *Broker) keep(own *atomic.Int64, size int) bool {
	mine, all := b.mustKeep(own, size)
	if size <= 0 || mine <= keptAnyway || mine <= keptForOne && all <= b.cfg.MaxKept {
		return true
	}
	b.mustKeep(own, -size)
	return false
}

// mustKeep is keep for what is kept in any case. It returns what is kept in own,
// and for all, in bytes.
func (b *Broker) mustKeep(own *atomic.Int64, size int) (mine, all int64) {
	return own.Add(int64(size)), b.kept.Add(int64(size))
}

// keepNone ends all that keep counted in own.
func (b *Broker) keepNone(own *atomic.Int64) { b.kept.Add(-own.Swap(0)) }

// noRoom counts and logs something of a client that is not kept.
func (b *Broker) noRoom(c *conn, what string) {
	client := c.rights.client
	b.count.notKept.Add(1)
	b.seldom[keepRefused].log(func(count int) {
		b.log.Warn("no room for what a client wants kept", "client", client, "what", what, "max_kept", b.cfg.MaxKept, "count", count)
	})
}

// costOf is how much memory a filter takes, in bytes.
func costOf(filter string) int {
	return filterCost + len(filter) + levelCost*(1+strings.Count(filter, "/"))
}

// keepFilter counts a filter of c's client, beside others that it has, where
// there is room for it. A bridge has room for all of its settings.
func (b *Broker) keepFilter(c *conn, filter string, others int) bool {
	own, size := &c.session.filters, costOf(filter)
	if c.listener.bridge {
		b.mustKeep(own, size)
		return true
	}
	if others < maxSubscriptions && b.keep(own, size) {
		return true
	}
	b.noRoom(c, "filter")
	return false
}

// keepAlias counts the topic of an alias, in the place of the one before.
func (b *Broker) keepAlias(c *conn, alias uint16, topic string) bool {
	if topic == "" {
		return true // it is used
	}
	before := c.client.State.TopicAliases.Inbound.Set(alias, "")
	if b.keep(&c.aliases, len(topic)-len(before)) {
		return true
	}
	b.noRoom(c, "topic alias")
	return false
}

// keepWill counts the will of c's client, until dropWill.
func (b *Broker) keepWill(c *conn) bool {
	if b.keep(&c.will.kept, cost(&c.will.packet)) {
		return true
	}
	b.noRoom(c, "will")
	return false
}

// dropWill ends what keepWill began.
func (b *Broker) dropWill(w *will) { b.keepNone(&w.kept) }

// noMoreFilters answers a filter for which there is no room.
func (c *conn) noMoreFilters() byte {
	if c.version < 5 {
		return packets.ErrUnspecifiedError.Code // MQTT 3.1.1, 3.9.3
	}
	return packets.ErrQuotaExceeded.Code
}
