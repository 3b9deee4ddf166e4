package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"checkbus/checks"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// topicAliases is how many aliases an MQTT 5 client may define, as in
// Mosquitto. Each keeps a topic of up to 64 KiB.
const topicAliases = 10

// publish handles a PUBLISH from a client in the library's place. Its own way
// (processPublish, server.go:858 in v2.7.9) blocks the reader for an answer,
// mixes up the packet identifiers of both directions, acknowledges undefined
// topic aliases, and says nothing about what it refuses. An error ends the
// connection.
func (b *Broker) publish(c *conn, pk packets.Packet) error {
	b.count.messagesIn.Add(1)
	b.count.payloadIn.Add(int64(len(pk.Payload)))
	c.traffic.messagesIn.Add(1)
	b.slow(c)
	if code := b.resolve(c, &pk); code != packets.CodeSuccess {
		return b.disconnect(c.client, code)
	}
	looped := b.receivePath(c, &pk)
	if pk.FixedHeader.Qos == 0 && !looped && !b.isResult(pk.TopicName) && !b.ending() && !b.mustWait(c, &pk) {
		b.pass(c, &pk)
		return nil
	}
	in := &inbound{packet: pk, session: c.session, conn: c, client: c.session.id, version: c.version, arrived: c.arrived}
	if pk.FixedHeader.Qos > 0 {
		in.mark = mark(&pk)
	}
	if b.ending() || !c.session.wait(in) {
		<-c.closed
		return packets.ErrServerShuttingDown
	}
	switch c.session.take(in) {
	case known:
		b.count.redelivered.Add(1)
		return nil
	case tooMany:
		b.exceeded(c)
		return b.disconnect(c.client, packets.ErrReceiveMaximum)
	}
	if looped {
		b.count.looped.Add(1)
		b.settleNow(in, nil)
		return nil
	}
	b.route(in, c.rights, message(&pk, c.rights))
	return nil
}

// pass handles a publish of QoS 0 that is no result: there is nothing to wait
// for, and nobody to answer.
func (b *Broker) pass(c *conn, pk *packets.Packet) {
	if !c.rights.mayWrite(pk.TopicName) {
		b.count.denied.Add(1)
		return
	}
	var f fanout
	b.aim(&f, pk, c.session.id, c.version)
	b.sendAll(&f)
}

// mustWait reports whether a publish of QoS 0 is to be retained on disk, or is
// behind one that goes to disk first.
func (b *Broker) mustWait(c *conn, pk *packets.Packet) bool {
	return b.store != nil && (pk.FixedHeader.Retain || c.session.storing.Load() > 0)
}

// resolve checks pk and puts the topic in an alias's place.
func (b *Broker) resolve(c *conn, pk *packets.Packet) packets.Code {
	if code := pk.PublishValidate(topicAliases); code != packets.CodeSuccess {
		return code
	}
	if pk.Properties.TopicAliasFlag {
		if !b.keepAlias(c, pk.Properties.TopicAlias, pk.TopicName) {
			return packets.ErrQuotaExceeded
		}
		// The topic would keep all of the packet.
		pk.TopicName = c.client.State.TopicAliases.Inbound.Set(pk.Properties.TopicAlias, strings.Clone(pk.TopicName))
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false
		if pk.TopicName == "" {
			return packets.ErrProtocolViolationNoTopic // MQTT 5, 3.3.4
		}
	}
	if b.tooDeep(c, pk.TopicName) {
		return packets.ErrTopicNameInvalid
	}
	return packets.CodeSuccess
}

// route decides who gets a publish: accept, subscribers, or nobody.
func (b *Broker) route(in *inbound, r rights, m Message) {
	results := b.isResult(m.Topic)
	switch {
	case !r.mayWrite(m.Topic):
		b.count.denied.Add(1)
		b.settleNow(in, fmt.Errorf("%w: may not write %s", checks.ErrDenied, m.Topic))
		if results && b.denied != nil {
			b.denied(m)
		}
	case results && in.repeats() && in.conn.refused.Load():
		b.settleNow(in, errBehind)
	case results:
		b.finisher.pending.Add(1)
		b.accept(m, b.verdict(in))
	default:
		b.deliver(in)
	}
}

// errBehind: what the client is to send again comes first.
var errBehind = errors.New("behind a message that was not taken")

// repeats reports whether in is refused by ending its client's connection, as MQTT
// 3.1.1 has no answer for that. The client then sends it again, and all after it,
// which is not taken before lest it overtake.
func (in *inbound) repeats() bool {
	return in.conn != nil && in.version < 5 && in.packet.FixedHeader.Qos > 0
}

// verdict returns what accept is to call for in.
func (b *Broker) verdict(in *inbound) func(error) {
	var refused *atomic.Bool
	if in.repeats() {
		refused = in.conn.refused
	}
	return func(err error) {
		if refused != nil && answerTo(err, in.version).hangUp {
			refused.Store(true)
		}
		b.finisher.add(task{in: in, err: err})
	}
}

// settleNow answers a publish that needs no verdict.
func (b *Broker) settleNow(in *inbound, err error) {
	s := in.session
	if s == nil {
		return // a will
	}
	b.hangUp(s.settle(in, answerTo(err, in.version)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// hangUp ends a connection without a word.
func (b *Broker) hangUp(c *conn) {
	if c != nil {
		c.client.Stop(packets.ErrUnspecifiedError)
	}
}

// message shows a publish to the functions given to Handle and HandleDenied.
func message(pk *packets.Packet, r rights) Message {
	return Message{
		Topic:    pk.TopicName,
		Payload:  pk.Payload,
		Client:   r.client,
		User:     r.user,
		QoS:      pk.FixedHeader.Qos,
		PacketID: pk.PacketID,
		Dup:      pk.FixedHeader.Dup,
		Retain:   pk.FixedHeader.Retain,
	}
}

// isResult reports whether topic is the results root or below it.
func (b *Broker) isResult(topic string) bool {
	rest, ok := strings.CutPrefix(topic, b.root)
	return ok && b.accept != nil && (rest == "" || rest[0] == '/')
}

// endExchange answers a PUBREL (MQTT 5, 4.3.3). That the packet identifier is free
// is on disk before the client uses it again, also when it asks a second time.
func (b *Broker) endExchange(c *conn, id uint16) {
	known := c.session.released(id)
	var code byte
	if !known && c.version == 5 {
		code = packets.ErrPacketIdentifierNotFound.Code
	}
	answer := func() {
		_, _ = c.Write(appendAck(nil, packets.Pubcomp, id, code, "")) // an error ends the connection by itself
	}
	number := c.session.out.number()
	if number == 0 {
		answer()
		return
	}
	w := &edit{}
	w.delete(receivedKey(number, id))
	b.follow(w, answer)
}

// acked takes a PUBACK, PUBREC or PUBCOMP.
func (c *conn) acked(pk packets.Packet) {
	if pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		c.session.out.received(pk.PacketID, c.version)
	} else {
		c.session.out.acked(pk.PacketID)
	}
	c.nudge()
}

// disconnect ends a client's connection, telling an MQTT 5 client why. It
// returns the error that ends the client's reader.
func (b *Broker) disconnect(cl *mqtt.Client, code packets.Code) error {
	if cl.Properties.ProtocolVersion == 5 {
		_ = b.server.DisconnectClient(cl, code)
	} else {
		cl.Stop(code)
	}
	return code
}

// Publish hands a message of the gateway itself to its subscribers, with QoS 1,
// and keeps it for later ones when retain is set; an empty payload then removes
// what was kept. What is below checkbus goes to the outside broker, too. It waits
// at most a little, for a subscriber that reads what it is sent but has fallen
// behind. accept does not see the message, whatever its topic. payload is not to
// be changed afterwards. The error is about the topic.
func (b *Broker) Publish(topic string, payload []byte, retain bool) error {
	switch {
	case topic == "" || len(topic) > 65535 || strings.ContainsAny(topic, "+#\x00"):
		return fmt.Errorf("publish: %q is no topic", topic)
	case strings.Count(topic, "/") > maxLevels:
		return fmt.Errorf("publish: topic %.40q... has more than %d levels", topic, maxLevels)
	}
	b.publishOwn(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: retain},
		TopicName:   topic,
		Payload:     payload,
	})
	if b.outside != nil {
		b.outside.tell(topic, payload, retain)
	}
	return nil
}

// publishOwn delivers a message of the gateway itself.
func (b *Broker) publishOwn(pk packets.Packet) { b.deliver(&inbound{packet: pk, version: 5}) }
