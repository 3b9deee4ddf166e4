package broker

import (
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// replayBytes and replayUnacked are how much may be on its way to a client
	// before the next retained message is sent to it.
	replayBytes   = outLimit / 4
	replayUnacked = 2048
)

// A replay sends a new subscriber the retained messages, as fast as it reads
// and acknowledges them. The library queues them all at once, and drops what is
// beyond 8192 or makes the client look too slow.
type replay struct {
	// The reader goroutine's own: those of the SUBSCRIBE at work.
	asked   map[string]packets.Subscription // by filter
	granted []packets.Subscription

	// Under conn.mu.
	waiting []packets.Subscription
	running bool // the goroutine that sends
	sent    bool // it has sent all
}

// ask notes that a filter of a SUBSCRIBE wants retained messages, if it does,
// and tells the library that it does not.
func (r *replay) ask(f *packets.Subscription, existed bool) {
	if !mqtt.IsSharedFilter(f.Filter) && (f.RetainHandling == 0 || f.RetainHandling == 1 && !existed) { // MQTT 5, 3.8.3.1
		if r.asked == nil {
			r.asked = map[string]packets.Subscription{}
		}
		r.asked[f.Filter] = *f
	}
	f.RetainHandling = 2
}

// grant notes the filters of a SUBSCRIBE that were granted.
func (r *replay) grant(filters []packets.Subscription, codes []byte) {
	for i, f := range filters {
		if sub, ok := r.asked[f.Filter]; ok && codes[i] < packets.ErrUnspecifiedError.Code {
			r.granted = append(r.granted, sub)
		}
	}
	r.asked = nil
}

// startReplay sends what was granted, once the SUBACK is written.
func (b *Broker) startReplay(c *conn) {
	if len(c.replay.granted) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replay.waiting = append(c.replay.waiting, c.replay.granted...)
	c.replay.granted = nil
	if !c.replay.running && !c.ended {
		c.replay.running, c.replay.sent = true, false
		c.senders.Go(func() { b.replay(c) })
	}
}

// replay sends until nothing waits or the connection is closed.
func (b *Broker) replay(c *conn) {
	for {
		c.mu.Lock()
		if len(c.replay.waiting) == 0 || c.ended {
			c.replay.waiting, c.replay.running, c.replay.sent = nil, false, !c.ended
			c.mu.Unlock()
			return
		}
		sub := c.replay.waiting[0]
		c.replay.waiting = c.replay.waiting[1:]
		c.mu.Unlock()
		for _, topic := range b.retainedTopics(sub.Filter) {
			if !c.calm() {
				break
			}
			b.sendRetained(c.client, sub, topic)
		}
	}
}

// replayed reports whether a client was sent all the retained messages that it
// asked for over its connection.
func (b *Broker) replayed(id string) bool {
	cl, ok := b.server.Clients.Get(id)
	if !ok {
		return false
	}
	c := cl.Net.Conn.(*conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replay.sent
}

// retainedTopics lists the topics with a retained message that filter matches.
// The library finds no "a" for "a/#", and finds "$x" for "#" (topics.go:535 in
// v2.7.9), and looks without a lock at what retain changes.
func (b *Broker) retainedTopics(filter string) []string {
	b.retaining.Lock()
	messages := b.server.Topics.Messages(filter)
	if parent, ok := strings.CutSuffix(filter, "/#"); ok {
		messages = append(messages, b.server.Topics.Messages(parent)...)
	}
	b.retaining.Unlock()
	var topics []string
	for i := range messages {
		if topic := messages[i].TopicName; filterMatches(filter, topic) {
			topics = append(topics, topic)
		}
	}
	return topics
}

// calm waits until not too much is on its way to the client, and reports
// whether the connection is still open.
func (c *conn) calm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ended && (c.queued > replayBytes || c.session.out.load.Load() > replayUnacked) {
		c.moved.Wait()
	}
	return !c.ended
}

// sendRetained sends the retained message of a topic. One that changes
// meanwhile is sent again, so that what the client gets last is the newest,
// whether it comes from here or as a live message.
func (b *Broker) sendRetained(cl *mqtt.Client, sub packets.Subscription, topic string) {
	r := newRoute(cl.ID, sub.Merge(sub)) // merged, it has its identifier where newRoute looks
	r.sub.FwdRetainedFlag = true         // MQTT 5, 3.3.1.3
	sent := int64(-1)
	for {
		pk, ok := b.server.Topics.Retained.Get(topic)
		if !ok || pk.Created == sent {
			return
		}
		sent = pk.Created
		pk.FixedHeader.Retain = true
		b.send(r, pk)
		b.level()
		b.relieve()
	}
}
