package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A window keeps a client's Receive Maximum (MQTT 5, 4.9): no more deliveries
// of QoS 1 and 2 than it allows are unacknowledged, the others wait in order.
// The library's own send quota leaks until nothing is delivered any more
// (server.go:720 in v2.7.9) and is switched off.
type window struct {
	size  int
	out   map[uint16]struct{} // sent, not acknowledged
	held  [][]byte            // PUBLISH packets that wait
	bytes int                 // in held
}

func newWindow(size uint16) *window {
	return &window{size: int(size), out: map[uint16]struct{}{}}
}

// admit returns what of b, which is whole packets, may be sent now, and keeps
// the rest.
func (w *window) admit(b []byte) []byte {
	var ready []byte
	for rest := b; len(rest) > 0; {
		size, err := packetSize(rest)
		if err != nil || size == 0 || size > len(rest) {
			return append(ready, rest...)
		}
		packet := rest[:size]
		rest = rest[size:]
		id, counts := deliveryID(packet)
		switch {
		case !counts:
			ready = append(ready, packet...)
		case len(w.out) < w.size:
			w.out[id] = struct{}{}
			ready = append(ready, packet...)
		default:
			w.held = append(w.held, append([]byte(nil), packet...))
			w.bytes += len(packet)
		}
	}
	return ready
}

// acked frees the place of a delivery and returns what may be sent instead.
func (w *window) acked(id uint16) []byte {
	delete(w.out, id)
	var ready []byte
	for len(w.held) > 0 && len(w.out) < w.size {
		packet := w.held[0]
		w.held[0] = nil
		w.held = w.held[1:]
		w.bytes -= len(packet)
		next, _ := deliveryID(packet)
		w.out[next] = struct{}{}
		ready = append(ready, packet...)
	}
	return ready
}

// deliveryID returns the packet identifier of a PUBLISH with QoS 1 or 2.
func deliveryID(packet []byte) (id uint16, ok bool) {
	if packet[0]>>4 != packets.Publish || packet[0]&0x06 == 0 {
		return 0, false
	}
	_, rest := cutString(packetBody(packet))
	if len(rest) < 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(rest), true
}
