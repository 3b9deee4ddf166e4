package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// sent counts whole packets that were written to a client, and returns how many
// of them are messages; v5 is its version of MQTT.
func (n *counters) sent(b []byte, v5 bool) (publishes int64) {
	var all, payload int64
	for len(b) > 0 {
		size, err := packetSize(b)
		if err != nil || size == 0 || size > len(b) {
			break
		}
		all++
		if b[0]>>4 == packets.Publish {
			publishes++
			payload += int64(payloadSize(b[:size], v5))
		}
		b = b[size:]
	}
	n.packetsOut.Add(all)
	if publishes > 0 {
		n.messagesOut.Add(publishes)
		n.payloadOut.Add(payload)
	}
	return publishes
}

// unacknowledged counts the PUBLISH packets of QoS 0 in b, which is whole packets.
func unacknowledged(b []byte) (n int64) {
	for len(b) > 0 {
		size, err := packetSize(b)
		if err != nil || size == 0 || size > len(b) {
			break
		}
		if b[0]>>4 == packets.Publish && b[0]&0x06 == 0 {
			n++
		}
		b = b[size:]
	}
	return n
}

// payloadSize is the length of a PUBLISH packet's payload, in bytes.
func payloadSize(packet []byte, v5 bool) int {
	at := 1
	for at < len(packet) && packet[at] >= 0x80 {
		at++
	}
	at++
	if at+2 > len(packet) {
		return 0
	}
	topic := int(binary.BigEndian.Uint16(packet[at:]))
	rest := len(packet) - at - 2 - topic
	if packet[0]&0x06 != 0 {
		rest -= 2 // the packet identifier
	}
	if v5 && rest > 0 {
		n, size := binary.Uvarint(packet[len(packet)-rest:]) // MQTT counts as varints do
		rest -= size + int(n)
	}
	return max(0, rest)
}
