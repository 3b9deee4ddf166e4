package broker

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// pong is a PINGRESP.
var pong = []byte{packets.Pingresp << 4, 0}

// greet brings a connection to the point where its client is let in.
func (b *Broker) greet(c *conn) error {
	if err := b.open(c); err != nil {
		return err
	}
	c.client = b.server.NewClient(nil, "", "", false) // for a connection it makes a buffer
	c.client.Net.Conn = c
	packet, err := c.next()
	if err != nil {
		return err
	}
	if err := b.admit(c, packet); err != nil {
		return err
	}
	b.mu.Lock()
	b.noStranger(c)
	b.mu.Unlock()
	c.admitted = true
	b.countClient(c, 1)
	return b.welcome(c)
}

// converse answers a client until its connection is over, in place of the
// library (attachClient, server.go:406 in v2.7.9), which takes two goroutines,
// 20 KB for their stacks and 2 KB for a buffer as long as a client is connected,
// however silent it is. What is on the stack here while nothing comes is there
// for every client: what a packet needs is left to functions of their own.
func (b *Broker) converse(c *conn) error {
	for !c.client.Closed() {
		packet, err := c.next()
		if err == nil {
			err = b.handle(c, packet)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decode reads a whole packet of a client that speaks this version of MQTT. The
// result shares no memory with it.
func decode(packet []byte, version byte) (pk packets.Packet, err error) {
	body := bytes.Clone(packetBody(packet))
	pk.ProtocolVersion = version
	pk.FixedHeader.Remaining = len(body)
	if err := pk.FixedHeader.Decode(packet[0]); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubrel:
		err = pk.PubrelDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Subscribe:
		err = pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		err = pk.UnsubscribeDecode(body)
	case packets.Pingreq:
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	case packets.Auth:
		err = pk.AuthDecode(body)
	default:
		err = packets.ErrProtocolViolation
	}
	return pk, err
}

// admit decides on a CONNECT. Who is not let in is told why.
func (b *Broker) admit(c *conn, packet []byte) error {
	b.count.packetsIn.Add(1)
	b.relieve() // whoever makes work waits with the others
	pk, err := decode(packet, 0)
	if err != nil {
		return err
	}
	pk = c.connect(pk)
	c.client.ParseConnect("", pk)
	c.client.Properties.Username = nil // see rights
	code := c.fault(pk)
	switch {
	case b.isFull(c):
		c.refusal, code = refuseBusy, packets.ErrServerBusy
	case code != packets.CodeSuccess:
	case !b.letIn(c, pk):
		code = packets.ErrBadUsernameOrPassword
	}
	if code == packets.CodeSuccess {
		return nil
	}
	if _, old := packets.V5CodesToV3[code]; old || c.refusal != nil || c.version == 5 { // MQTT 3.1.1 has no code for the others
		_ = b.server.SendConnack(c.client, code, false, nil) // the connection ends in any case
	}
	return code
}

// fault is what is wrong with a CONNECT.
func (c *conn) fault(pk packets.Packet) packets.Code {
	switch code := pk.ConnectValidate(); {
	case code == packets.ErrProtocolViolationProtocolVersion: // MQTT 3.1.1, 3.1.2.2
		c.version, c.client.Properties.ProtocolVersion = 4, 4
		return packets.ErrUnsupportedProtocolVersion
	case code != packets.CodeSuccess, c.version == 5:
		return code
	case !pk.Connect.Clean && pk.Connect.ClientIdentifier == "": // 3.1.3.1
		return packets.ErrClientIdentifierNotValid
	case pk.Connect.PasswordFlag && !pk.Connect.UsernameFlag: // 3.1.2.9
		return packets.ErrProtocolViolationUsernameNoFlag
	}
	return packets.CodeSuccess
}

// letIn decides who gets in, before anything is done for it.
func (b *Broker) letIn(c *conn, pk packets.Packet) bool {
	if why := b.login(c, c.client.ID, pk); why != nil {
		b.refuse(c, why, string(pk.Connect.Username))
		return false
	}
	switch {
	case c.will == nil:
	case strings.ContainsAny(c.will.packet.TopicName, "+#"), b.tooDeep(c, c.will.packet.TopicName): // MQTT 5, 3.1.3.3
		c.refusal = refuseWill
	case !b.keepWill(c):
		c.refusal = refuseFull
	}
	return c.refusal == nil
}

// welcome gives a client its session and the CONNACK. It may wait for the
// client's previous connection to end.
func (b *Broker) welcome(c *conn) error {
	cl := c.client
	b.attach(c, cl, cl.Properties.Clean)
	present := b.inherit(cl)
	b.server.Clients.Add(cl)
	if err := b.server.SendConnack(cl, packets.CodeSuccess, present, nil); err != nil {
		return err
	}
	c.welcome = true
	c.session.out.attach(cl, c.receiveMax)
	c.endTurn()
	if c.rights.outdated() { // since login looked
		return b.disconnect(cl, packets.ErrNotAuthorized)
	}
	return nil
}

// inherit gives a client the subscriptions that it had when it went away, and
// reports whether there was such a session.
func (b *Broker) inherit(cl *mqtt.Client) bool {
	previous, ok := b.server.Clients.Get(cl.ID)
	if !ok {
		return false
	}
	for filter, sub := range previous.State.Subscriptions.GetAll() {
		if b.server.Topics.Subscribe(cl.ID, sub) {
			atomic.AddInt64(&b.server.Info.Subscriptions, 1)
		}
		cl.State.Subscriptions.Add(filter, sub)
		previous.State.Subscriptions.Delete(filter)
	}
	return true
}

// handle answers a packet. An error ends the connection. What comes often does
// not grow the stack to what obey needs.
func (b *Broker) handle(c *conn, packet []byte) error {
	b.count.packetsIn.Add(1)
	b.relieve()
	switch {
	case packet[0] == packets.Pingreq<<4:
		_, err := c.Write(pong)
		return err
	case packet[0]>>4 == packets.Publish:
		return b.takePublish(c, packet)
	}
	return b.obey(c, packet)
}

func (b *Broker) takePublish(c *conn, packet []byte) error {
	pk, err := decode(packet, c.version)
	if err != nil {
		return err
	}
	return b.publish(c, pk)
}

// obey does what a packet asks for that is no PUBLISH.
func (b *Broker) obey(c *conn, packet []byte) error {
	pk, err := decode(packet, c.version)
	if err != nil {
		return err
	}
	switch pk.FixedHeader.Type {
	case packets.Pubrel:
		b.endExchange(c, pk.PacketID)
		return nil
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		c.acked(pk)
		return nil
	case packets.Subscribe:
		if ids := pk.Properties.SubscriptionIdentifier; len(ids) > 1 || len(ids) == 1 && ids[0] == 0 {
			return b.disconnect(c.client, packets.ErrProtocolViolation) // MQTT 5, 3.8.2.1.2
		}
	case packets.Disconnect:
		if pk, err = b.farewell(c, pk); err != nil {
			return err
		}
	}
	return b.process(c, pk)
}

// process lets the library do what a packet asks for.
func (b *Broker) process(c *conn, pk packets.Packet) error {
	err := b.server.InjectPacket(c.client, pk)
	var code packets.Code
	if errors.As(err, &code) && code.Code >= packets.ErrUnspecifiedError.Code && c.version == 5 {
		return b.disconnect(c.client, code)
	}
	return err
}
