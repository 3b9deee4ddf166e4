package broker

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// backlogBytes is how much memory the deliveries of QoS 1 and 2 may take
	// that one client has not acknowledged, whether it is away or just slow. All
	// of them are sent at once when it comes back, which must leave room in
	// outLimit for what is published meanwhile.
	backlogBytes = outLimit * 3 / 4
	// backlogMessages is how many there may be, for MQTT has 65535 identifiers.
	backlogMessages = 8192
	// backlogsBytes is how much memory the backlogs of all sessions may take.
	backlogsBytes = 64 << 20
	// packetCost is what a kept message takes beside its text, in bytes.
	packetCost = 1 << 10
)

// cost is how much memory a kept message takes, in bytes, as far as its
// publisher decides it.
func cost(pk *packets.Packet) int {
	p := &pk.Properties
	n := packetCost + len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val) + 32 // two string headers
	}
	return n
}

// A backlog lists what the library keeps for a session's client until it is
// acknowledged, the oldest first, and knows its size. When it is too large the
// oldest messages go: the newest state is worth most.
type backlog struct {
	order list.List // of *kept
	byID  map[uint16]*list.Element
	bytes int
	gone  bool // the session is over
}

// A kept is one delivery in a backlog.
type kept struct {
	id   uint16
	cost int
}

// backlogs bound all backlogs together. Its lock guards them all.
type backlogs struct {
	mu       sync.Mutex
	bytes    int
	leveling sync.Mutex // held by level
}

// keep has the library keep a delivery for s, whose client cl is, at the
// expense of the oldest where there is no room.
func (b *Broker) keep(s *session, cl *mqtt.Client, pk packets.Packet) {
	b.backlogs.mu.Lock()
	defer b.backlogs.mu.Unlock()
	if s.backlog.gone {
		return
	}
	if cl.State.Inflight.Set(pk) {
		atomic.AddInt64(&b.server.Info.Inflight, 1)
	}
	b.backlogs.add(&s.backlog, pk.PacketID, cost(&pk))
	b.shorten(s, cl, backlogBytes)
}

// add enters a delivery; r.mu is held.
func (r *backlogs) add(l *backlog, id uint16, cost int) {
	r.remove(l, id)
	if l.byID == nil {
		l.byID = map[uint16]*list.Element{}
	}
	l.byID[id] = l.order.PushBack(&kept{id, cost})
	l.bytes += cost
	r.bytes += cost
}

// remove takes a delivery out; r.mu is held.
func (r *backlogs) remove(l *backlog, id uint16) {
	e := l.byID[id]
	if e == nil {
		return
	}
	delete(l.byID, id)
	k := l.order.Remove(e).(*kept)
	l.bytes -= k.cost
	r.bytes -= k.cost
	if l.order.Len() == 0 {
		l.byID = nil
	}
}

// shorten drops the oldest deliveries of a backlog until it has at most limit
// bytes; b.backlogs.mu is held. They count as dropped where the client is away;
// to one that is connected they were sent, and would only not be sent again.
func (b *Broker) shorten(s *session, cl *mqtt.Client, limit int) {
	l := &s.backlog
	for l.bytes > limit || l.order.Len() > backlogMessages {
		id := l.order.Front().Value.(*kept).id
		b.backlogs.remove(l, id)
		if !cl.Closed() {
			b.forgetDelivery(cl, id)
		} else {
			b.abandon(cl, id)
		}
	}
}

// settled tells that a delivery needs to be kept no longer.
func (r *backlogs) settled(s *session, id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(&s.backlog, id)
}

// received tells that the client has a message of QoS 2, of which the library
// keeps but the identifier from now on.
func (r *backlogs) received(s *session, id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := s.backlog.byID[id]; e != nil {
		k := e.Value.(*kept)
		saved := k.cost - packetCost
		k.cost, s.backlog.bytes, r.bytes = packetCost, s.backlog.bytes-saved, r.bytes-saved
	}
}

// recount begins the backlog anew with what the library keeps.
func (r *backlogs) recount(s *session, waiting []packets.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.empty(&s.backlog)
	for i := range waiting {
		r.add(&s.backlog, waiting[i].PacketID, cost(&waiting[i]))
	}
}

// end closes the backlog of a session that is over.
func (r *backlogs) end(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.empty(&s.backlog)
	s.backlog.gone = true
}

// empty takes out all; r.mu is held.
func (r *backlogs) empty(l *backlog) {
	r.bytes -= l.bytes
	*l = backlog{gone: l.gone}
}

// level shortens the longest backlogs, where all together are too large, to
// what leaves an eighth free, so that this is seldom done.
func (b *Broker) level() {
	r := &b.backlogs
	if r.sum() <= backlogsBytes {
		return
	}
	r.leveling.Lock()
	defer r.leveling.Unlock()
	if r.sum() <= backlogsBytes {
		return
	}
	b.mu.Lock()
	sessions := make([]*session, 0, len(b.sessions))
	for _, s := range b.sessions {
		sessions = append(sessions, s)
	}
	b.mu.Unlock()
	limit := r.fairShare(sessions, backlogsBytes/8*7)
	for _, s := range sessions {
		s.gate.Lock()
		if cl, ok := b.server.Clients.Get(s.id); ok {
			r.mu.Lock()
			b.shorten(s, cl, limit)
			r.mu.Unlock()
		}
		s.gate.Unlock()
	}
}

// long reports whether s's client has much to acknowledge.
func (r *backlogs) long(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.backlog.bytes > backlogBytes/2 || s.backlog.order.Len() > backlogMessages/2
}

// queuedFor is how many deliveries are kept for a client.
func (b *Broker) queuedFor(id string) int64 {
	b.mu.Lock()
	s := b.sessions[id]
	b.mu.Unlock()
	if s == nil {
		return 0
	}
	b.backlogs.mu.Lock()
	defer b.backlogs.mu.Unlock()
	return int64(s.backlog.order.Len())
}

func (r *backlogs) sum() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// fairShare is what each of the backlogs may have, in bytes, to have room
// together: those that are smaller leave theirs to the others.
func (r *backlogs) fairShare(sessions []*session, room int) int {
	r.mu.Lock()
	sizes := make([]int, len(sessions))
	for i, s := range sessions {
		sizes[i] = s.backlog.bytes
	}
	r.mu.Unlock()
	slices.Sort(sizes)
	for i, size := range sizes {
		share := room / (len(sizes) - i)
		if size > share {
			return share
		}
		room -= size
	}
	return backlogBytes
}

// OnQosDropped comes when the library no longer keeps a delivery: it expired,
// its client refused it, or its session was ended. Where a connection took it
// over it goes on.
func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if c, ok := cl.Net.Conn.(*conn); ok && c.session != nil && !cl.IsTakenOver() {
		h.b.backlogs.settled(c.session, pk.PacketID)
	}
}
