package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
)

const (
	// window is how many publishes a publisher has under way. Each has at least
	// as many objects, so that of one object at most one is.
	window = 50
	// pace and burst bound a publisher to 2,000 results a second.
	pace  = 10 * time.Millisecond
	burst = 20
)

// A stream is publishers that send numbered results for objects, each object's
// 1, 2, 3, ... from one of them. Whenever their connection ends they come back
// and send what is unacknowledged again, marked DUP, as any MQTT client with a
// store does.
type stream struct {
	addr string
	t    *testing.T

	mu     sync.Mutex
	sent   map[checks.Object]int // the last number of each object
	acked  int
	resent int
	ending bool

	publishers sync.WaitGroup
}

// startStream publishes results for the objects until finish. sent holds the
// last number of each object, and follows the stream.
func startStream(t *testing.T, addr string, objects []checks.Object, sent map[checks.Object]int) *stream {
	t.Helper()
	return startStreamOf(t, ways, addr, objects, sent)
}

// startStreamOf is startStream with publishers that speak MQTT in these ways, in
// turn.
func startStreamOf(t *testing.T, ways []way, addr string, objects []checks.Object, sent map[checks.Object]int) *stream {
	t.Helper()
	s := &stream{addr: addr, t: t, sent: sent}
	i := 0
	for share := range slices.Chunk(objects, window) {
		if len(share) < window {
			t.Fatalf("%d objects are no multiple of %d", len(objects), window)
		}
		p := &publisher{stream: s, way: ways[i%len(ways)], id: fmt.Sprintf("load%d", i), objects: share}
		s.publishers.Go(p.run)
		i++
	}
	t.Cleanup(s.finish)
	return s
}

// finish makes the publishers stop once all they sent is acknowledged, or the
// test is over.
func (s *stream) finish() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.publishers.Wait()
}

func (s *stream) acknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// more waits until so many results more are acknowledged.
func (s *stream) more(n int) {
	s.t.Helper()
	want := s.acknowledged() + n
	waitFor(s.t, fmt.Sprintf("%d more acknowledgements", n), func() bool { return s.acknowledged() >= want })
}

// numberedObjects are what realtest monitors as so many hosts and services.
func numberedObjects(hosts, services int) (objects []checks.Object) {
	for h := range hosts {
		host := fmt.Sprintf("h%04d", h)
		objects = append(objects, checks.Object{Host: host})
		for s := range services {
			objects = append(objects, checks.Object{Host: host, Service: fmt.Sprintf("s%03d", s)})
		}
	}
	return objects
}

// numberedPayload is the n-th result of an object.
func numberedPayload(n int) string {
	return fmt.Sprintf(`{"exit_code":%d,"reason":"number %d"}`, n%2, n)
}

// A way is how a publisher speaks MQTT.
type way struct {
	v5  bool
	qos byte
}

// ways are those of a stream's publishers, in turn.
var ways = []way{{true, 1}, {false, 2}, {false, 1}, {true, 2}}

// A publisher is one client of a stream.
type publisher struct {
	way
	stream  *stream
	id      string
	objects []checks.Object
	count   int // publishes begun

	mu        sync.Mutex
	inflight  []mqtttest.Message // unacknowledged, in order
	releasing []uint16           // packets of QoS 2 acknowledged, not completed
}

func (p *publisher) run() {
	for !p.over() {
		var d net.Dialer
		nc, err := d.DialContext(p.stream.t.Context(), "tcp", p.stream.addr)
		if err != nil {
			time.Sleep(pace) // as a client waits before it tries again
			continue
		}
		p.converse(nc)
	}
}

// over reports whether nothing is left to do.
func (p *publisher) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream.t.Context().Err() != nil || p.ending() && len(p.inflight) == 0 && len(p.releasing) == 0
}

func (p *publisher) ending() bool {
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	return p.stream.ending
}

// converse publishes over one connection until it breaks or all is done.
func (p *publisher) converse(nc net.Conn) {
	broken := make(chan struct{})
	go func() {
		defer close(broken)
		p.read(nc)
	}()
	defer func() {
		nc.Close()
		<-broken
	}()
	if _, err := nc.Write(mqtttest.Options{ID: p.id, V5: p.v5, Persistent: true}.Encode()); err != nil {
		return
	}
	if _, err := nc.Write(p.again()); err != nil {
		return
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for !p.over() {
		select {
		case <-broken:
			return
		case <-tick.C:
		}
		if _, err := nc.Write(p.next()); err != nil {
			return
		}
	}
}

// again is what is unacknowledged, to be sent on a new connection.
func (p *publisher) again() (packets []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.inflight {
		m.Dup = true
		packets = append(packets, m.Encode(p.v5)...)
	}
	for _, id := range p.releasing {
		packets = append(packets, pubrel(id)...)
	}
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.stream.resent += len(p.inflight)
	return packets
}

// next is as many new publishes as the pace and the window allow.
func (p *publisher) next() (packets []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	for i := 0; i < burst && len(p.inflight)+len(p.releasing) < window && !p.stream.ending; i++ {
		o := p.objects[p.count%len(p.objects)]
		p.stream.sent[o]++
		m := mqtttest.Message{
			Topic:   o.Topic("nagios"),
			Payload: numberedPayload(p.stream.sent[o]),
			QoS:     p.qos,
			ID:      uint16(1 + p.count%(2*window)),
		}
		p.count++
		p.inflight = append(p.inflight, m)
		packets = append(packets, m.Encode(p.v5)...)
	}
	return packets
}

// read takes acknowledgements until the connection ends.
func (p *publisher) read(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	for {
		header, err := r.ReadByte()
		if err != nil {
			return
		}
		length, err := binary.ReadUvarint(r)
		if err != nil {
			return
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if _, err := nc.Write(p.take(mqtttest.Packet{Header: header, Body: body})); err != nil {
			return
		}
	}
}

// take notes an acknowledgement, which must be of the oldest publish and not a
// refusal, and returns what to answer.
func (p *publisher) take(ack mqtttest.Packet) (answer []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ack.Type() {
	case mqtttest.PUBACK, mqtttest.PUBREC:
	case mqtttest.PUBCOMP:
		p.releasing = slices.DeleteFunc(p.releasing, func(id uint16) bool { return id == ack.ID() })
		return nil
	default:
		return nil
	}
	if len(p.inflight) == 0 || p.inflight[0].ID != ack.ID() {
		p.stream.t.Errorf("%s: packet %d acknowledged out of turn", p.id, ack.ID())
		return nil
	}
	if ack.Code() >= 0x80 {
		p.stream.t.Errorf("%s: %s refused: %#x %s", p.id, p.inflight[0].Topic, ack.Code(), ack.Reason())
	}
	p.inflight = p.inflight[1:]
	p.stream.mu.Lock()
	defer p.stream.mu.Unlock()
	p.stream.acked++
	if ack.Type() == mqtttest.PUBACK {
		return nil
	}
	p.releasing = append(p.releasing, ack.ID())
	return pubrel(ack.ID())
}

func pubrel(id uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{mqtttest.PUBREL<<4 | 2, 2}, id)
}
