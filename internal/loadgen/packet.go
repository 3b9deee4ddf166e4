package loadgen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// First bytes of the control packets used here (MQTT 5, section 2.1).
const (
	connectPacket    = 0x10
	connackPacket    = 0x20
	publishPacket    = 0x30 // QoS is 0x02 or 0
	pubackPacket     = 0x40
	subscribePacket  = 0x82
	subackPacket     = 0x90
	pingreqPacket    = 0xc0
	pingrespPacket   = 0xd0
	disconnectPacket = 0xe0
)

const (
	failed         = 0x80 // reason codes from here on are failures
	receiveMaximum = 0x21 // a property of CONNACK
)

var errMalformed = errors.New("malformed packet")

// appendLength appends a remaining length (MQTT 5, section 1.5.5).
func appendLength(b []byte, n int) []byte {
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// appendConnect appends a CONNECT for a clean session without keepalive.
func appendConnect(b []byte, o Options) []byte {
	flags := byte(0x02)
	body := appendString(nil, "MQTT")
	body = append(body, o.Version, flags, 0, 0)
	if o.Version == 5 {
		body = append(body, 0)
	}
	body = appendString(body, o.Client)
	if o.User != "" {
		body[7] |= 0xc0 // the flags: a user name and a password follow
		body = appendString(body, o.User)
		body = appendString(body, o.Password)
	}
	b = append(b, connectPacket)
	b = appendLength(b, len(body))
	return append(b, body...)
}

// appendPublish appends a PUBLISH and returns where in b its packet
// identifier and its payload begin; with QoS 0 there is no identifier.
func appendPublish(b []byte, version, qos byte, topic string, payload []byte) (packet []byte, id, body int) {
	length := 2 + len(topic) + len(payload)
	if qos > 0 {
		length += 2
	}
	if version == 5 {
		length++
	}
	b = append(b, publishPacket|qos<<1)
	b = appendLength(b, length)
	b = appendString(b, topic)
	id = len(b)
	if qos > 0 {
		b = append(b, 0, 0)
	}
	if version == 5 {
		b = append(b, 0)
	}
	body = len(b)
	return append(b, payload...), id, body
}

// A reader takes control packets from a stream, in place.
type reader struct {
	src        io.Reader
	buf        []byte
	start, end int // what is read and not yet taken
}

func newReader(src io.Reader) *reader { return &reader{src: src, buf: make([]byte, 64<<10)} }

// next returns the first byte and the body of the next packet, which holds
// until the next call.
func (r *reader) next() (kind byte, body []byte, err error) {
	for {
		kind, body, size := split(r.buf[r.start:r.end])
		if size > 0 {
			r.start += size
			return kind, body, nil
		}
		if size < 0 {
			return 0, nil, errMalformed
		}
		if err := r.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// buffered reports whether the next packet is there already.
func (r *reader) buffered() bool {
	_, _, size := split(r.buf[r.start:r.end])
	return size > 0
}

func (r *reader) fill() error {
	copy(r.buf, r.buf[r.start:r.end])
	r.start, r.end = 0, r.end-r.start
	if r.end == len(r.buf) {
		return fmt.Errorf("packet of more than %d bytes", len(r.buf))
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// split takes the first packet off b. Its size is 0 where b ends too early,
// and -1 where no packet starts like that.
func split(b []byte) (kind byte, body []byte, size int) {
	length := 0
	for i := 1; i <= 4; i++ {
		if i >= len(b) {
			return 0, nil, 0
		}
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			if len(b) < i+1+length {
				return 0, nil, 0
			}
			return b[0], b[i+1 : i+1+length], i + 1 + length
		}
	}
	return 0, nil, -1
}

// parsePuback returns the packet identifier and the reason code.
func parsePuback(body []byte) (id uint16, reason byte, err error) {
	if len(body) < 2 {
		return 0, 0, errMalformed
	}
	if len(body) > 2 {
		reason = body[2]
	}
	return binary.BigEndian.Uint16(body), reason, nil
}

// parseConnack returns the reason code, and how many publishes the broker
// takes before it has acknowledged them.
func parseConnack(body []byte, version byte) (reason byte, window int, err error) {
	if len(body) < 2 {
		return 0, 0, errMalformed
	}
	reason, window = body[1], 65535
	if version != 5 || len(body) == 2 {
		return reason, window, nil
	}
	length, n := binary.Uvarint(body[2:])
	if n <= 0 || length > uint64(len(body)-2-n) {
		return 0, 0, errMalformed
	}
	for p := body[2+n : 2+n+int(length)]; len(p) > 0; {
		size, err := propertySize(p)
		if err != nil {
			return 0, 0, err
		}
		if p[0] == receiveMaximum {
			window = int(binary.BigEndian.Uint16(p[1:]))
		}
		p = p[size:]
	}
	return reason, window, nil
}

// propertySize returns the size of the first property of p, one of those that
// a CONNACK may have (MQTT 5, section 3.2.2.3).
func propertySize(p []byte) (int, error) {
	size := 0
	switch p[0] {
	case 0x24, 0x25, 0x28, 0x29, 0x2a: // a byte
		size = 2
	case 0x13, receiveMaximum, 0x22: // two bytes
		size = 3
	case 0x11, 0x27: // four bytes
		size = 5
	case 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f: // a string or data
		if len(p) >= 3 {
			size = 3 + int(binary.BigEndian.Uint16(p[1:]))
		}
	case 0x26: // a pair of strings
		if len(p) >= 3 {
			key := 3 + int(binary.BigEndian.Uint16(p[1:]))
			if len(p) >= key+2 {
				size = key + 2 + int(binary.BigEndian.Uint16(p[key:]))
			}
		}
	}
	if size == 0 || size > len(p) {
		return 0, errMalformed
	}
	return size, nil
}
