package broker

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// begun is the beginning of a packet that has size bytes in all.
func begun(size int) []byte {
	whole := mqtttest.Message{Topic: "a", Payload: strings.Repeat("x", size)}.Encode(false)
	return whole[:size-100]
}

func TestWhatManyHaveHalfSentIsBounded(t *testing.T) {
	g := start(t)
	const clients, size = 200, 1_900_000
	honest := g.dial(mqtttest.Options{ID: "honest"})
	before := heap()
	var stalled []*mqtttest.Client
	for i := range clients {
		c := g.dial(mqtttest.Options{ID: fmt.Sprint("stalled", i)})
		_, _ = c.Write(begun(size)) // it may be closed half way
		stalled = append(stalled, c)
		if i%10 == 0 { // others go on
			large := mqtttest.Message{Topic: "a", QoS: 1, ID: uint16(i + 1), Payload: strings.Repeat("x", size)}.Encode(false)
			honest.Send(large[:size/2])
			honest.Send(large[size/2:])
			honest.Acked(mqtttest.PUBACK, uint16(i+1))
		}
	}
	closed := int64(0)
	eventually(t, "all was read", func() bool {
		closed = g.Stats().Squeezed
		g.count.partials.mu.Lock()
		defer g.count.partials.mu.Unlock()
		for _, p := range g.count.partials.of {
			if p.bytes < size-100 {
				return false
			}
		}
		return int64(len(g.count.partials.of)) == clients-closed
	})
	if closed < clients-partialBytes/size {
		t.Errorf("%d were closed", closed)
	}
	if grown := heap() - before; grown > partialBytes*5/4 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	g.counts(closed, "packets that are not complete", func(s Stats) int64 { return s.Squeezed })
	runtime.KeepAlive(stalled)
}

func TestStrangersAreClosedBeforeClientsForWhatTheyHalfSent(t *testing.T) {
	g := start(t)
	client := g.dial(mqtttest.Options{ID: "client"})
	large := mqtttest.Message{Topic: "a", QoS: 1, ID: 1, Payload: strings.Repeat("x", 1_900_000)}.Encode(false)
	client.Send(large[:1_800_000])
	connect := append([]byte{0x10, 0x80, 0xE0, 0x1F}, make([]byte, 500_000)...) // of 520,192 bytes
	var strangers []*mqtttest.Client
	read := func() int64 { return g.Stats().BytesIn }
	eventually(t, "the client's part is read", func() bool { return read() >= 1_800_000 })
	for g.Stats().Squeezed == 0 {
		before := read()
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		_, _ = c.Write(connect) // it may be closed half way
		strangers = append(strangers, c)
		eventually(t, "it is read", func() bool { return read() >= before+int64(len(connect)) || g.Stats().Squeezed > 0 })
		if len(strangers) > 2*partialBytes/len(connect) {
			t.Fatalf("%d strangers have the broker keep what they send", len(strangers))
		}
	}
	client.Send(large[1_800_000:])
	client.Acked(mqtttest.PUBACK, 1)
}

func TestHandshakesCountAsHalfSent(t *testing.T) {
	p := newPKI(t)
	g := start(t, anonymous, p.serve)
	// A handshake message of 60,000 bytes (RFC 8446, 5.1).
	c := mqtttest.Open(t, g.addr, mqtttest.Options{})
	c.Send(append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xEA, 0x60}, make([]byte, 0x3FFC)...))
	sum := func() int {
		g.count.partials.mu.Lock()
		defer g.count.partials.mu.Unlock()
		return g.count.partials.bytes
	}
	eventually(t, "it is counted", func() bool { return sum() > 0x4000 })
	_ = c.Close()
	eventually(t, "it is over", func() bool { return sum() == 0 })
}

func TestABufferShrinksWhenItsPacketIsTaken(t *testing.T) {
	var f frames
	for _, part := range [][]byte{{0x30, 0x80, 0x80, 0x04}, make([]byte, 65_536), {0x30, 0x80, 0x80}} {
		for len(part) > 0 {
			n := copy(f.space(), part)
			part = part[n:]
			if _, err := f.received(n, true, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	if f.next(); !bytes.Equal(f.buf[f.whole:], []byte{0x30, 0x80, 0x80}) {
		t.Fatalf("%d bytes are left", len(f.buf)-f.whole)
	}
	if f.compact(); f.held() > smallBuffer {
		t.Errorf("3 bytes are kept in %d", f.held())
	}
}
