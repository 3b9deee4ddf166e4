package bus

import (
	"encoding/json"

	"checkbus/broker"
)

// The roots of what the gateway publishes.
const (
	stateRoot    = "checkbus/state"
	eventRoot    = "checkbus/event"
	rejectedRoot = "checkbus/rejected"
)

// refuse tells of a refused message: in a counter, in the journal and on its
// topic.
func (b *Bus) refuse(client, topic string, payload []byte, err error) {
	b.counters.refused[cause(err)].Add(1)
	b.announce(newRefusal(client, topic, payload, err))
}

// announce keeps r before it tells of it, for who then asks for the newest.
func (b *Bus) announce(r Refusal) {
	if err := b.Refusals.Add(r); err != nil {
		b.Log.Debug("refusal not kept", "err", err)
	}
	b.publish(r.Published(), r, false)
}

// PublishStatus says on checkbus/status that the gateway is online, or that it
// leaves.
func (b *Bus) PublishStatus(state string) {
	b.publish(broker.StatusTopic, map[string]string{"state": state}, true)
}

// publish writes value as JSON.
func (b *Bus) publish(topic string, value any, retain bool) {
	payload, err := json.Marshal(value)
	if err != nil {
		b.Log.Error("not published", "topic", topic, "err", err)
		return
	}
	b.send(topic, payload, retain)
}

// send hands a message to the subscribers; an empty one clears what is retained
// on topic.
func (b *Bus) send(topic string, payload []byte, retain bool) {
	if err := b.Publish(topic, payload, retain); err != nil {
		b.unpublished.Add(1)
		b.Log.Debug("not published", "topic", topic, "err", err)
	}
}
