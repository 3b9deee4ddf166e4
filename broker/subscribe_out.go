package broker

import (
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	// mostWaiting and mostWaitingBytes bound what waits to be published at an
	// outside broker and is not retained. The oldest are dropped.
	mostWaiting      = 10_000
	mostWaitingBytes = 8 << 20
	// publishWindow is how many messages may be unacknowledged by the outside
	// broker: as many as Mosquitto has with a client (max_inflight_messages).
	publishWindow = 20
)

// A bulletin is a message of the gateway's own for an outside broker.
type bulletin struct {
	number  int64  // in the order of publishing
	topic   string // here
	payload []byte
	retain  bool
}

// A dispatch holds what an outside broker has not been told: messages, and the
// newest of each retained topic.
type dispatch struct {
	mu      sync.Mutex
	last    int64             // number
	waiting []bulletin        // not retained, oldest first
	bytes   int               // of payloads in waiting
	changed []bulletin        // retained, without their payloads, oldest change first
	newest  map[string][]byte // payloads of those in changed, by topic
	dropped int64

	work chan struct{} // has an element when something was added
}

func newDispatch() *dispatch {
	return &dispatch{newest: map[string][]byte{}, work: make(chan struct{}, 1)}
}

// add takes a message. It does not block.
func (o *dispatch) add(topic string, payload []byte, retain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if retain {
		o.change(topic, payload)
	} else {
		o.last++
		o.waiting = append(o.waiting, bulletin{number: o.last, topic: topic, payload: payload})
		o.bytes += len(payload)
		o.trim()
	}
	signal(o.work)
}

// repeat takes a retained message that was published some time ago, unless a
// newer one waits.
func (o *dispatch) repeat(topic string, payload []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, waits := o.newest[topic]; !waits {
		o.change(topic, payload)
		signal(o.work)
	}
}

// change takes the newest message of a retained topic; o.mu is held.
func (o *dispatch) change(topic string, payload []byte) {
	if _, waits := o.newest[topic]; !waits {
		o.last++
		o.changed = append(o.changed, bulletin{number: o.last, topic: topic, retain: true})
	}
	o.newest[topic] = payload
}

// trim drops the oldest messages beyond the bounds; o.mu is held.
func (o *dispatch) trim() {
	n := 0
	for len(o.waiting)-n > mostWaiting || o.bytes > mostWaitingBytes && len(o.waiting)-n > 1 {
		o.bytes -= len(o.waiting[n].payload)
		o.waiting[n] = bulletin{}
		n++
	}
	o.waiting = o.waiting[n:]
	o.dropped += int64(n)
}

// next takes the oldest message or change out.
func (o *dispatch) next() (m bulletin, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.changed) > 0 && (len(o.waiting) == 0 || o.changed[0].number < o.waiting[0].number):
		m, o.changed[0] = o.changed[0], bulletin{}
		o.changed = o.changed[1:]
		m.payload = o.newest[m.topic]
		delete(o.newest, m.topic)
	case len(o.waiting) > 0:
		m, o.waiting[0] = o.waiting[0], bulletin{}
		o.waiting = o.waiting[1:]
		o.bytes -= len(m.payload)
	default:
		return m, false
	}
	return m, true
}

// giveBack takes back what next gave, in that order, and the outside broker may
// not have got.
func (o *dispatch) giveBack(messages []bulletin) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var waiting, changed []bulletin
	for _, m := range messages {
		if !m.retain {
			waiting = append(waiting, m)
			o.bytes += len(m.payload)
		} else if _, waits := o.newest[m.topic]; !waits {
			o.newest[m.topic] = m.payload
			changed = append(changed, bulletin{number: m.number, topic: m.topic, retain: true})
		}
	}
	o.waiting = append(waiting, o.waiting...)
	o.changed = append(changed, o.changed...)
	o.trim()
}

// size is how many messages wait, and how many were dropped.
func (o *dispatch) size() (waiting int, dropped int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) + len(o.changed), o.dropped
}

// tell takes a message of the gateway's own. It does not block.
func (s *outside) tell(topic string, payload []byte, retain bool) {
	if s.cfg.Publish && within("checkbus", topic) {
		s.out.add(topic, payload, retain)
	}
}

// refresh prepares what a broker may not know any more: that the gateway is
// there, and, after it has lost its session, all retained messages.
func (s *outside) refresh(all bool) {
	if !s.cfg.Publish {
		return
	}
	topics := []string{StatusTopic}
	if all {
		topics = s.broker.retainedTopics("checkbus/#")
	}
	for _, topic := range topics {
		if kept, ok := s.broker.server.Topics.Retained.Get(topic); ok {
			s.out.repeat(topic, kept.Payload)
		}
	}
}

// send publishes what is in the dispatch until the connection ends. Once leave is
// closed it ends when all is published, or after flushTimeout.
func (s *outside) send(l *outsideLink, leave <-chan struct{}) {
	var sent []bulletin // not acknowledged
	var tokens []paho.Token
	defer func() { s.out.giveBack(sent) }()
	var late <-chan time.Time
	for {
		for len(sent) < publishWindow {
			m, ok := s.out.next()
			if !ok {
				break
			}
			sent = append(sent, m)
			tokens = append(tokens, l.client.Publish(s.cfg.outgoing(m.topic, s.membership.ClientID), 1, m.retain, m.payload))
		}
		var first <-chan struct{}
		if len(sent) > 0 {
			first = tokens[0].Done()
		} else if late != nil {
			return
		}
		select {
		case <-first:
			if err := tokens[0].Error(); err != nil {
				l.end(err)
				return
			}
			s.published.Add(1)
			sent, tokens = sent[1:], tokens[1:]
		case <-s.out.work:
		case <-leave:
			leave, late = nil, time.After(flushTimeout)
		case <-late:
			return
		case <-l.lost:
			return
		}
	}
}
