package broker

import (
	"cmp"
	"slices"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// attach gives c its session before the CONNACK is sent. Connections with one
// client identifier take turns, and the previous one is gone, with all that the
// library does at its end, before the next goes on: the library itself mixes up
// two that overlap, and may forget the new one.
func (b *Broker) attach(c *conn, cl *mqtt.Client, clean bool) {
	s := b.reserve(cl.ID)
	c.session = s
	s.turn <- struct{}{}
	c.turn = true

	s.mu.Lock()
	previous := s.conn
	s.mu.Unlock()
	if previous != nil {
		_ = b.disconnect(previous.client, packets.ErrSessionTakenOver)
		<-previous.detached
	}

	other, known := b.server.Clients.Get(cl.ID)
	if known && s.user != c.rights.user { // what waits was meant for somebody else
		clean = true
	}
	if known && clean { // before anything is stored anew, for what it subscribed to
		b.forget(other)
	}
	s.user = c.rights.user
	if clean || !known {
		b.endOutbox(s)
	}
	_, lasting := expiry(cl)
	s.attach(c, clean, lasting)
	if lasting {
		b.startStoring(s)
	}
	b.mu.Lock()
	late := s.will
	s.will, s.kept, s.ends = nil, false, time.Time{}
	b.mu.Unlock()
	switch {
	case late != nil && clean:
		b.publishWill(late) // its session ends here (MQTT 5, 3.1.3.2.2)
	case late != nil:
		b.dropWill(late)
	}
	if c.will != nil {
		c.will.rights = c.rights
	}
	b.storeSession(c, nil, time.Time{})
}

// reserve finds or begins the session of a client, which then stays until
// detach.
func (b *Broker) reserve(id string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[id]
	if s == nil {
		s = newSession(b, id)
		b.sessions[id] = s
		b.mostSeen = max(b.mostSeen, len(b.sessions))
	}
	s.refs++
	return s
}

// endTurn lets the next connection with the same client identifier go on.
func (c *conn) endTurn() {
	if c.turn {
		c.turn = false
		<-c.session.turn
	}
}

// detach ends c's part in its session, when the library is done with c.
func (b *Broker) detach(c *conn) {
	s := c.session
	if s == nil {
		return
	}
	s.out.detach(c.client)
	keep, ok := expiry(c.client)
	if !ok {
		b.cleanUp(c.client)
	}
	if w := b.depart(c, keep, ok); w != nil {
		b.publishWill(w)
	}
	if !ok {
		b.endOutbox(s)
	}
	s.leave(c, !ok) // from here on it may be another's
	c.endTurn()
	close(c.detached)

	b.mu.Lock()
	b.drop(s)
	surplus := len(b.sessions) > b.mostSessions()
	b.mu.Unlock()
	if surplus {
		b.expire(time.Now())
	}
}

// depart notes what becomes of c's session, and returns the will to publish
// now, if any.
func (b *Broker) depart(c *conn, keep time.Duration, ok bool) *will {
	w := c.will
	if w != nil && (b.ending() || !lost(c.client)) {
		b.dropWill(w)
		w = nil
	}
	s, now := c.session, time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.kept, s.away = ok, now
	if keep > 0 {
		s.ends = now.Add(keep)
	}
	if w != nil && w.delay > 0 && ok {
		w.due = now.Add(w.delay)
		s.will, w = w, nil
	}
	if ok {
		b.storeSession(c, s.will, now)
	}
	return w
}

// drop gives back what reserve gave; b.mu is held.
func (b *Broker) drop(s *session) {
	s.refs--
	if s.refs == 0 && !s.kept {
		delete(b.sessions, s.id)
	}
}

// cleanUp forgets a client whose session is over, unless it has come back.
func (b *Broker) cleanUp(cl *mqtt.Client) {
	if known, ok := b.server.Clients.Get(cl.ID); ok && known == cl {
		b.forget(cl)
	}
}

// forget removes all that the library knows of a client.
func (b *Broker) forget(cl *mqtt.Client) {
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.keepNone(&cl.Net.Conn.(*conn).session.filters)
	b.server.Clients.Delete(cl.ID)
}

// expire sends the wills and ends the sessions that are due, and those longest
// away where there are too many.
func (b *Broker) expire(now time.Time) {
	b.mu.Lock()
	var away, over []*session
	var wills []*will
	var relieved []*session // of their wills
	for _, s := range b.sessions {
		if s.refs > 0 {
			continue
		}
		if !s.ends.IsZero() && !now.Before(s.ends) {
			over = append(over, s)
			continue
		}
		if strings.HasPrefix(s.id, bridgePrefix) {
			continue // it is not for a crowd to push out
		}
		away = append(away, s)
		if s.will != nil && !now.Before(s.will.due) {
			wills = append(wills, s.will)
			s.will = nil
			relieved = append(relieved, s)
		}
	}
	var surplus []*session
	if n := len(b.sessions) - len(over) - b.mostSessions(); n > 0 {
		slices.SortFunc(away, func(x, y *session) int { return x.away.Compare(y.away) })
		surplus = away[:min(n, len(away))]
		over = append(over, surplus...)
	}
	for _, s := range over {
		s.refs++
		s.kept = false
		s.turn <- struct{}{} // nobody has it, so this does not wait
		if s.will != nil {
			wills = append(wills, s.will)
			s.will = nil
		}
	}
	b.mu.Unlock()
	for _, s := range surplus {
		b.count.pushedOut.Add(1)
		b.seldom[sessionsFull].log(func(count int) {
			b.log.Warn("session of a client that is longest away ended, there are too many", "client", s.id, "max_sessions", b.mostSessions(), "count", count)
		})
	}
	for _, w := range wills {
		b.publishWill(w)
	}
	for _, s := range relieved {
		b.storeAway(s)
	}
	for _, s := range over {
		b.endSession(s)
	}
}

// mostSessions is how many sessions are kept, connected and away.
func (b *Broker) mostSessions() int { return cmp.Or(b.cfg.MaxSessions, 2*b.cfg.MaxConnections) }

// endSession forgets a session whose turn is taken.
func (b *Broker) endSession(s *session) {
	if cl, ok := b.server.Clients.Get(s.id); ok {
		b.forget(cl)
	}
	s.leave(nil, true)
	b.endOutbox(s)
	<-s.turn
	b.count.expired.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(s)
}
