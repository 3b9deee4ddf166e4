package loadgen

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// stall is how long a receiver waits for the next message before what is
// missing counts as lost.
const stall = 3 * time.Second

// A receiver is the subscriber of a load: it counts what arrives, and
// acknowledges it.
type receiver struct {
	load *Load
	conn *Conn
	root []byte // what topics of the load begin with

	start    time.Time
	received atomic.Int64
	arrived  atomic.Int64 // when the last one did: nanoseconds since start

	delivery Histogram // the reading goroutine's, until done
	done     chan struct{}
	err      error
}

// subscribe connects a receiver; nil is none.
func (l *Load) subscribe(ctx context.Context) (*receiver, error) {
	if l.Subscribe == "" {
		return nil, nil
	}
	conn, err := Dial(ctx, l.Addr, Options{Client: l.Client + "-subscriber", Version: l.Version})
	if err != nil {
		return nil, err
	}
	release := conn.bound(ctx)
	defer release()
	if err := conn.subscribe(l.Subscribe, l.QoS); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to %s: %w", l.Subscribe, err)
	}
	return &receiver{load: l, conn: conn, root: []byte(l.Root + "/"), done: make(chan struct{})}, nil
}

// begin starts to receive. end must follow.
func (r *receiver) begin(start time.Time) {
	r.start = start
	go func() {
		defer close(r.done)
		r.err = r.read()
	}()
}

// read counts until the connection ends.
func (r *receiver) read() error {
	var acks []byte
	for {
		kind, body, err := r.conn.reader.next()
		if err != nil {
			return err
		}
		if kind&0xf0 == publishPacket {
			acks, err = r.take(kind, body, acks)
			if err != nil {
				return err
			}
		}
		if !r.conn.reader.buffered() && len(acks) > 0 {
			if _, err := r.conn.Write(acks); err != nil {
				return err
			}
			acks = acks[:0]
		}
	}
}

// take counts a message of this load, and adds its acknowledgement to acks.
func (r *receiver) take(kind byte, body, acks []byte) ([]byte, error) {
	topic, rest, err := cutString(body)
	if err != nil {
		return acks, err
	}
	if kind&0x06 != 0 {
		if len(rest) < 2 {
			return acks, errMalformed
		}
		acks = append(acks, pubackPacket, 2, rest[0], rest[1])
		rest = rest[2:]
	}
	if !bytes.HasPrefix(topic, r.root) {
		return acks, nil
	}
	since := time.Since(r.start)
	if r.load.Rate > 0 {
		if r.load.Version == 5 { // no properties, which is a byte
			rest = rest[min(1, len(rest)):]
		}
		number, err := numberOf(rest)
		if err != nil {
			return acks, err
		}
		r.delivery.Add(since - r.load.turn(number-r.load.First))
	}
	r.arrived.Store(int64(since))
	r.received.Add(1)
	return acks, nil
}

// await returns when sent messages have arrived, or no more do.
func (r *receiver) await(ctx context.Context, sent int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.received.Load() < int64(sent) {
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if time.Since(r.start)-time.Duration(r.arrived.Load()) > stall {
			return nil
		}
	}
	return nil
}

// end closes the connection and waits for the reading goroutine.
func (r *receiver) end() {
	_ = r.conn.Disconnect() // all is received, or the report says what is not
	<-r.done
}

// numberOf reads the running number in a payload.
func numberOf(payload []byte) (int, error) {
	if len(payload) < len(payloadHead)+digits {
		return 0, errMalformed
	}
	number := 0
	for _, digit := range payload[len(payloadHead):][:digits] {
		if digit < '0' || digit > '9' {
			return 0, errMalformed
		}
		number = 10*number + int(digit-'0')
	}
	return number, nil
}

// subscribe subscribes to filter and returns when the broker has granted it.
func (c *Conn) subscribe(filter string, qos byte) error {
	if _, err := c.Write(appendSubscribe(nil, c.version, qos, filter)); err != nil {
		return err
	}
	for {
		kind, body, err := c.reader.next()
		switch {
		case err != nil:
			return err
		case kind&0xf0 == publishPacket: // a retained message
		case kind != subackPacket:
			return unexpected(kind, body)
		case len(body) == 0 || body[len(body)-1] >= failed:
			return errors.New("refused")
		default:
			return nil
		}
	}
}

// appendSubscribe appends a SUBSCRIBE to one filter.
func appendSubscribe(b []byte, version, qos byte, filter string) []byte {
	body := []byte{0, 1}
	if version == 5 {
		body = append(body, 0)
	}
	body = append(appendString(body, filter), qos)
	b = append(b, subscribePacket)
	return append(appendLength(b, len(body)), body...)
}

// cutString splits a string off b.
func cutString(b []byte) (s, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errMalformed
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if n > len(b) {
		return nil, nil, errMalformed
	}
	return b[2:n], b[n:], nil
}
