package broker

import (
	"sync"

	"github.com/cespare/xxhash/v2"
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A retainedSizes knows how long retained payloads are. To ask the library is
// to copy all of them.
type retainedSizes struct {
	mu      sync.Mutex
	byTopic map[uint64]int // bytes, by the topic's hash
	bytes   int64          // their sum
}

// set notes the payload that a topic has now, 0 bytes for none.
func (r *retainedSizes) set(topic string, size int) {
	key := xxhash.Sum64String(topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += int64(size - r.byTopic[key])
	if size == 0 {
		delete(r.byTopic, key)
	} else {
		r.byTopic[key] = size
	}
}

func (r *retainedSizes) sum() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// OnRetainMessage comes when a topic's retained message was replaced, or
// removed by an empty one.
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	h.b.retained.set(pk.TopicName, len(pk.Payload))
}

// OnRetainedExpired comes when a retained message has come to its end.
func (h *hook) OnRetainedExpired(topic string) { h.b.retained.set(topic, 0) }

// held is what the library keeps for clients now.
type held struct {
	queued int64 // messages, once for each client they wait for
	bytes  int64 // their payloads
	shared int64 // subscriptions
}

// held goes through all clients, and what waits for them.
func (b *Broker) held() held {
	var sum held
	for _, cl := range b.server.Clients.GetAll() {
		for filter := range cl.State.Subscriptions.GetAll() {
			if mqtt.IsSharedFilter(filter) {
				sum.shared++
			}
		}
		if cl.State.Inflight.Len() == 0 {
			continue
		}
		for _, pk := range cl.State.Inflight.GetAll(false) {
			if pk.FixedHeader.Type == packets.Publish {
				sum.queued++
				sum.bytes += int64(len(pk.Payload))
			}
		}
	}
	return sum
}
