package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A way is one direction over a crossing.
type way struct {
	from, to *mqttLink
	rename   func(topic string) (string, bool)
	returned *atomic.Int64 // counts those that arrived the other way
	arrived  *atomic.Int64 // counts those that arrived this way
	retains  bool          // the receiver may be asked to keep messages
}

// outward passes on what comes from this broker, until either connection ends.
func (c *crossing) outward() error {
	return c.pass(way{
		from: c.near, to: c.far, rename: c.topics.toRemote,
		arrived: &c.sent, returned: &c.received, retains: !c.noRetain,
	})
}

// inward passes on what comes from the other broker. This one refuses what only
// the gateway publishes.
func (c *crossing) inward() error {
	return c.pass(way{
		from: c.far, to: c.near, rename: c.topics.toLocal,
		arrived: &c.received, returned: &c.sent, retains: true,
	})
}

// pass works until a connection ends, and says why.
func (c *crossing) pass(w way) error {
	for {
		pk, err := w.from.read()
		if err != nil {
			return fmt.Errorf("%s: %w", c.nameOf(w.from), err)
		}
		switch pk.FixedHeader.Type {
		case packets.Publish:
			err = c.passMessage(w, &pk)
		case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
			err = c.passAnswer(w, pk)
		case packets.Suback:
			c.subscribed(w, pk)
		case packets.Disconnect:
			return fmt.Errorf("%s ended the connection with code %#02x", c.nameOf(w.from), pk.ReasonCode)
		}
		if err == nil && w.from.in.Buffered() == 0 {
			err = w.to.flush()
		}
		if err != nil {
			return err
		}
	}
}

func (c *crossing) nameOf(l *mqttLink) string {
	if l == c.near {
		return "this broker"
	}
	return "the other broker"
}

// passMessage passes on a PUBLISH, or answers it where it cannot go.
func (c *crossing) passMessage(w way, pk *packets.Packet) error {
	topic, ok := w.rename(pk.TopicName)
	levels := maxLevels
	if w.to == c.near {
		levels = c.broker.cfg.MaxTopicLevels // it would end the connection
	}
	if !ok || len(topic) > maxFilterBytes || strings.Count(topic, "/") > levels {
		return c.refuse(w, pk, packets.ErrTopicNameInvalid.Code)
	}
	if w.to == c.far && pk.FixedHeader.Qos > c.maxQoS { // waits from other settings
		return c.refuse(w, pk, packets.ErrQosNotSupported.Code)
	}
	out := packets.Packet{FixedHeader: pk.FixedHeader, ProtocolVersion: w.to.version, TopicName: topic, Payload: pk.Payload, PacketID: pk.PacketID}
	out.FixedHeader.Retain = pk.FixedHeader.Retain && w.retains
	out.Properties = pk.Properties.Copy(false)
	out.Properties.SubscriptionIdentifier = nil
	if !c.passPath(w, &out) {
		return c.refuse(w, pk, packets.ErrNotAuthorized.Code)
	}
	err := w.to.write(&out)
	if errors.Is(err, packets.ErrPacketTooLarge) {
		return c.refuse(w, pk, packets.ErrPacketTooLarge.Code)
	}
	if err == nil && out.FixedHeader.Qos == 0 {
		w.arrived.Add(1)
	}
	return err
}

// passPath keeps the rules of path.go where sendPath and receivePath cannot, and
// reports whether the message may pass: what waited on disk does not have this
// gateway in its path yet, and MQTT 3.1.1 has no paths.
func (c *crossing) passPath(w way, pk *packets.Packet) bool {
	path := pathOf(pk)
	switch {
	case w.from == c.far && c.far.version < 5:
		setPath(pk, []string{unknownHop})
		return true
	case w.from == c.far:
		return true
	case !slices.Contains(path, c.broker.identity):
		path = append(path, c.broker.identity)
		setPath(pk, path)
	}
	if c.far.version < 5 && len(path) > 1 {
		c.broker.notBridged(c.session(), pk.TopicName)
		return false
	}
	return true
}

// refuse drops a message, and tells its sender not to keep it.
func (c *crossing) refuse(w way, pk *packets.Packet, code byte) error {
	c.dropped.Add(1)
	kind := packets.Puback
	switch pk.FixedHeader.Qos {
	case 0:
		return nil
	case 2:
		kind = packets.Pubrec // a sender in MQTT 3.1.1 goes on with PUBREL, which the receiver answers
	}
	answer := acknowledgement(kind, pk.PacketID, code, w.from.version)
	return errors.Join(w.from.write(&answer), w.from.flush())
}

// passAnswer passes on an acknowledgement. A message that the receiver does not
// take just now, as when its disk is full, ends the connection, and comes again
// with the next.
func (c *crossing) passAnswer(w way, pk packets.Packet) error {
	kind, code := pk.FixedHeader.Type, pk.ReasonCode
	refused := code >= packets.ErrUnspecifiedError.Code
	switch {
	case kind == packets.Pubrel:
	case kind != packets.Pubcomp && (code == packets.ErrUnspecifiedError.Code || code == packets.ErrQuotaExceeded.Code):
		return fmt.Errorf("%s takes no messages now (code %#02x)", c.nameOf(w.from), code)
	case kind != packets.Pubcomp && refused:
		c.dropped.Add(1)
	case kind != packets.Pubrec:
		w.returned.Add(1)
		code = 0
	}
	answer := acknowledgement(kind, pk.PacketID, code, w.to.version)
	return w.to.write(&answer)
}

// subscribed logs what the other broker does not let the bridge subscribe to.
func (c *crossing) subscribed(w way, pk packets.Packet) {
	if w.from != c.far {
		return
	}
	var refused []string
	for i, f := range c.inFilters() {
		if i < len(pk.ReasonCodes) && pk.ReasonCodes[i] >= packets.ErrUnspecifiedError.Code {
			refused = append(refused, fmt.Sprintf("%s (code %#02x)", f.Filter, pk.ReasonCodes[i]))
		}
	}
	if len(refused) > 0 {
		c.refused.log(func(count int) {
			c.log.Warn("the other broker refuses subscriptions", "filters", refused, "count", count)
		})
	}
}
