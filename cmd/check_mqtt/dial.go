package main

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"time"

	"checkbus/internal/quickack"

	"github.com/mochi-mqtt/server/v2/packets"
)

// keptSession is how long a broker is asked to keep the session of
// --clean=false with MQTT 5; with 3.1.1 it decides itself.
const keptSession = 24 * time.Hour

// A will is what the broker is to publish when the client vanishes.
type will struct {
	topic   string
	payload []byte
	qos     byte
}

// identity is who a client says it is.
type identity struct {
	clientID string
	user     string
	password string
}

// second is who another client of the same check is, by its role.
func (id identity) second(role string) identity {
	id.clientID += role
	return id
}

// open connects all the way up to CONNACK, one phase after another.
func (p *probe) open(ctx context.Context, id identity, w *will) (*client, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	p.phases.enter("connect")
	c := newClient(ctx, conn, p.version, p.trace)
	if err := c.connect(ctx, p.connectParams(id, w), p.connectProperties()); err != nil {
		c.drop()
		return nil, err
	}
	p.phases.end()
	return c, nil
}

func (p *probe) connectParams(id identity, w *will) packets.ConnectParams {
	params := packets.ConnectParams{
		ProtocolName:     []byte("MQTT"),
		ClientIdentifier: id.clientID,
		Keepalive:        uint16(p.keepalive / time.Second),
		Clean:            p.clean,
		UsernameFlag:     id.user != "",
		Username:         []byte(id.user),
		PasswordFlag:     id.password != "" && (id.user != "" || p.version == 5),
		Password:         []byte(id.password),
	}
	if w != nil {
		params.WillFlag, params.WillTopic, params.WillPayload, params.WillQos = true, w.topic, w.payload, w.qos
	}
	return params
}

func (p *probe) connectProperties() packets.Properties {
	return packets.Properties{
		SessionExpiryInterval:     uint32(keptSession / time.Second),
		SessionExpiryIntervalFlag: !p.clean,
		MaximumPacketSize:         maxPacket,
	}
}

// dial brings up TCP and what --transport puts on top of it.
func (p *probe) dial(ctx context.Context) (net.Conn, error) {
	conn, err := p.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	if p.tls != nil {
		secure, err := p.handshake(ctx, conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	if p.transport == "ws" || p.transport == "wss" {
		web, err := p.upgrade(ctx, conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		conn = web
	}
	p.phases.end()
	return conn, nil
}

// dialTCP tries every address of the broker; looking the name up is a phase of
// its own.
func (p *probe) dialTCP(ctx context.Context) (net.Conn, error) {
	first := "tcp"
	if _, err := netip.ParseAddr(p.host); err != nil {
		first = "lookup"
	}
	p.phases.enter(first)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			if info.Err == nil {
				p.phases.enter("tcp")
			}
		},
	})
	// Else a broker that answers in several segments takes 40 ms longer.
	return quickack.Dial(new(net.Dialer))(ctx, "tcp", p.address())
}

// address is host:port of the broker.
func (p *probe) address() string {
	return net.JoinHostPort(p.host, strconv.Itoa(p.port))
}
