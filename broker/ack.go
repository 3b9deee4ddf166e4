package broker

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"checkbus/checks"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxReasonString is the longest reason string sent, in bytes.
const maxReasonString = 1024

// An answer is what a publisher is told.
type answer struct {
	code   byte   // MQTT 5 reason code
	reason string // its reason string
	taken  bool   // the message goes on to subscribers
	hangUp bool   // the connection ends instead, so that the client sends again
}

// answerTo turns accept's verdict into an answer. MQTT 3.1.1 knows no refusal:
// what will never be taken is acknowledged and dropped, as Mosquitto does, and
// what may be taken later is not acknowledged.
func answerTo(err error, version byte) answer {
	if err == nil {
		return answer{taken: true}
	}
	a := answer{reason: err.Error()}
	final := true
	switch {
	case errors.Is(err, checks.ErrPartial):
		a.taken = true
	case errors.Is(err, checks.ErrDenied):
		a.code = packets.ErrNotAuthorized.Code
	case errors.Is(err, checks.ErrUnknownObject):
		a.code = packets.ErrTopicNameInvalid.Code
	case errors.Is(err, checks.ErrInvalid):
		a.code = packets.ErrPayloadFormatInvalid.Code
	case errors.Is(err, checks.ErrRejected):
		a.code = packets.ErrImplementationSpecificError.Code
	case errors.Is(err, checks.ErrFull):
		a.code, final = packets.ErrQuotaExceeded.Code, false
	default:
		a.code, final = packets.ErrUnspecifiedError.Code, false
	}
	a.hangUp = !final && version < 5
	return a
}

// append adds the PUBACK or PUBREC to b.
func (a answer) append(b []byte, qos byte, id uint16, to *conn) []byte {
	kind := packets.Puback
	if qos == 2 {
		kind = packets.Pubrec
	}
	if to.version < 5 {
		return appendAck(b, kind, id, 0, "")
	}
	reason := ""
	if to.problemInfo {
		reason = cutReason(a.reason, to.maxOut)
	}
	return appendAck(b, kind, id, a.code, reason)
}

// appendAck encodes a PUBACK, PUBREC, PUBREL or PUBCOMP. The short form, without code
// and reason, is the same in all versions of MQTT.
func appendAck(b []byte, kind byte, id uint16, code byte, reason string) []byte {
	header := kind << 4
	if kind == packets.Pubrel {
		header |= 2 // MQTT 5, 3.6.1
	}
	switch {
	case code == 0 && reason == "":
		b = append(b, header, 2)
		return binary.BigEndian.AppendUint16(b, id)
	case reason == "":
		b = append(b, header, 3)
		b = binary.BigEndian.AppendUint16(b, id)
		return append(b, code)
	}
	properties := 3 + len(reason)
	length := binary.AppendUvarint(nil, uint64(properties)) // MQTT counts as varints do
	b = append(b, header)
	b = binary.AppendUvarint(b, uint64(3+len(length)+properties))
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(b, code)
	b = append(b, length...)
	b = append(b, packets.PropReasonString)
	b = binary.BigEndian.AppendUint16(b, uint16(len(reason)))
	return append(b, reason...)
}

// ackOverhead is the most an acknowledgement has beside its reason string.
const ackOverhead = 13

// cutReason makes s fit for a reason string to a client that takes packets of
// up to maxOut bytes; 0 is any.
func cutReason(s string, maxOut uint32) string {
	limit := maxReasonString
	if maxOut > 0 {
		limit = min(limit, int(maxOut)-ackOverhead)
	}
	if limit <= 0 {
		return ""
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
