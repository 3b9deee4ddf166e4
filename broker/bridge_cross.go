package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	// bridgePrefix begins the client identifiers of bridges at this broker, which
	// no other client may have.
	bridgePrefix = "bridge:"
	// bridgeWindow is how many messages may be on their way in each direction
	// without acknowledgement, unless the other broker wants fewer. With QoS 1 so
	// many may come twice after a crash.
	bridgeWindow = 100
	// subscribeID and unsubscribeID are packet identifiers that a broker, which
	// counts from 1, gives to messages last.
	subscribeID, unsubscribeID = 65535, 65534
)

// A crossing is what a bridge is while it is up: a client of this broker, near,
// over a connection in memory, and a client of the other one, far. Packets pass
// from one to the other as they are, with other topics but with the same packet
// identifiers: each broker gets the other's acknowledgements. So neither forgets
// a message before the other has it, wherever anything is killed, and with QoS 2
// no message comes twice. An MQTT client library, with identifiers and
// acknowledgements of its own, could promise neither.
type crossing struct {
	*bridge
	near, far *mqttLink
	maxQoS    byte // that the other broker takes
	noRetain  bool // it keeps no messages
	window    uint16
	keepalive time.Duration
	failed    chan error
}

// session is the identifier of the client at this broker.
func (br *bridge) session() string { return bridgePrefix + br.settings.Name }

// connectFar logs in at the other broker.
func (c *crossing) connectFar(nc net.Conn) error {
	password, err := c.settings.password()
	if err != nil {
		return err
	}
	version := byte(5)
	if c.settings.Protocol == "3.1.1" {
		version = 4
	}
	c.keepalive = c.settings.Keepalive
	maxIn := c.broker.cfg.MaxPacket
	if version < 5 {
		maxIn = mostPacket // it cannot be told: passMessage refuses what is too large
	}
	c.far = newMQTTLink(nc, version, maxIn, c.keepalive)
	connack, err := c.far.connect(c.greeting(version, password))
	if refused := (connackError{}); errors.As(err, &refused) && (refused.code == 0x84 || refused.code == 1) {
		return fmt.Errorf("it does not speak MQTT %s: %w", c.settings.Protocol, err)
	}
	if err != nil {
		return err
	}
	return c.agree(&connack.Properties)
}

// agree takes the limits that the other broker's CONNACK sets.
func (c *crossing) agree(p *packets.Properties) error {
	if p.ServerKeepAliveFlag && p.ServerKeepAlive > 0 {
		c.keepalive = min(c.keepalive, time.Duration(p.ServerKeepAlive)*time.Second)
	}
	c.maxQoS, c.window, c.noRetain = 2, bridgeWindow, p.RetainAvailableFlag && p.RetainAvailable == 0
	if p.MaximumQosFlag {
		c.maxQoS = p.MaximumQos
	}
	for _, m := range c.topics {
		if m.out && m.qos > c.maxQoS {
			return fmt.Errorf("topics: %q: the other broker takes QoS %d at most", m.line, c.maxQoS)
		}
	}
	switch {
	case c.far.version < 5:
		c.window = c.oldWindow
	case p.ReceiveMaximum > 0:
		c.window = min(c.window, p.ReceiveMaximum)
	}
	return nil
}

// greeting is the CONNECT for the other broker.
func (c *crossing) greeting(version byte, password string) packets.Packet {
	s := c.settings
	pk := packets.Packet{ProtocolVersion: version}
	pk.Connect = packets.ConnectParams{
		ClientIdentifier: s.ClientID,
		Keepalive:        uint16(s.Keepalive / time.Second),
		Clean:            s.CleanSession,
		UsernameFlag:     s.Username != "",
		Username:         []byte(s.Username),
		PasswordFlag:     password != "",
		Password:         []byte(password),
	}
	if c.tellsThere() {
		pk.Connect.WillFlag, pk.Connect.WillRetain, pk.Connect.WillQos = true, true, 1
		pk.Connect.WillTopic, pk.Connect.WillPayload = stateTopic(c.settings.ClientID), stateText(false)
	}
	if version < 5 {
		pk.ProtocolVersion |= bridgeBit // not to get its own messages back
		return pk
	}
	pk.Properties = packets.Properties{ReceiveMaximum: bridgeWindow, MaximumPacketSize: uint32(c.far.maxIn)}
	if !s.CleanSession {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = forever, true
	}
	return pk
}

// openNear opens a connection in memory to this broker, and logs in.
func (br *bridge) openNear(ctx context.Context, window uint16) (*mqttLink, error) {
	ours, theirs := net.Pipe()
	br.broker.clients.Go(func() {
		br.broker.serve(newConn(theirs, bridgeListener, br.broker.cfg, &br.broker.count))
	})
	near := newMQTTLink(ours, 5, mostPacket, 0)
	abort := context.AfterFunc(ctx, func() { _ = ours.Close() })
	defer abort()
	clean := *br.settings.LocalCleanSession
	pk := packets.Packet{ProtocolVersion: 5}
	pk.Connect.ClientIdentifier, pk.Connect.Clean = br.session(), clean
	pk.Properties.ReceiveMaximum = window
	if !clean {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = forever, true
	}
	if _, err := near.connect(pk); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("this broker: %w", err)
	}
	return near, nil
}

// prepare brings the session at this broker up to the settings, before the other
// one is there, so that messages are kept for it.
func (br *bridge) prepare(ctx context.Context) error {
	near, err := br.openNear(ctx, 1)
	if err != nil {
		return err
	}
	defer near.nc.Close()
	defer context.AfterFunc(ctx, func() { _ = near.nc.Close() })()
	const noRetained = 2 // they come with the first crossing
	wanted := br.outFilters(noRetained)
	answers := 0
	if outdated := br.outdated(wanted); len(outdated) > 0 {
		pk := unsubscribePacket(near.version, outdated)
		err, answers = near.write(&pk), answers+1
	}
	if len(wanted) > 0 {
		pk := subscribePacket(near.version, wanted)
		err, answers = errors.Join(err, near.write(&pk)), answers+1
	}
	for err = errors.Join(err, near.flush()); err == nil && answers > 0; {
		var answer packets.Packet
		answer, err = near.read()
		if kind := answer.FixedHeader.Type; kind == packets.Suback || kind == packets.Unsuback {
			answers--
		}
	}
	return err
}

// outdated are the filters that the session has from other settings.
func (br *bridge) outdated(wanted packets.Subscriptions) packets.Subscriptions {
	cl, ok := br.broker.server.Clients.Get(br.session())
	if !ok {
		return nil
	}
	var outdated packets.Subscriptions
	for filter := range cl.State.Subscriptions.GetAll() {
		if !slices.ContainsFunc(wanted, func(w packets.Subscription) bool { return w.Filter == filter }) {
			outdated = append(outdated, packets.Subscription{Filter: filter})
		}
	}
	return outdated
}

// outFilters are what the bridge subscribes to at this broker.
func (br *bridge) outFilters(retainHandling byte) packets.Subscriptions {
	var filters packets.Subscriptions
	for _, m := range br.topics {
		if m.out {
			filters = append(filters, packets.Subscription{
				Filter: m.localTopic, Qos: m.qos, NoLocal: true, RetainAsPublished: true, RetainHandling: retainHandling,
			})
		}
	}
	return filters
}

// inFilters are what the bridge subscribes to at the other broker.
func (br *bridge) inFilters() packets.Subscriptions {
	var filters packets.Subscriptions
	for _, m := range br.topics {
		if !m.in {
			continue
		}
		f := packets.Subscription{Filter: m.remoteTopic, Qos: m.qos, NoLocal: true, RetainAsPublished: true}
		if m.qos > 0 && !br.settings.CleanSession {
			f.RetainHandling = 1 // later ones wait in the session
		}
		filters = append(filters, f)
	}
	return filters
}

// subscribe asks both brokers for messages. From the other one, those lines are
// taken back that say out, in case they once said in, as Mosquitto does it.
func (c *crossing) subscribe() error {
	retained := byte(0)
	if c.replayed {
		retained = 1 // of what is new in the session
	}
	if filters := c.outFilters(retained); len(filters) > 0 {
		pk := subscribePacket(c.near.version, filters)
		if err := errors.Join(c.near.write(&pk), c.near.flush()); err != nil {
			return err
		}
	}
	wanted := c.inFilters()
	var unwanted packets.Subscriptions
	for _, m := range c.topics {
		if !slices.ContainsFunc(wanted, func(w packets.Subscription) bool { return w.Filter == m.remoteTopic }) {
			unwanted = append(unwanted, packets.Subscription{Filter: m.remoteTopic})
		}
	}
	if len(unwanted) > 0 && !c.settings.CleanSession {
		pk := unsubscribePacket(c.far.version, unwanted)
		if err := c.far.write(&pk); err != nil {
			return err
		}
	}
	if len(wanted) > 0 {
		pk := subscribePacket(c.far.version, wanted)
		if err := c.far.write(&pk); err != nil {
			return err
		}
	}
	return c.far.flush()
}

func subscribePacket(version byte, filters packets.Subscriptions) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: version, PacketID: subscribeID, Filters: filters}
}

func unsubscribePacket(version byte, filters packets.Subscriptions) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, ProtocolVersion: version, PacketID: unsubscribeID, Filters: filters}
}

// ping keeps the connection to the other broker alive until ctx ends.
func (c *crossing) ping(ctx context.Context) error {
	tick := time.NewTicker(c.keepalive / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}, ProtocolVersion: c.far.version}
		if err := errors.Join(c.far.write(&pk), c.far.flush()); err != nil {
			return err
		}
	}
}

// tellsThere reports whether the other broker is told the bridge's state.
func (c *crossing) tellsThere() bool {
	return *c.settings.Notifications && !c.settings.NotificationsLocalOnly
}

// tellThere publishes at the other broker whether the bridge is up. The will
// says so where this can not.
func (c *crossing) tellThere(up bool) {
	if !c.tellsThere() {
		return
	}
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Publish, Retain: !c.noRetain},
		ProtocolVersion: c.far.version, TopicName: stateTopic(c.settings.ClientID), Payload: stateText(up),
	}
	_ = errors.Join(c.far.write(&pk), c.far.flush()) // a lost connection shows when reading
}

// farewell ends both connections, the far one with a word where that can still
// be said.
func (c *crossing) farewell() {
	_ = c.near.nc.Close()
	timeout := time.AfterFunc(drainTimeout, func() { _ = c.far.nc.Close() })
	defer timeout.Stop()
	c.tellThere(false)
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: c.far.version}
	_ = errors.Join(c.far.write(&pk), c.far.flush())
	_ = c.far.nc.Close()
}
