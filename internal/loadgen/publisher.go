package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

const (
	maxBatch  = 128       // publishes in one write
	idsPerOne = 4         // packet identifiers for each place in the window, for late acknowledgements
	maxWindow = 65535 / 4 // there are 65,535 identifiers
	digits    = 10        // of the running number
)

// A publisher is one connection's part of a load: one goroutine writes, one
// reads the acknowledgements.
type publisher struct {
	load   *Load
	index  int // of Load.Connections
	conn   *Conn
	window int
	start  time.Time

	templates []template
	share     int // results to send

	sent, acked atomic.Int64
	wake        chan struct{}  // says that acked has grown
	sentAt      []atomic.Int64 // by packet identifier - 1: nanoseconds since start; 0 is free

	latency Histogram // the reading goroutine's
	refused int
}

// A template is a whole PUBLISH, but for its identifier and its number.
type template struct {
	packet     []byte
	id, number int
}

func newPublisher(l *Load, index int, conn *Conn) *publisher {
	p := &publisher{
		load: l, index: index, conn: conn,
		share: math.MaxInt,
		wake:  make(chan struct{}, 1),
	}
	if l.Count > 0 {
		p.share = (l.Count - index + l.Connections - 1) / l.Connections
	}
	if l.QoS > 0 {
		p.window = min(l.Window, conn.window)
		p.sentAt = make([]atomic.Int64, idsPerOne*p.window)
	}
	objects := l.Hosts * l.Services
	for o := index % objects; o < objects; o += l.Connections {
		topic := fmt.Sprintf("%s/h%04d/s%03d", l.Root, o/l.Services, o%l.Services)
		p.templates = append(p.templates, newTemplate(l, topic))
	}
	return p
}

// What is before and after the running number in a payload.
const payloadHead, payloadTail = `{"exit_code":0,"reason":"PROC OK: 87 processes, number `, `","perfdata":"procs=87;200;300;0;"}`

func newTemplate(l *Load, topic string) template {
	payload := fmt.Appendf(nil, "%s%0*d%s", payloadHead, digits, 0, payloadTail)
	packet, id, body := appendPublish(nil, l.Version, l.QoS, topic, payload)
	return template{packet: packet, id: id, number: body + len(payloadHead)}
}

// run publishes the share and returns when all of it is acknowledged.
func (p *publisher) run(ctx context.Context, start time.Time) error {
	p.start = start
	ctx, cancel := context.WithCancelCause(ctx)
	release := p.conn.bound(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(p.read()) // also ends a writer that waits
	}()
	err := p.write(ctx)
	release()
	_ = p.conn.Disconnect() // all is acknowledged, or err says why not
	<-done
	if err != nil {
		return fmt.Errorf("%s%d: %w", p.load.Client, p.index, err)
	}
	return nil
}

func (p *publisher) write(ctx context.Context) error {
	var buf []byte
	sent := 0
	for sent < p.share && !p.over(sent) {
		n, wait := p.room(sent)
		if n == 0 {
			if err := p.pause(ctx, wait); err != nil {
				return err
			}
			continue
		}
		buf = buf[:0]
		for range n {
			buf = p.append(buf, sent)
			sent++
		}
		p.sent.Store(int64(sent))
		if _, err := p.conn.Write(buf); err != nil {
			return p.cause(ctx, err)
		}
	}
	return p.settle(ctx)
}

// over reports whether the load's duration has passed, or will have when the
// k-th result is due.
func (p *publisher) over(k int) bool {
	d := p.load.Duration
	return d > 0 && (time.Since(p.start) >= d || p.due(k) >= d)
}

// room returns how many publishes may go out now, and where none may, how
// long until the next one is due; 0 is until an acknowledgement.
func (p *publisher) room(sent int) (n int, wait time.Duration) {
	n = min(maxBatch, p.share-sent)
	if p.load.Rate > 0 {
		since := time.Since(p.start)
		if wait = p.due(sent) - since; wait > 0 {
			return 0, wait
		}
		for n > 1 && p.due(sent+n-1) > since {
			n--
		}
	}
	if p.load.QoS == 0 {
		return n, 0
	}
	n = min(n, p.window-(sent-int(p.acked.Load())))
	for i := range n {
		if p.sentAt[(sent+i)%len(p.sentAt)].Load() != 0 {
			return i, 0
		}
	}
	return n, 0
}

// due returns when the k-th result has its turn; without a rate that is at once.
func (p *publisher) due(k int) time.Duration {
	return p.load.turn(k*p.load.Connections + p.index)
}

// turn returns when the n-th result of all has its turn.
func (l *Load) turn(n int) time.Duration {
	if l.Rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / float64(l.Rate) * float64(time.Second))
}

// pause returns when there may be room again: after wait, unless that is 0, or
// an acknowledgement.
func (p *publisher) pause(ctx context.Context, wait time.Duration) error {
	var due <-chan time.Time
	if wait > 0 {
		due = time.After(wait)
	}
	select {
	case <-p.wake:
	case <-due:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// append appends the k-th publish of this connection.
func (p *publisher) append(buf []byte, k int) []byte {
	t := p.templates[k%len(p.templates)]
	at := len(buf)
	buf = append(buf, t.packet...)
	number := p.load.First + k*p.load.Connections + p.index
	for i := digits - 1; i >= 0; i-- {
		buf[at+t.number+i] = byte('0' + number%10)
		number /= 10
	}
	if p.load.QoS == 0 {
		return buf
	}
	sentAt := time.Since(p.start)
	if p.load.Rate > 0 {
		sentAt = p.due(k)
	}
	slot := k % len(p.sentAt)
	p.sentAt[slot].Store(int64(sentAt) + 1)
	binary.BigEndian.PutUint16(buf[at+t.id:], uint16(slot+1))
	return buf
}

// settle waits until everything sent is acknowledged.
func (p *publisher) settle(ctx context.Context) error {
	if p.load.QoS == 0 { // its answer says that all before it was read
		if _, err := p.conn.Write([]byte{pingreqPacket, 0}); err != nil {
			return p.cause(ctx, err)
		}
	}
	for p.acked.Load() < p.sent.Load() {
		if err := p.pause(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// cause prefers why ctx ended to the error that followed from it.
func (p *publisher) cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// read counts acknowledgements until the connection ends.
func (p *publisher) read() error {
	acks := int64(0)
	for {
		kind, body, err := p.conn.reader.next()
		if err != nil {
			return err
		}
		switch kind {
		case pubackPacket:
			if err := p.acknowledge(body); err != nil {
				return err
			}
			acks++
		case pingrespPacket:
			acks = p.sent.Load()
		default:
			return unexpected(kind, body)
		}
		if !p.conn.reader.buffered() {
			p.acked.Add(acks)
			acks = 0
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
	}
}

func (p *publisher) acknowledge(body []byte) error {
	id, reason, err := parsePuback(body)
	if err != nil {
		return err
	}
	if id == 0 || int(id) > len(p.sentAt) {
		return fmt.Errorf("packet %d acknowledged, which was never sent", id)
	}
	sentAt := p.sentAt[id-1].Swap(0)
	if sentAt == 0 {
		return errors.New("packet acknowledged twice")
	}
	p.latency.Add(time.Since(p.start) - time.Duration(sentAt-1))
	if reason >= failed {
		p.refused++
	}
	return nil
}
