package broker

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// levelCost is what each level of a topic takes in the library's index, in bytes.
const levelCost = 512

var errNotRetained = errors.New("not kept: too many retained messages")

// A retainedSizes knows how large retained messages are. To ask the library is
// to copy all of them.
type retainedSizes struct {
	mu      sync.Mutex
	seed    maphash.Seed // publishers must not make two topics look like one
	byTopic map[uint64]retainedSize
	payload int64 // the sum of all payloads, in bytes
	memory  int64 // what all take, in bytes
}

type retainedSize struct{ payload, memory int }

// set notes the message that a topic has now; one without a payload is none.
func (r *retainedSizes) set(topic string, size retainedSize) {
	key := maphash.String(r.seed, topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.payload += int64(size.payload - r.byTopic[key].payload)
	r.memory += int64(size.memory - r.byTopic[key].memory)
	if size.payload == 0 {
		delete(r.byTopic, key)
	} else {
		r.byTopic[key] = size
	}
}

// fits reports whether topic's message may be replaced by one that takes memory
// bytes, where all may take most bytes.
func (r *retainedSizes) fits(topic string, memory int, most int64) bool {
	key := maphash.String(r.seed, topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	grows := memory - r.byTopic[key].memory
	return grows <= 0 || r.memory+int64(grows) <= most
}

// payloads is the sum of all payloads, in bytes.
func (r *retainedSizes) payloads() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.payload
}

// retain keeps a message for later subscribers; an empty one removes what was
// kept. So does a client's for which there is no room: what was kept is not what
// is so any more. It is in w as well, unless that is nil.
func (b *Broker) retain(pk packets.Packet, w *edit) error {
	b.retaining.Lock()
	defer b.retaining.Unlock()
	size := retainedSize{len(pk.Payload), cost(&pk) + levelCost*(1+strings.Count(pk.TopicName, "/"))}
	var err error
	if size.payload > 0 && pk.Origin != "" && !b.retained.fits(pk.TopicName, size.memory, b.cfg.MaxRetained) {
		err = errNotRetained
		b.count.notRetained.Add(1)
		client, topic := pk.Origin, pk.TopicName
		b.seldom[retainRefused].log(func(count int) {
			b.log.Warn("retained message not kept, there are too many", "client", client, "topic", topic, "max_retained", b.cfg.MaxRetained, "count", count)
		})
		pk.Payload, size.payload = nil, 0
	}
	if size.payload == 0 {
		size.memory = 0
	}
	pk.Created = b.sequence.Add(1) // see sendRetained
	b.server.Topics.RetainMessage(pk)
	b.retained.set(pk.TopicName, size)
	switch {
	case w == nil:
	case size.payload > 0:
		w.set(retainedKey(pk.TopicName), append([]byte{pk.FixedHeader.Qos}, appendMessage(nil, &pk)...))
	default:
		w.delete(retainedKey(pk.TopicName))
	}
	return err
}

// OnRetainedExpired comes when a retained message has come to its end.
func (h *hook) OnRetainedExpired(topic string) {
	h.b.retained.set(topic, retainedSize{})
	if h.b.store != nil {
		w := &edit{}
		w.delete(retainedKey(topic))
		h.b.store.submit(w, true)
	}
}

// held is what is kept for clients now.
type held struct {
	queued int64 // messages, once for each client they wait for
	bytes  int64 // their payloads
	shared int64 // subscriptions
}

// held goes through all clients.
func (b *Broker) held() held {
	var sum held
	for _, cl := range b.server.Clients.GetAll() {
		for filter := range cl.State.Subscriptions.GetAll() {
			if mqtt.IsSharedFilter(filter) {
				sum.shared++
			}
		}
		o := &cl.Net.Conn.(*conn).session.out
		sum.queued += o.load.Load()
		o.mu.Lock()
		sum.bytes += o.payloads
		o.mu.Unlock()
	}
	return sum
}
