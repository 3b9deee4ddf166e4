package broker

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// receiveMaximum is how many publishes of QoS 1 and 2 a client may have
	// unacknowledged; it is announced to MQTT 5 clients.
	receiveMaximum = 1024
	// heldBytes is how many bytes of publishes not yet settled a client may
	// have before it is no longer read from.
	heldBytes = 4 << 20
	// lateMarks is how many publishes taken are remembered for their
	// redelivery, 8 bytes each, in a session that outlives its connection. MQTT
	// 3.1.1 clients may have more than receiveMaximum without acknowledgement.
	lateMarks = 8192
)

// A session is what must outlive a client's connection: which publishes await
// their acknowledgement, and which were taken whose acknowledgement may have
// been lost with the connection.
type session struct {
	id   string
	turn chan struct{} // has one element while a connection is starting
	user string        // whose it is; empty is anonymous; of who has the turn

	out     outbox
	filters atomic.Int64 // bytes, see keep
	storing atomic.Int32 // its publishes that go to disk before they go on

	// Under Broker.mu. The latter four are about a client that is away.
	refs int       // who needs the session: connections that are starting or attached
	kept bool      // the session goes on
	away time.Time // since when
	ends time.Time // when the session is over; zero is never
	will *will     // waits for its delay

	mu       sync.Mutex
	conn     *conn               // attached now, or nil
	deaf     bool                // conn is hung up, and gets no more acknowledgements
	lasting  bool                // the session outlives conn
	life     int                 // grows with each clean start
	refused  *atomic.Bool        // a publish, of conn or one before it, see inbound.repeats
	queue    []*inbound          // QoS 1 and 2 without an answer, in order of arrival
	open     map[uint16]*inbound // those of this life, by packet identifier
	received map[uint16]uint64   // QoS 2 answered and not released, their marks
	lately   ring                // QoS 1 taken lately
	settling int                 // publishes of any QoS not settled
	bytes    int                 // their payloads
	acks     []byte              // to be written to conn
	room     chan struct{}       // has an element when settling shrank
}

func newSession(b *Broker, id string) *session {
	return &session{
		out:      outbox{broker: b, id: id},
		id:       id,
		turn:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		open:     map[uint16]*inbound{},
		received: map[uint16]uint64{},
	}
}

// An inbound is a publish of a client on its way through the gateway.
type inbound struct {
	packet  packets.Packet
	session *session
	conn    *conn // gets the acknowledgement; under session.mu
	life    int
	client  string
	version byte
	mark    uint64
	arrived time.Time
	answer  answer
	settled bool
}

// mark is a fingerprint by which a redelivery is known: clients send the same
// message with the same packet identifier, which is in the lowest 16 bits.
func mark(pk *packets.Packet) uint64 {
	var d xxhash.Digest
	d.Reset()
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(pk.TopicName)))
	_, _ = d.Write(length[:])
	_, _ = d.WriteString(pk.TopicName)
	_, _ = d.Write(pk.Payload)
	return d.Sum64()<<16 | uint64(pk.PacketID)
}

// attach makes c the session's connection. clean begins a new life; lasting says
// that the session outlives c.
func (s *session) attach(c *conn, clean, lasting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.deaf, s.acks, s.lasting = c, false, nil, lasting
	if clean {
		s.renew()
	}
	if s.refused == nil || len(s.queue) == 0 {
		s.refused = new(atomic.Bool)
	}
	c.refused = s.refused
}

// leave ends c's part in the session; over ends the session's life with it.
func (s *session) leave(c *conn, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.conn, s.acks = nil, nil
	}
	if over {
		s.renew()
	}
}

// renew forgets what was exchanged; s.mu is held.
func (s *session) renew() {
	s.life++
	clear(s.open)
	clear(s.received)
	s.lately = ring{}
}

// wait blocks until there is room for in, and reports whether there is: not
// when its connection is closed. Only that connection's reader calls it. A
// client that knows the Receive Maximum keeps it by itself, or take finds it out.
func (s *session) wait(in *inbound) bool {
	counted := !in.conn.knowsReceiveMaximum() || in.packet.FixedHeader.Qos == 0
	size := len(in.packet.Payload)
	for {
		s.mu.Lock()
		full := counted && s.settling >= receiveMaximum || s.bytes > 0 && s.bytes+size > heldBytes
		s.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-s.room:
		case <-in.conn.closed:
			return false
		}
	}
}

// knowsReceiveMaximum reports whether the client was told how much it may send:
// in MQTT 5, but a bridge passes on what another broker sends, which may not know.
func (c *conn) knowsReceiveMaximum() bool { return c.version == 5 && !c.bridge && !c.listener.bridge }

// An outcome says what to do with a publish that arrived.
type outcome uint8

const (
	taken   outcome = iota // handle it
	known                  // it was taken before; its acknowledgement is seen to
	tooMany                // the client exceeds the Receive Maximum
)

// take gives in its place in the order of acknowledgements.
func (s *session) take(in *inbound) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.life = s.life
	if in.packet.FixedHeader.Qos > 0 {
		if s.knows(in) {
			return known
		}
		if in.conn.knowsReceiveMaximum() && len(s.queue)+len(s.received) >= receiveMaximum {
			return tooMany
		}
		s.queue = append(s.queue, in)
		s.open[in.packet.PacketID] = in
	}
	s.settling++
	s.bytes += len(in.packet.Payload)
	return taken
}

// knows reports whether in repeats a publish that was taken already, and sees
// to its acknowledgement; s.mu is held.
func (s *session) knows(in *inbound) bool {
	id, dup := in.packet.PacketID, in.packet.FixedHeader.Dup
	first := s.open[id]
	if first != nil && first.mark == in.mark && (dup || in.packet.FixedHeader.Qos == 2) {
		first.conn = in.conn
		return true
	}
	again := false
	if in.packet.FixedHeader.Qos == 1 {
		again = dup && s.lately.has(in.mark)
	} else if before, ok := s.received[id]; ok {
		// A client that lost its state uses an identifier anew without having
		// released it: that is another message, as in Mosquitto.
		if again = before == in.mark; !again {
			delete(s.received, id)
		}
	}
	if again {
		in.answer, in.settled = answer{taken: true}, true
		s.queue = append(s.queue, in)
		s.settling++
		s.bytes += len(in.packet.Payload)
		s.acknowledge()
		s.flush()
	}
	return again
}

// settle gives in its answer and collects the acknowledgements that can go now.
// It returns the connection to hang up, if any; flush must follow.
func (s *session) settle(in *inbound, a answer) (hangUp *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.answer, in.settled = a, true
	if in.packet.FixedHeader.Qos == 0 {
		s.release(in)
		return nil
	}
	return s.acknowledge()
}

// acknowledge answers the publishes at the head of the queue that are settled;
// s.mu is held.
func (s *session) acknowledge() (hangUp *conn) {
	n := 0
	for n < len(s.queue) && s.queue[n].settled {
		in := s.queue[n]
		s.queue[n] = nil
		n++
		s.release(in)
		s.remember(in)
		if s.conn == nil || in.conn != s.conn || s.deaf {
			continue
		}
		if in.answer.hangUp {
			s.flush()
			hangUp, s.deaf = s.conn, true
			continue
		}
		s.acks = in.answer.append(s.acks, in.packet.FixedHeader.Qos, in.packet.PacketID, s.conn)
	}
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	return hangUp
}

// release frees in's share of the client's allowance; s.mu is held.
func (s *session) release(in *inbound) {
	s.settling--
	s.bytes -= len(in.packet.Payload)
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// remember keeps what is needed to know a redelivery of in; s.mu is held.
func (s *session) remember(in *inbound) {
	if in.life != s.life {
		return
	}
	id := in.packet.PacketID
	if s.open[id] == in {
		delete(s.open, id)
	}
	switch {
	case in.answer.hangUp || in.answer.code >= packets.ErrUnspecifiedError.Code && in.version == 5:
	case in.packet.FixedHeader.Qos == 2:
		s.received[id] = in.mark
	case in.answer.taken && s.lasting:
		s.lately.add(in.mark)
	}
}

// flush writes the acknowledgements collected, in one piece; s.mu is held.
func (s *session) flush() {
	if len(s.acks) == 0 || s.conn == nil {
		return
	}
	_, _ = s.conn.Write(s.acks) // an error ends the connection by itself
	s.acks = s.acks[:0]
	if cap(s.acks) > keptOut {
		s.acks = nil
	}
}

// released ends the exchange of a QoS 2 publish and reports whether there was
// one.
func (s *session) released(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.received[id]
	delete(s.received, id)
	return ok
}

// A ring remembers the latest marks.
type ring struct {
	marks []uint64
	next  int
}

func (r *ring) add(m uint64) {
	if len(r.marks) < lateMarks {
		r.marks = append(r.marks, m)
		return
	}
	r.marks[r.next] = m
	r.next = (r.next + 1) % lateMarks
}

// has reports whether m is the newest mark with its packet identifier: a client
// that used it for something else since had its acknowledgement for m.
func (r *ring) has(m uint64) bool {
	for i := range r.marks {
		at := (r.next - 1 - i + 2*len(r.marks)) % len(r.marks)
		if uint16(r.marks[at]) == uint16(m) {
			return r.marks[at] == m
		}
	}
	return false
}
