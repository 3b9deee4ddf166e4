package broker

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// crowdedOut is how many bytes may wait to be written to all clients
	// together, and calmOut what they are brought down to then.
	crowdedOut = 128 << 20
	calmOut    = crowdedOut / 4 * 3
	// crowdPatience is how long clients may take to read that much.
	crowdPatience = 200 * time.Millisecond
)

// A crowd notes since when too much waits to be written.
type crowd struct {
	mu    sync.Mutex
	since time.Time // too much was seen, and no calm after it; zero is never
}

// relieve waits while more than crowdedOut bytes wait to be written. Where
// that lasts, or comes again before calmOut is reached, those clients are closed
// for which most waits. No lock may be held.
func (b *Broker) relieve() {
	if b.count.waiting.Load() <= crowdedOut {
		return
	}
	b.crowd.mu.Lock()
	defer b.crowd.mu.Unlock()
	if b.crowd.since.IsZero() || b.count.calm.Swap(false) {
		b.crowd.since = time.Now()
	}
	for b.count.waiting.Load() > crowdedOut && time.Since(b.crowd.since) < crowdPatience {
		time.Sleep(pacePause)
	}
	if b.count.waiting.Load() > crowdedOut {
		b.thin()
		b.crowd.since = time.Time{}
	}
}

// thin closes the clients for which most waits until calmOut is reached.
func (b *Broker) thin() {
	type load struct {
		conn  *conn
		bytes int
	}
	b.mu.Lock()
	loads := make([]load, 0, len(b.conns))
	for c := range b.conns {
		c.mu.Lock()
		loads = append(loads, load{c, c.queued})
		c.mu.Unlock()
	}
	b.mu.Unlock()
	slices.SortFunc(loads, func(x, y load) int { return cmp.Compare(y.bytes, x.bytes) })
	for _, l := range loads {
		if b.count.waiting.Load() <= calmOut {
			return
		}
		l.conn.mu.Lock()
		l.conn.overload()
		l.conn.mu.Unlock()
	}
}

// overload closes a connection whose client reads too slowly; c.mu is held.
func (c *conn) overload() {
	if c.failed != nil {
		return
	}
	c.failed = errSlow
	c.counters.slow.Add(1)
	c.end()
	c.socket.Close()
	c.counters.dropped.Add(unacknowledged(c.out))
	c.queued -= len(c.out)
	c.out = nil
	c.account()
}

// account counts what waits for this client in what waits for all; c.mu is
// held.
func (c *conn) account() {
	now := c.queued
	if c.counters.waiting.Add(int64(now-c.counted)) <= calmOut {
		c.counters.calm.Store(true)
	}
	c.counted = now
}
