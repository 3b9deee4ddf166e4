package bus

import (
	"encoding/json"

	"checkbus/broker"
	"checkbus/checks"
)

// The roots of what the gateway publishes.
const (
	stateRoot    = "checkbus/state"
	eventRoot    = "checkbus/event"
	rejectedRoot = "checkbus/rejected"
)

// refuse tells of a refused message: on its topic, in the journal and in a
// counter.
func (b *Bus) refuse(client, topic string, payload []byte, err error) {
	b.counters.refused[cause(err)].Add(1)
	b.announce(newRefusal(client, topic, payload, err))
}

func (b *Bus) announce(r Refusal) {
	b.publish(rejectedRoot+"/"+checks.EncodeLevel(r.Client), r, false)
	if err := b.Refusals.Add(r); err != nil {
		b.Log.Debug("refusal not kept", "err", err)
	}
}

// observe follows what results say of their objects. With a core configured
// its verdict is what counts, and the gateway keeps its own to itself.
func (b *Bus) observe(results []checks.Result) {
	if len(b.Cores) > 0 {
		return
	}
	for _, r := range results {
		c, event := b.tracker.Observe(r)
		if c.Origin == "" {
			continue
		}
		b.publish(c.Topic(stateRoot), c, true)
		if !event {
			continue
		}
		b.publish(c.Topic(eventRoot), c, false)
		b.Log.Info("state changed", "object", c.Object.String(), "state", c.State.String(),
			"previous", c.Previous.String(), "reason", c.Reason)
	}
}

// PublishStatus says on checkbus/status that the gateway is online, or that it
// leaves.
func (b *Bus) PublishStatus(state string) {
	b.publish(broker.StatusTopic, map[string]string{"state": state}, true)
}

func (b *Bus) publish(topic string, value any, retain bool) {
	payload, err := json.Marshal(value)
	if err == nil {
		err = b.Publish(topic, payload, retain)
	}
	if err != nil {
		b.Log.Warn("not published", "topic", topic, "err", err)
	}
}
