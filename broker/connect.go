package broker

import (
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// bridgeBit marks the protocol level in the CONNECT of a Mosquitto bridge, as
// Mosquitto sends it unless try_private is off.
const bridgeBit = 0x80

// bridgesReceiveMax is the Receive Maximum of another broker's bridge that tells
// none. It is Mosquitto's max_inflight_messages by default, beyond which that ends
// the connection (handle__publish, src/handle_publish.c in 2.0.11).
const bridgesReceiveMax = 20

// connect takes from a CONNECT what the broker keeps itself, and mends what the
// library would refuse or get wrong.
func (c *conn) connect(pk packets.Packet) packets.Packet {
	c.started = true
	c.counters.connects.Add(1)
	if v := pk.ProtocolVersion; v == 3|bridgeBit || v == 4|bridgeBit {
		pk.ProtocolVersion &^= bridgeBit
		c.bridge = true
	}
	c.version = pk.ProtocolVersion
	c.patience = patience(pk.Connect.Keepalive)
	c.will = takeWill(&pk)
	if c.will != nil && filterMatches(bridgeState, c.will.packet.TopicName) {
		c.bridge = true // of a Mosquitto with try_private off, or one that speaks MQTT 5
	}
	if pk.Connect.PasswordFlag && len(pk.Connect.Password) == 0 {
		pk.Connect.PasswordFlag = false // an empty password is one (MQTT 5, 3.1.3.6)
	}
	if c.version == 5 {
		p := &pk.Properties
		c.problemInfo = !p.RequestProblemInfoFlag || p.RequestProblemInfo == 1
		c.maxOut = p.MaximumPacketSize
		c.receiveMax = p.ReceiveMaximum
		p.ReceiveMaximum = 0 // kept here: see outbox
		// Aliases that the library gave out outlive the connection, so that the
		// next one gets messages without a topic.
		p.TopicAliasMaximum = 0
		p.SessionExpiryIntervalFlag = false // see expiry
		// What stays would keep all of the packet.
		p.User, p.AuthenticationData, p.AuthenticationMethod = nil, nil, strings.Clone(p.AuthenticationMethod)
	}
	if c.bridge && c.receiveMax == 0 {
		c.receiveMax = bridgesReceiveMax
	}
	pk.Connect.ClientIdentifier = strings.Clone(pk.Connect.ClientIdentifier)
	return pk
}

// patience is how long a client may be silent (MQTT 5, 3.1.2.10), 0 for ever.
func patience(keepalive uint16) time.Duration {
	return time.Duration(keepalive) * time.Second * 3 / 2
}

// farewell takes the session expiry of a DISCONNECT, see expiry, and completes
// its reason code.
func (b *Broker) farewell(c *conn, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Remaining == 1 && c.version == 5 {
		pk.ReasonCode = c.in.parting
	}
	p := &pk.Properties
	if !p.SessionExpiryIntervalFlag {
		return pk, nil
	}
	kept := &c.client.Properties.Props
	if p.SessionExpiryInterval > 0 && kept.SessionExpiryInterval == 0 {
		_ = b.disconnect(c.client, packets.ErrProtocolViolationZeroNonZeroExpiry) // MQTT 5, 3.14.2.2.2
		return pk, packets.ErrRejectPacket
	}
	kept.SessionExpiryInterval = p.SessionExpiryInterval
	p.SessionExpiryIntervalFlag = false
	return pk, nil
}

// forever is the session expiry interval that never ends (MQTT 5, 3.1.2.11.2).
const forever = 0xFFFFFFFF

// expiry is how long a client's session outlives its connection; ok is false
// when it does not. Sessions are ended here, since the library ends one without
// its subscriptions, and may take a client that just came back with it; it is
// kept from doing so by never seeing a session expiry interval's flag.
func expiry(cl *mqtt.Client) (d time.Duration, ok bool) {
	p := &cl.Properties
	if p.ProtocolVersion < 5 {
		return 0, !p.Clean
	}
	if p.Props.SessionExpiryInterval == forever {
		return 0, true
	}
	return time.Duration(p.Props.SessionExpiryInterval) * time.Second, p.Props.SessionExpiryInterval > 0
}
