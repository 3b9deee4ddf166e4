package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The broker's store knows sessions and messages by numbers that grow. Keys: one
// byte says what it is, so that each kind is a range, and so is what belongs to a
// session.
const (
	sessionPrefix      = 's' // session: what it is
	subscriptionPrefix = 'u' // session, filter: its options
	receivedPrefix     = 'i' // session, packet identifier: a QoS 2 publish taken and not released
	deliveryPrefix     = 'd' // session, message: waits for the client, or for its acknowledgement
	messagePrefix      = 'm' // message: what is waited for, once for all sessions
	retainedPrefix     = 'r' // topic: a retained message
)

func numberKey(prefix byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefix}, number)
}

func subscriptionKey(session uint64, filter string) []byte {
	return append(numberKey(subscriptionPrefix, session), filter...)
}

func receivedKey(session uint64, id uint16) []byte {
	return binary.BigEndian.AppendUint16(numberKey(receivedPrefix, session), id)
}

func deliveryKey(session, message uint64) []byte {
	return binary.BigEndian.AppendUint64(numberKey(deliveryPrefix, session), message)
}

func retainedKey(topic string) []byte { return append([]byte{retainedPrefix}, topic...) }

// cutKey returns the number in a key, and what follows it.
func cutKey(key []byte) (number uint64, rest []byte, err error) {
	if len(key) < 9 {
		return 0, nil, fmt.Errorf("key %x is too short", key)
	}
	return binary.BigEndian.Uint64(key[1:]), key[9:], nil
}

// cutDeliveryKey returns the numbers in the key of a delivery.
func cutDeliveryKey(key []byte) (session, message uint64, err error) {
	session, rest, err := cutKey(key)
	if err != nil || len(rest) != 8 {
		return 0, 0, fmt.Errorf("key %x is no delivery's", key)
	}
	return session, binary.BigEndian.Uint64(rest), nil
}

// A sessionRecord is what is stored of a session itself.
type sessionRecord struct {
	client, user string
	local        bool // see rights
	version      byte
	expiry       uint32    // s, as in MQTT 5; forever without an end
	away         time.Time // zero while the client is connected
	will         *will     // waits for its delay
}

func (r *sessionRecord) encode() []byte {
	b := appendText(nil, r.client)
	b = appendText(b, r.user)
	b = append(b, flags(r.local, r.will != nil), r.version)
	b = binary.AppendUvarint(b, uint64(r.expiry))
	b = appendTime(b, r.away)
	if r.will != nil {
		b = appendTime(b, r.will.due)
		b = append(b, r.will.packet.FixedHeader.Qos<<1|flags(r.will.packet.FixedHeader.Retain))
		b = appendMessage(b, &r.will.packet)
	}
	return b
}

func decodeSession(value []byte) (sessionRecord, error) {
	d := decoder{rest: value}
	r := sessionRecord{client: d.text(), user: d.text()}
	set := d.byte()
	r.local = set&1 != 0
	r.version = d.byte()
	r.expiry = uint32(d.number(forever))
	r.away = d.time()
	if set&2 != 0 {
		due, header := d.time(), d.byte()
		w := &will{due: due, packet: d.message(), version: r.version}
		w.packet.FixedHeader.Qos, w.packet.FixedHeader.Retain = header>>1&3, header&1 != 0
		w.packet.PacketID = uint16(w.packet.FixedHeader.Qos) // see takeWill
		r.will = w
	}
	return r, d.end()
}

func encodeSubscription(s *packets.Subscription) []byte {
	b := []byte{s.Qos, flags(s.NoLocal, s.RetainAsPublished, s.FwdRetainedFlag)}
	return binary.AppendUvarint(b, uint64(s.Identifier))
}

func decodeSubscription(filter string, value []byte) (packets.Subscription, error) {
	d := decoder{rest: value}
	s := packets.Subscription{Filter: filter, Qos: d.byte()}
	set := d.byte()
	s.NoLocal, s.RetainAsPublished, s.FwdRetainedFlag = set&1 != 0, set&2 != 0, set&4 != 0
	s.Identifier = int(d.number(mostPacket))
	if s.Qos > 2 {
		return s, errRecord
	}
	return s, d.end()
}

// A phase is how far a delivery has come.
type phase byte

const (
	queued   phase = iota // waits for its turn
	sent                  // has its packet identifier, and may have been sent
	released              // the client has the message: what is left is to release it (QoS 2)
)

// A deliveryRecord is what is stored of a delivery beside its message.
type deliveryRecord struct {
	phase   phase
	qos     byte
	retain  bool
	id      uint16 // unless queued
	cost    int    // of the message, in bytes, see storedCost
	payload int    // bytes
	filters []int  // subscription identifiers
}

func (r *deliveryRecord) encode() []byte {
	b := make([]byte, 0, 16)
	b = append(b, byte(r.phase), r.qos<<1|flags(r.retain))
	b = binary.BigEndian.AppendUint16(b, r.id)
	b = binary.AppendUvarint(b, uint64(r.cost))
	b = binary.AppendUvarint(b, uint64(r.payload))
	for _, f := range r.filters {
		b = binary.AppendUvarint(b, uint64(f))
	}
	return b
}

func decodeDelivery(value []byte) (deliveryRecord, error) {
	d := decoder{rest: value}
	r := deliveryRecord{phase: phase(d.byte())}
	header := d.byte()
	r.qos, r.retain = header>>1, header&1 != 0
	r.id = binary.BigEndian.Uint16(d.bytes(2))
	r.cost, r.payload = int(d.number(1<<40)), int(d.number(1<<40))
	for len(d.rest) > 0 && d.err == nil {
		r.filters = append(r.filters, int(d.number(mostPacket)))
	}
	if r.phase > released || r.qos < 1 || r.qos > 2 || (r.phase == queued) != (r.id == 0) {
		return r, errRecord
	}
	return r, d.end()
}

// appendMessage encodes what all who receive a message share.
func appendMessage(b []byte, pk *packets.Packet) []byte {
	p := &pk.Properties
	b = append(b, pk.ProtocolVersion, flags(p.PayloadFormatFlag, p.PayloadFormat != 0))
	b = appendText(b, pk.Origin)
	b = appendText(b, pk.TopicName)
	b = binary.AppendUvarint(b, uint64(pk.Expiry))
	b = appendText(b, p.ContentType)
	b = appendText(b, p.ResponseTopic)
	b = appendText(b, p.CorrelationData)
	b = binary.AppendUvarint(b, uint64(len(p.User)))
	for _, u := range p.User {
		b = appendText(appendText(b, u.Key), u.Val)
	}
	return append(b, pk.Payload...)
}

// message decodes what is left as a message.
func (d *decoder) message() packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, ProtocolVersion: d.byte()}
	p := &pk.Properties
	set := d.byte()
	p.PayloadFormatFlag, p.PayloadFormat = set&1 != 0, set>>1&1
	pk.Origin, pk.TopicName = d.text(), d.text()
	pk.Expiry = int64(d.number(1 << 62))
	p.ContentType, p.ResponseTopic = d.text(), d.text()
	if data := d.text(); data != "" {
		p.CorrelationData = []byte(data)
	}
	for n := d.number(mostPacket); n > 0 && d.err == nil; n-- {
		p.User = append(p.User, packets.UserProperty{Key: d.text(), Val: d.text()})
	}
	pk.Payload = append([]byte(nil), d.rest...)
	d.rest = nil
	return pk
}

func decodeMessage(value []byte) (packets.Packet, error) {
	d := decoder{rest: value}
	pk := d.message()
	if pk.TopicName == "" {
		return pk, errRecord
	}
	return pk, d.end()
}

var errRecord = errors.New("a record is none")

// A decoder takes a record apart. After the first mistake it yields zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.rest) {
		d.rest, d.err = nil, errRecord
		return make([]byte, min(n, 8))
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte { return d.bytes(1)[0] }

// number is one of up to most.
func (d *decoder) number(most uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > most {
		d.rest, d.err = nil, errRecord
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) text() string {
	n := int(d.number(mostPacket))
	if n > len(d.rest) {
		d.rest, d.err = nil, errRecord
		return ""
	}
	return string(d.bytes(n))
}

func (d *decoder) time() time.Time {
	ms := int64(binary.BigEndian.Uint64(d.bytes(8)))
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// end returns the first mistake; what is left over is one.
func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		return errRecord
	}
	return d.err
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	var ms int64
	if !t.IsZero() {
		ms = t.UnixMilli()
	}
	return binary.BigEndian.AppendUint64(b, uint64(ms))
}

// flags puts up to eight into a byte, the first as its lowest bit.
func flags(set ...bool) (b byte) {
	for i, f := range set {
		if f {
			b |= 1 << i
		}
	}
	return b
}
