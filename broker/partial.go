package broker

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// partialBytes is how much memory packets and handshakes of all connections
	// may take of which the rest has not come, and partialPackets how many of the
	// largest packets there is room for in any case.
	partialBytes   = 64 << 20
	partialPackets = 4
	// leastPartial is what is counted, in bytes: less is there for every client.
	leastPartial = 4 << 10
)

var errHalfSent = packets.Code{Code: packets.ErrQuotaExceeded.Code, Reason: "too much of packets that are not complete"}

// partials are what connections have begun to send. The zero value has none.
type partials struct {
	mu    sync.Mutex
	of    map[*conn]partial
	bytes int // in all of them
}

// A partial is the beginning of a packet, or of a handshake.
type partial struct {
	bytes    int // of memory that it takes
	since    time.Time
	stranger bool // it is of a client that is not let in
}

// weigh counts what c has of a packet before it waits for more.
func (c *conn) weigh() {
	another := c.in.start > 0
	c.in.compact()
	c.hold(c.in.held(), another)
}

// hold counts what c takes, in bytes, while the rest is waited for; another says
// that it is the beginning of another packet. Where all together take too much,
// connections are closed.
func (c *conn) hold(bytes int, another bool) {
	if bytes < leastPartial {
		bytes = 0
	}
	if bytes == 0 && !c.holds {
		return
	}
	c.holds = bytes > 0
	most := max(partialBytes, partialPackets*c.maxIn)
	for _, other := range c.counters.partials.set(c, partial{bytes: bytes, stranger: !c.admitted}, another, most) {
		other.evict(errHalfSent)
	}
}

// set counts what is there of c's packet. It returns which connections are to be
// closed so that all together take no more than most bytes: they do not count any
// more.
func (p *partials) set(c *conn, now partial, another bool, most int) (surplus []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.of[c]
	p.bytes += now.bytes - before.bytes
	if now.bytes == 0 {
		delete(p.of, c)
		return nil
	}
	if now.since = before.since; another || now.since.IsZero() {
		now.since = time.Now()
	}
	if p.of == nil {
		p.of = map[*conn]partial{}
	}
	p.of[c] = now
	if p.bytes <= most {
		return nil
	}
	at := time.Now()
	worst := slices.SortedFunc(maps.Keys(p.of), func(x, y *conn) int { return p.of[x].compare(p.of[y], at) })
	for _, c := range worst {
		if p.bytes <= most/4*3 {
			break
		}
		p.bytes -= p.of[c].bytes
		delete(p.of, c)
		surplus = append(surplus, c)
	}
	return surplus
}

// compare is negative where p is to go before q: first what strangers send, and
// then what has taken much for long.
func (p partial) compare(q partial, now time.Time) int {
	switch {
	case p.stranger && !q.stranger:
		return -1
	case q.stranger && !p.stranger:
		return 1
	}
	return cmp.Compare(q.weight(now), p.weight(now))
}

func (p partial) weight(now time.Time) float64 {
	return float64(p.bytes) * now.Sub(p.since).Seconds()
}

// An opening is a connection of which all that is read counts as part of a
// handshake, until that is done.
type opening struct {
	net.Conn
	c    *conn // nil when it is done
	read int
}

func (o *opening) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if o.c != nil {
		o.read += n
		o.c.hold(o.read, false)
	}
	return n, err
}
