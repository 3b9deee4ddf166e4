package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A message is one PUBLISH, sent or received.
type message struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool      // received: it is a retained one
	at      time.Time // received: when
}

// A client speaks MQTT 3.1.1 or 5 with a broker over a connection that stands
// already, one step at a time: it is no session manager, and never reconnects.
// The packets themselves are encoded and decoded by the MQTT library.
type client struct {
	conn      net.Conn
	version   byte // protocol level: 4 or 5
	trace     *trace
	onMessage func(message) // called for every PUBLISH that comes in
	deadline  time.Time     // of every write; zero for none

	inbox   chan arrival
	readErr error // why the inbox was closed
	quit    chan struct{}
	reader  sync.WaitGroup

	maxQoS    byte
	maxPacket int // bytes; 0 for no bound
	keepalive time.Duration
	ping      *time.Timer
	pinged    bool // a PINGREQ waits for its answer
	lastID    uint16
}

// An arrival is a packet and when it came.
type arrival struct {
	packets.Packet
	at time.Time
}

var errNoPong = errors.New("the broker did not answer a PINGREQ within the keep-alive time")

// newClient begins to read from conn. No write to conn outlasts ctx.
func newClient(ctx context.Context, conn net.Conn, version byte, tr *trace) *client {
	c := &client{
		conn:      conn,
		version:   version,
		maxQoS:    2,
		trace:     tr,
		onMessage: func(message) {},
		inbox:     make(chan arrival),
		quit:      make(chan struct{}),
		ping:      time.NewTimer(0),
	}
	c.ping.Stop()
	c.deadline, _ = ctx.Deadline()
	c.reader.Go(c.read)
	return c
}

// read hands packets to the inbox until the connection ends.
func (c *client) read() {
	defer close(c.inbox)
	in := bufio.NewReader(c.conn)
	for {
		pk, err := readPacket(in, c.version)
		if err != nil {
			c.readErr = err
			return
		}
		select {
		case c.inbox <- arrival{pk, time.Now()}:
		case <-c.quit:
			return
		}
	}
}

// connect sends a CONNECT and waits for the answer.
func (c *client) connect(ctx context.Context, connect packets.ConnectParams, props packets.Properties) error {
	pk := packets.Packet{Connect: connect, Properties: props}
	pk.FixedHeader.Type = packets.Connect
	if err := c.send(pk); err != nil {
		return err
	}
	var ack packets.Packet
	if err := c.await(ctx, first(packets.Connack, 0, &ack)); err != nil {
		return err
	}
	if ack.ReasonCode != 0 {
		return newRefusal("CONNECT", ack.ProtocolVersion, ack.ReasonCode, ack.Properties.ReasonString)
	}
	if ack.Properties.MaximumQosFlag {
		c.maxQoS = ack.Properties.MaximumQos
	}
	c.maxPacket = int(ack.Properties.MaximumPacketSize)
	c.keepalive = time.Duration(connect.Keepalive) * time.Second
	if ack.Properties.ServerKeepAliveFlag {
		c.keepalive = time.Duration(ack.Properties.ServerKeepAlive) * time.Second
	}
	c.restPing()
	return nil
}

// subscribe waits until the broker grants every filter, or returns the refusal
// of the first that it does not.
func (c *client) subscribe(ctx context.Context, qos byte, filters ...string) error {
	pk := packets.Packet{PacketID: c.nextID()}
	pk.FixedHeader.Type, pk.FixedHeader.Qos = packets.Subscribe, 1
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: qos})
	}
	if err := c.send(pk); err != nil {
		return err
	}
	var ack packets.Packet
	if err := c.await(ctx, first(packets.Suback, pk.PacketID, &ack)); err != nil {
		return err
	}
	if len(ack.ReasonCodes) != len(filters) {
		return fmt.Errorf("%w: SUBACK with %d codes for %d filters", errMalformed, len(ack.ReasonCodes), len(filters))
	}
	for i, code := range ack.ReasonCodes {
		if code >= 0x80 {
			return newRefusal(fmt.Sprintf("SUBSCRIBE to %q", filters[i]), c.version, code, ack.Properties.ReasonString)
		}
	}
	return nil
}

// publish sends m and, for QoS 1 and 2, waits until the broker has it.
func (c *client) publish(ctx context.Context, m message) error {
	if m.qos > c.maxQoS { // MQTT 5, section 3.2.2.3.4
		return fmt.Errorf("the broker takes no QoS above %d", c.maxQoS)
	}
	pk := packets.Packet{TopicName: m.topic, Payload: m.payload}
	pk.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: m.qos, Retain: m.retain}
	if m.qos == 0 {
		return c.send(pk)
	}
	pk.PacketID = c.nextID()
	if err := c.send(pk); err != nil {
		return err
	}
	if m.qos == 1 {
		return c.acknowledged(ctx, m.topic, packets.Puback, pk.PacketID)
	}
	if err := c.acknowledged(ctx, m.topic, packets.Pubrec, pk.PacketID); err != nil {
		return err
	}
	if err := c.answer(packets.Pubrel, 1, pk.PacketID); err != nil {
		return err
	}
	return c.acknowledged(ctx, m.topic, packets.Pubcomp, pk.PacketID)
}

// acknowledged waits for the acknowledgement of a publish.
func (c *client) acknowledged(ctx context.Context, topic string, kind byte, id uint16) error {
	var ack packets.Packet
	if err := c.await(ctx, first(kind, id, &ack)); err != nil {
		return err
	}
	if ack.ReasonCode >= 0x80 {
		return newRefusal(fmt.Sprintf("PUBLISH to %q", topic), c.version, ack.ReasonCode, ack.Properties.ReasonString)
	}
	return nil
}

// listen takes messages until enough says so or ctx ends; neither is an error.
func (c *client) listen(ctx context.Context, enough func() bool) error {
	if enough() {
		return nil
	}
	err := c.await(ctx, func(packets.Packet) bool { return enough() })
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// first is a condition for await: the packet of that kind and id, kept in pk.
func first(kind byte, id uint16, pk *packets.Packet) func(packets.Packet) bool {
	return func(p packets.Packet) bool {
		if p.FixedHeader.Type != kind || p.PacketID != id {
			return false
		}
		*pk = p
		return true
	}
}

// await takes what comes in until done says so of a packet. It returns ctx's
// error when ctx ends first.
func (c *client) await(ctx context.Context, done func(packets.Packet) bool) error {
	for {
		select {
		case a, ok := <-c.inbox:
			if !ok {
				return c.readErr
			}
			if err := c.take(a); err != nil {
				return err
			}
			if done(a.Packet) {
				return nil
			}
		case <-c.ping.C:
			if err := c.sendPing(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take acts on one packet as the protocol asks.
func (c *client) take(a arrival) error {
	c.trace.received(a.Packet)
	switch a.FixedHeader.Type {
	case packets.Publish:
		c.onMessage(message{topic: a.TopicName, payload: a.Payload, qos: a.FixedHeader.Qos, retain: a.FixedHeader.Retain, at: a.at})
		switch a.FixedHeader.Qos {
		case 1:
			return c.answer(packets.Puback, 0, a.PacketID)
		case 2:
			return c.answer(packets.Pubrec, 0, a.PacketID)
		}
	case packets.Pubrel:
		return c.answer(packets.Pubcomp, 0, a.PacketID)
	case packets.Pingresp:
		c.pinged = false
	case packets.Disconnect:
		return newRefusal("", c.version, a.ReasonCode, a.Properties.ReasonString)
	}
	return nil
}

// answer sends a packet that is nothing but an acknowledgement.
func (c *client) answer(kind, qos byte, id uint16) error {
	pk := packets.Packet{PacketID: id}
	pk.FixedHeader.Type, pk.FixedHeader.Qos = kind, qos
	return c.send(pk)
}

func (c *client) send(pk packets.Packet) error {
	pk.ProtocolVersion = c.version
	data, err := encode(&pk)
	if err != nil {
		return err
	}
	if c.maxPacket > 0 && len(data) > c.maxPacket { // MQTT 5, section 3.2.2.3.6
		return fmt.Errorf("a packet of %d bytes, and the broker takes no more than %d", len(data), c.maxPacket)
	}
	c.trace.sent(pk)
	c.restPing()
	if err := c.conn.SetWriteDeadline(c.deadline); err != nil {
		return err
	}
	_, err = c.conn.Write(data)
	return err
}

// sendPing keeps the connection alive while nothing else is sent.
func (c *client) sendPing() error {
	if c.pinged {
		return errNoPong
	}
	c.pinged = true
	return c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
}

// restPing puts the next ping off: a packet goes out now.
func (c *client) restPing() {
	if c.keepalive > 0 {
		c.ping.Reset(c.keepalive * 3 / 4)
	}
}

// nextID is a packet identifier that no packet in flight uses.
func (c *client) nextID() uint16 {
	c.lastID++
	return c.lastID
}

// close says goodbye, so that no will is published, and ends the connection.
func (c *client) close() {
	c.deadline = time.Now().Add(20 * time.Millisecond)
	// Where the broker does not take it any more, nothing is lost.
	_ = c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	c.drop()
}

// drop ends the connection without a word, as a crashed client would.
func (c *client) drop() {
	c.ping.Stop()
	close(c.quit)
	c.conn.Close()
	c.reader.Wait()
}
