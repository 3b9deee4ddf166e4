package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"
)

// connectLimit is the largest CONNECT taken, in bytes. Its five fields may have
// 64 KiB each, and a stranger must not make us hold more than they need.
const connectLimit = 512 << 10

const (
	// smallBuffer is what a client's read buffer has, in bytes, where one must be
	// there before anything comes: under TLS and WebSockets.
	smallBuffer = 512
	// sharedBuffer is the size of the buffers that clients share, for as long as
	// there is something in them. For a larger packet a buffer of its own grows
	// with what is really received, never with what the header announces.
	sharedBuffer = 16 << 10
)

// sharedBuffers has *[sharedBuffer]byte.
var sharedBuffers = sync.Pool{New: func() any { return new([sharedBuffer]byte) }}

var errNotMQTT = errors.New("the first packet is no CONNECT")

// frames collects what arrives and passes on whole packets only, so that nothing
// is allocated for bytes that were not sent.
type frames struct {
	buf    []byte
	shared *[sharedBuffer]byte // buf is in it, unless nil
	start  int                 // what is before has been passed on
	whole  int                 // whole packets end here

	v5 bool // the CONNECT said so

	// parting is the reason code of a DISCONNECT that has nothing else, which
	// the library does not read (MQTT 5, 3.14.2.2.1).
	parting byte
}

// next returns a whole packet, if any is ready. It is valid until space is
// called.
func (f *frames) next() []byte {
	size, _ := packetSize(f.buf[f.start:f.whole]) // received found it right
	packet := f.buf[f.start : f.start+size]
	f.start += size
	return packet
}

// ready reports whether next has something to give.
func (f *frames) ready() bool { return f.start < f.whole }

// space returns room for more bytes; received tells how many came.
func (f *frames) space() []byte {
	f.compact()
	if len(f.buf) == cap(f.buf) {
		grown := append(make([]byte, 0, max(smallBuffer, 2*cap(f.buf))), f.buf...)
		f.giveBack()
		f.buf = grown
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

// sharedSpace is space, in a shared buffer if that is large enough. rest must
// follow when nothing comes.
func (f *frames) sharedSpace() []byte {
	f.compact()
	if f.shared == nil && len(f.buf) < sharedBuffer {
		f.shared = sharedBuffers.Get().(*[sharedBuffer]byte)
		f.buf = append(f.shared[:0], f.buf...)
	}
	return f.space()
}

// rest gives a shared buffer back, and keeps what is in it of a packet.
func (f *frames) rest() {
	if f.shared != nil {
		f.compact()
		f.buf = bytes.Clone(f.buf)
		f.giveBack()
	}
}

// held is how much memory, in bytes, the beginning of a packet takes while the
// rest is waited for.
func (f *frames) held() int {
	if f.shared != nil {
		return len(f.buf) // see rest
	}
	return cap(f.buf)
}

func (f *frames) giveBack() {
	if f.shared != nil {
		sharedBuffers.Put(f.shared)
		f.shared = nil
	}
}

// compact drops what has been passed on, and a buffer that was needed for a
// large packet.
func (f *frames) compact() {
	if f.start == 0 {
		return
	}
	n := copy(f.buf, f.buf[f.start:])
	f.whole -= f.start
	f.start, f.buf = 0, f.buf[:n]
	if f.shared == nil && (n == 0 && cap(f.buf) > smallBuffer || n < smallBuffer && cap(f.buf) > sharedBuffer) {
		f.buf = bytes.Clone(f.buf)
	}
}

// received counts n new bytes in and finds the packets they complete. started
// tells whether the client's CONNECT has been seen; limit is the largest packet
// allowed. missing is how many bytes the last, incomplete packet lacks, as far
// as known.
func (f *frames) received(n int, started bool, limit int) (missing int, err error) {
	f.buf = f.buf[:len(f.buf)+n]
	for f.whole < len(f.buf) {
		rest := f.buf[f.whole:]
		if !started && f.whole == 0 && rest[0]>>4 != packets.Connect {
			return 0, errNotMQTT
		}
		size, err := packetSize(rest)
		if err != nil {
			return 0, err
		}
		if size > limit {
			return 0, packets.ErrPacketTooLarge
		}
		if size == 0 || size > len(rest) {
			return max(0, size-len(rest)), nil
		}
		if err := f.inspect(rest[:size]); err != nil {
			return 0, err
		}
		f.whole += size
	}
	return 0, nil
}

// inspect looks at what the library does not see, or not in time, in a packet.
func (f *frames) inspect(packet []byte) error {
	switch body := packetBody(packet); packet[0] >> 4 {
	case packets.Connect:
		f.v5 = protocolLevel(body) == 5
	case packets.Subscribe:
		if f.v5 && !wholeFilters(body) {
			return packets.ErrMalformedPacket
		}
	case packets.Disconnect:
		if len(body) == 1 {
			f.parting = body[0]
		}
	}
	return nil
}

// packetBody is what follows the fixed header of a whole packet.
func packetBody(packet []byte) []byte {
	at := 1
	for packet[at] >= 0x80 {
		at++
	}
	return packet[at+1:]
}

// protocolLevel is that of a CONNECT, or 0.
func protocolLevel(body []byte) byte {
	_, rest := cutString(body)
	if len(rest) == 0 {
		return 0
	}
	return rest[0]
}

// wholeFilters reports whether each filter of an MQTT 5 SUBSCRIBE is followed by
// options that there are (3.8.3.1). The library takes any, reads them past the end
// of the packet, and panics (packets.go:959 in v2.7.9).
func wholeFilters(body []byte) bool {
	if len(body) < 2 {
		return false
	}
	n, size := binary.Uvarint(body[2:]) // MQTT counts as varints do
	if size <= 0 || n > uint64(len(body)-2-size) {
		return false
	}
	const reserved, retainHandling = 0xC0, 0x30
	for rest := body[2+size+int(n):]; len(rest) > 0; rest = rest[1:] {
		if _, rest = cutString(rest); len(rest) == 0 || rest[0]&reserved != 0 || rest[0]&retainHandling == retainHandling {
			return false
		}
	}
	return true
}

// cutString splits a string off b; what is left is nil when b is too short.
func cutString(b []byte) (s, rest []byte) {
	if len(b) < 2 {
		return nil, nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil
	}
	return b[2:n], b[n:]
}

// packetSize reads the fixed header that b begins with and returns the length
// of the packet with its header, or 0 when the header is not complete yet.
func packetSize(b []byte) (int, error) {
	remaining := 0
	for i := 1; i < len(b); i++ {
		remaining |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return 1 + i + remaining, nil
		}
		if i == 4 { // MQTT 5, 1.5.5: at most four bytes
			return 0, packets.ErrMalformedVariableByteInteger
		}
	}
	return 0, nil
}
