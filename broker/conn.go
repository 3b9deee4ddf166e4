package broker

import (
	"container/list"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// drainTimeout is how long a closed connection may take to fetch the last
	// bytes written to it.
	drainTimeout = 2 * time.Second
	// outLimit is how many bytes may wait to be written to a client before it
	// counts as too slow and is closed. See crowdedOut for all clients together.
	outLimit = 8 << 20
	// keptOut is the largest write buffer used again.
	keptOut = 64 << 10
	// slowPacket: while more bytes than this are missing of a packet, what
	// arrives counts as a sign of life, as in Mosquitto.
	slowPacket = 1000
)

// outBuffers has *[]byte, empty, of up to keptOut bytes. Clients share them, since
// to most of them there is nothing to write.
var outBuffers sync.Pool

var errSlow = errors.New("slow consumer: too many bytes wait to be written")

// A conn is a client's network connection. Write, which the library calls too,
// never blocks: it appends to a bounded buffer, which a goroutine that lives as
// long as there is something to write empties with as few system calls as it
// can. next yields whole packets and keeps the time limits.
type conn struct {
	net.Conn
	socket   net.Conn // under Conn; to close it never waits
	listener *listener
	visitor  *visitor // nil for a client of a listener
	counters *counters
	traffic  traffic
	maxIn    int        // bytes, the largest packet
	seat     netip.Addr // counted in Broker.addresses, if valid

	// The reader goroutine's own.
	in          frames
	receiver    *receiver         // nil but on a plain socket
	arrived     time.Time         // of what was read last
	connectBy   time.Time         // when CONNECT must be here
	fresh       bool              // a new time limit begins with the next read
	started     bool              // CONNECT was taken
	patience    time.Duration     // 1.5 times the keepalive; 0 is for ever
	version     byte              // 3, 4 or 5; set before anything is written
	bridge      bool              // CONNECT said so
	problemInfo bool              // reason strings are welcome
	maxOut      uint32            // the largest packet the client takes, in bytes; 0 is any
	receiveMax  uint16            // its Receive Maximum; 0 is any
	certificate *x509.Certificate // of the client, verified; or nil
	rights      rights            // once it is let in
	refusal     *refusal
	answers     map[int]packets.Subscription // of the SUBSCRIBE at work, where the library's is another
	aliases     atomic.Int64                 // bytes, see keep
	will        *will
	session     *session
	refused     *atomic.Bool // that of session, since this connection began
	client      *mqtt.Client
	admitted    bool          // counted as connected
	place       *list.Element // in Broker.strangers, under Broker.mu; or nil
	turn        bool          // this connection holds session.turn
	welcome     bool          // the CONNACK was sent
	oversize    bool          // a packet was too large
	holds       bool          // is in counters.partials
	rate        rate

	senders sync.WaitGroup // goroutines that read what is sent, from the disk or the library

	goodbye  atomic.Bool // a DISCONNECT was written
	evicted  atomic.Pointer[packets.Code]
	closed   chan struct{} // no more is read
	detached chan struct{} // the session is free for another connection

	mu      sync.Mutex
	moved   sync.Cond // something was written, acknowledged, or ended
	ended   bool      // closed is closed
	writing bool      // the goroutine that writes is running
	failed  error     // nothing more can be written
	out     []byte    // waits to be written
	spare   []byte    // the buffer before it, empty
	queued  int       // bytes in out and in the write under way
	replay  replay
	credit  time.Duration // see pace
	spent   time.Time     // when a pause was last taken off it
	counted int           // bytes in counters.waiting
}

func newConn(nc net.Conn, ln *listener, cfg Config, n *counters) *conn {
	c := &conn{
		Conn:     nc,
		socket:   nc,
		listener: ln,
		counters: n,
		maxIn:    cfg.MaxPacket,
		fresh:    true,
		credit:   mostCredit,
		closed:   make(chan struct{}),
		detached: make(chan struct{}),

		connectBy: time.Now().Add(cfg.ConnectTimeout),
	}
	c.traffic.since = time.Now()
	c.moved.L = &c.mu
	return c
}

// next returns the next packet, which is whole. It is valid until next is called
// again.
func (c *conn) next() ([]byte, error) {
	for !c.in.ready() {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	return c.in.next(), nil
}

// fill reads once from the network.
func (c *conn) fill() error {
	if err := c.arm(); err != nil {
		return err
	}
	c.weigh()
	n, err := c.receive()
	if err != nil {
		c.oversize = isOversize(err)
		return err
	}
	c.arrived = time.Now()
	c.counters.bytesIn.Add(int64(n))
	limit := c.maxIn
	if !c.started {
		limit = min(limit, connectLimit)
	}
	missing, err := c.in.received(n, c.started, limit)
	if err != nil {
		c.oversize = isOversize(err)
		return err
	}
	c.fresh = c.in.ready() || c.started && missing > slowPacket
	return nil
}

// arm begins a new time limit for reading when one is due.
func (c *conn) arm() error {
	if !c.fresh {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	var limit time.Time
	if !c.started {
		limit = c.connectBy
	} else if c.patience > 0 {
		limit = time.Now().Add(c.patience)
	}
	c.fresh = false
	return c.Conn.SetReadDeadline(limit)
}

// Write takes b to be written soon. It fails when the connection is closed or
// the client reads too slowly.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	if c.ended {
		return 0, net.ErrClosed
	}
	if err := c.append(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// append queues b for writing; c.mu is held.
func (c *conn) append(b []byte) error {
	if c.queued+len(b) > outLimit {
		c.overload()
		return errSlow
	}
	defer c.account()
	if c.out == nil {
		c.out = outBuffer()
	}
	c.out = append(c.out, b...)
	c.queued += len(b)
	if !c.writing {
		c.writing = true
		go c.flush()
	}
	return nil
}

// nudge credits the client with an acknowledgement, and tells those who wait for
// one.
func (c *conn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.earn(creditPerAck)
	c.moved.Broadcast()
}

// run starts a goroutine that ends with the connection; not when it has ended.
func (c *conn) run(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.senders.Go(f)
	}
	return !c.ended
}

// flush writes until nothing waits; finish waits for it.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && c.failed == nil {
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.mu.Unlock()
		n, err := c.Conn.Write(b)
		c.counters.bytesOut.Add(int64(n))
		if err == nil {
			c.traffic.messagesOut.Add(c.counters.sent(b, c.version == 5))
		}
		c.mu.Lock()
		c.queued -= len(b)
		c.earn(time.Duration(n) * creditPerByte)
		c.account()
		c.moved.Broadcast()
		if cap(b) <= keptOut {
			c.spare = b[:0]
		}
		if err != nil && c.failed == nil {
			c.failed = err
			c.end()
		}
	}
	if len(c.out) == 0 {
		shareOut(c.out)
		shareOut(c.spare)
		c.out, c.spare = nil, nil
	}
	c.writing = false
	c.moved.Broadcast()
}

// outBuffer returns an empty buffer, of any size or nil.
func outBuffer() []byte {
	if b, ok := outBuffers.Get().(*[]byte); ok {
		return *b
	}
	return nil
}

// shareOut lets others use an empty buffer.
func shareOut(b []byte) {
	if 0 < cap(b) && cap(b) <= keptOut {
		outBuffers.Put(&b)
	}
}

// end wakes the reader, and gives what is being written a little time; c.mu is
// held.
func (c *conn) end() {
	if c.ended {
		return
	}
	c.ended = true
	close(c.closed)
	c.moved.Broadcast()
	now := time.Now()
	_ = c.Conn.SetReadDeadline(now)
	_ = c.Conn.SetWriteDeadline(now.Add(drainTimeout))
}

// Close ends reading. What was written before is still sent; finish closes the
// socket.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	return nil
}

// evict ends the connection to make room for others.
func (c *conn) evict(why packets.Code) {
	c.evicted.Store(&why)
	_ = c.Close()
}

// finish closes the socket once everything is written, or can not be. A code
// of 0x80 and above is told to an MQTT 5 client that was told none.
func (c *conn) finish(code packets.Code) {
	c.mu.Lock()
	if code.Code >= packets.ErrUnspecifiedError.Code && c.version == 5 && c.welcome && !c.goodbye.Load() && c.failed == nil {
		_ = c.append([]byte{packets.Disconnect << 4, 2, code.Code, 0})
	}
	c.end()
	for c.writing {
		c.moved.Wait()
	}
	c.out, c.spare = nil, nil // a session that stays keeps c
	c.queued = 0
	c.account()
	c.mu.Unlock()
	_ = c.Conn.Close() // TLS may have to wait until its last word is written
}
