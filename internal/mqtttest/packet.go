package mqtttest

import (
	"encoding/binary"
	"fmt"
)

// The packet types (MQTT 5, 2.1.2).
const (
	CONNECT = iota + 1
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

// A Packet is one that came from the server.
type Packet struct {
	Header byte
	Body   []byte
	v5     bool
}

// Type is one of CONNECT to AUTH.
func (p Packet) Type() int { return int(p.Header >> 4) }

// QoS is that of a PUBLISH.
func (p Packet) QoS() byte { return p.Header >> 1 & 3 }

// Dup is the flag of a PUBLISH.
func (p Packet) Dup() bool { return p.Header&8 != 0 }

// Retain is the flag of a PUBLISH.
func (p Packet) Retain() bool { return p.Header&1 != 0 }

// ID is the packet identifier of a PUBLISH with QoS 1 or 2, or of a packet that
// begins with one.
func (p Packet) ID() uint16 {
	if p.Type() != PUBLISH {
		return binary.BigEndian.Uint16(p.Body)
	}
	return binary.BigEndian.Uint16(p.Body[2+len(p.Topic()):])
}

// Code is the reason code of a CONNACK, DISCONNECT, PUBACK, PUBREC or PUBCOMP;
// 0 where it was left out.
func (p Packet) Code() byte {
	at := 2
	switch p.Type() {
	case CONNACK:
		at = 1
	case DISCONNECT:
		at = 0
	}
	if len(p.Body) <= at {
		return 0
	}
	return p.Body[at]
}

// SessionPresent is the flag of a CONNACK.
func (p Packet) SessionPresent() bool { return p.Body[0]&1 != 0 }

// Reason is the reason string of an acknowledgement that has no other property.
func (p Packet) Reason() string {
	if len(p.Body) < 4 {
		return ""
	}
	n, size := binary.Uvarint(p.Body[3:])
	if n < 3 {
		return ""
	}
	return string(p.Body[3+size+3:])
}

// Topic is that of a PUBLISH.
func (p Packet) Topic() string {
	n := int(binary.BigEndian.Uint16(p.Body))
	return string(p.Body[2 : 2+n])
}

// rest is what follows topic and packet identifier of a PUBLISH.
func (p Packet) rest() []byte {
	at := 2 + int(binary.BigEndian.Uint16(p.Body))
	if p.QoS() > 0 {
		at += 2
	}
	return p.Body[at:]
}

// Properties are those of a PUBLISH, encoded, without their length.
func (p Packet) Properties() []byte {
	if !p.v5 {
		return nil
	}
	rest := p.rest()
	n, size := binary.Uvarint(rest)
	return rest[size : size+int(n)]
}

// Payload is that of a PUBLISH.
func (p Packet) Payload() string {
	rest := p.rest()
	if p.v5 {
		n, size := binary.Uvarint(rest)
		rest = rest[size+int(n):]
	}
	return string(rest)
}

func (p Packet) String() string {
	if p.Type() == PUBLISH {
		return fmt.Sprintf("PUBLISH %s %q", p.Topic(), p.Payload())
	}
	return fmt.Sprintf("packet type %d: %x", p.Type(), p.Body)
}

// Str encodes a string as MQTT does.
func Str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// Encode puts a fixed header before body.
func Encode(header byte, body []byte) []byte {
	b := binary.AppendUvarint([]byte{header}, uint64(len(body)))
	return append(b, body...)
}

// A Message is what Publish sends and a will says.
type Message struct {
	Topic, Payload string
	QoS            byte
	ID             uint16
	Dup, Retain    bool
	Properties     []byte // MQTT 5, encoded, without their length; up to 127 bytes
}

// Encode returns m as a PUBLISH of MQTT 5 or 3.1.1.
func (m Message) Encode(v5 bool) []byte {
	header := byte(PUBLISH<<4) | m.QoS<<1
	if m.Dup {
		header |= 8
	}
	if m.Retain {
		header |= 1
	}
	b := Str(m.Topic)
	if m.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, m.ID)
	}
	if v5 {
		b = append(b, byte(len(m.Properties)))
		b = append(b, m.Properties...)
	}
	return Encode(header, append(b, m.Payload...))
}

// Options are what a CONNECT says.
type Options struct {
	ID         string
	V5         bool
	Level      byte // protocol level instead of 4 or 5
	Persistent bool // no clean session, no clean start
	KeepAlive  uint16
	Properties []byte // MQTT 5, encoded, without their length; up to 127 bytes
	Will       *Message
	User       string
	Password   *string
	Buffer     int // bytes of the socket's receive buffer; 0 leaves it
}

// Encode returns the CONNECT.
func (o Options) Encode() []byte {
	level := o.Level
	if level == 0 {
		level = 4
		if o.V5 {
			level = 5
		}
	}
	var flags byte
	if !o.Persistent {
		flags |= 2
	}
	if w := o.Will; w != nil {
		flags |= 4 | w.QoS<<3
		if w.Retain {
			flags |= 32
		}
	}
	if o.User != "" {
		flags |= 128
	}
	if o.Password != nil {
		flags |= 64
	}
	b := append(Str("MQTT"), level, flags)
	b = binary.BigEndian.AppendUint16(b, o.KeepAlive)
	if o.V5 {
		b = append(b, byte(len(o.Properties)))
		b = append(b, o.Properties...)
	}
	b = append(b, Str(o.ID)...)
	if w := o.Will; w != nil {
		if o.V5 {
			b = append(b, byte(len(w.Properties)))
			b = append(b, w.Properties...)
		}
		b = append(b, Str(w.Topic)...)
		b = append(b, Str(w.Payload)...)
	}
	if o.User != "" {
		b = append(b, Str(o.User)...)
	}
	if o.Password != nil {
		b = append(b, Str(*o.Password)...)
	}
	return Encode(CONNECT<<4, b)
}
