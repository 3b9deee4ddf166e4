package broker

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// withBridge makes a bridge with quick reconnects a setting of a gateway.
func withBridge(b Bridge) func(*Config) {
	b.RestartMin, b.RestartMax = 100*time.Millisecond, 200*time.Millisecond
	return func(c *Config) { c.Bridges = append(c.Bridges, b) }
}

// steadyAfter says how long the connection of the bridge must last to count as good,
// 5 s at most.
func steadyAfter(d time.Duration) func(*Config) {
	return func(c *Config) { c.Bridges[0].RestartMax = d }
}

func bridgeTo(address, name string, topics ...string) func(*Config) {
	return withBridge(Bridge{Name: name, Remote: Remote{Address: []string{"mqtt://" + address}}, Topics: topics})
}

// bridged waits until all bridges of g are up.
func (g *gateway) bridged() {
	g.t.Helper()
	eventually(g.t, "the bridges are up", func() bool {
		return !slices.ContainsFunc(g.Bridges(), func(s BridgeStats) bool { return !s.Up })
	})
}

// watchAll connects a client to any broker that gets everything but its own
// messages, with the retain flag as it was published, and "end" for joined.
func watchAll(t *testing.T, address, id string) *mqtttest.Client {
	t.Helper()
	c := mqtttest.Dial(t, address, mqtttest.Options{ID: id, V5: true})
	c.Subscribe("#", 2|1<<2)
	return c
}

// joined waits until what from publishes on a topic arrives at to, as a bridge
// may not be up, or not have subscribed yet.
func joined(t *testing.T, from, to *mqtttest.Client, topic string) {
	t.Helper()
	arrived := make(chan struct{})
	go func() {
		for {
			select {
			case <-arrived:
				return
			case <-time.After(20 * time.Millisecond):
				_, _ = from.Write(mqtttest.Message{Topic: topic, Payload: "joined?"}.Encode(true))
			}
		}
	}()
	received(t, to, func(p mqtttest.Packet) bool { return p.Payload() == "joined?" })
	close(arrived)
}

// fakeBroker has converse answer each connection to the address that it returns;
// the first is number 1.
func fakeBroker(t *testing.T, converse func(nc net.Conn, number int)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { ln.Close() })
	serving.Go(func() {
		for number := 1; ; number++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				converse(nc, number)
			})
		}
	})
	return ln.Addr().String()
}

// received reads messages, and acknowledges them, until one is as wanted, which
// it returns with those before it. Tests of joined are left out.
func received(t *testing.T, c *mqtttest.Client, wanted func(mqtttest.Packet) bool) []mqtttest.Packet {
	t.Helper()
	var all []mqtttest.Packet
	for {
		p, err := c.Read()
		if err != nil {
			t.Fatalf("after %d messages: %v", len(all), err)
		}
		switch p.Type() {
		case mqtttest.PUBLISH:
			switch p.QoS() {
			case 1:
				c.Ack(mqtttest.PUBACK, p.ID())
			case 2:
				c.Ack(mqtttest.PUBREC, p.ID())
			}
		case mqtttest.PUBREL:
			c.Ack(mqtttest.PUBCOMP, p.ID())
			continue
		default:
			continue
		}
		if wanted(p) {
			return append(all, p)
		}
		if p.Payload() != "joined?" {
			all = append(all, p)
		}
	}
}

// send publishes payloads on one topic.
func send(c *mqtttest.Client, topic string, qos byte, payloads ...string) {
	var messages []mqtttest.Message
	for _, p := range payloads {
		messages = append(messages, mqtttest.Message{Topic: topic, Payload: p, QoS: qos})
	}
	publish(c, messages...)
}

// publish sends messages at once, with packet identifiers from 1, and sees those
// of QoS 1 and 2 acknowledged.
func publish(c *mqtttest.Client, messages ...mqtttest.Message) {
	for i := range messages {
		if messages[i].QoS > 0 {
			messages[i].ID = uint16(i + 1)
		}
	}
	c.Publish(messages...)
	for _, m := range messages {
		switch m.QoS {
		case 1:
			c.Acked(mqtttest.PUBACK, m.ID)
		case 2:
			c.Acked(mqtttest.PUBREC, m.ID)
		}
	}
	for _, m := range messages {
		if m.QoS == 2 {
			c.Ack(mqtttest.PUBREL, m.ID)
			c.Acked(mqtttest.PUBCOMP, m.ID)
		}
	}
}

func payload(want string) func(mqtttest.Packet) bool {
	return func(p mqtttest.Packet) bool { return p.Payload() == want }
}

// A relay stands between a bridge and a broker, and can be cut.
type relay struct {
	net.Listener
	target  string
	serving sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: ln, target: target}
	r.serving.Go(r.serve)
	t.Cleanup(func() {
		ln.Close()
		r.set(true)
		r.serving.Wait()
	})
	return r
}

func (r *relay) serve() {
	for {
		near, err := r.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		far, err := net.Dial("tcp", r.target)
		if r.cut || err != nil {
			near.Close()
			r.mu.Unlock()
			continue
		}
		r.conns = append(r.conns, near, far)
		r.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			r.serving.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
			})
		}
	}
}

// set cuts all connections and takes no more, or takes them again.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func TestResultsOfOneGatewayAreResultsInAnother(t *testing.T) {
	central := start(t)
	for name, edge := range map[string]*gateway{
		"out": start(t, bridgeTo(central.addr, "central", "nagios/# out 1")),
		"in":  start(t),
	} {
		t.Run(name, func(t *testing.T) {
			to := central
			if name == "in" {
				to = start(t, bridgeTo(edge.addr, "edge", "nagios/# in 1"))
				to.bridged()
				eventually(t, "it is subscribed", func() bool { return edge.Stats().Subscriptions > 0 })
			}
			pub := edge.dial(mqtttest.Options{ID: "web1"})
			pub.Publish(mqtttest.Message{Topic: "nagios/web1/disk", Payload: "fine", QoS: 1, ID: 7})
			pub.Acked(mqtttest.PUBACK, 7)
			if m := to.got(t, 1)[0]; m.Topic != "nagios/web1/disk" || string(m.Payload) != "fine" || m.QoS != 1 {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestAResultThatIsNotStoredStaysWithTheOtherBroker(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo(m.Addr, "m", "nagios/# in 1"), steadyAfter(bridgeSteady))
	g.bridged()
	pub := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "pub"})
	joined := func(payload string) {
		pub.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: payload, QoS: 1, ID: 1})
		pub.Acked(mqtttest.PUBACK, 1)
	}
	eventually(t, "it is subscribed", func() bool { joined("first"); return len(g.bus.all()) > 0 })
	joined("full")
	eventually(t, "it comes again", func() bool {
		n := 0
		for _, m := range g.bus.all() {
			if string(m.Payload) == "full" {
				n++
			}
		}
		return n >= 3
	})
	if n := strings.Count(g.log.String(), "bridge down"); n != 1 {
		t.Errorf("%d lines tell of one outage:\n%s", n, g.log)
	}
}

func TestARefusedResultEndsWhereItWasRefused(t *testing.T) {
	central := start(t)
	edge := start(t, bridgeTo(central.addr, "central", "nagios/# out 1", "far/# out 2"))
	edge.bridged()
	pub := edge.dial(mqtttest.Options{ID: "pub"})
	pub.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "fine", QoS: 1, ID: 1})
	pub.Acked(mqtttest.PUBACK, 1)
	central.got(t, 1)
	if err := edge.Publish("nagios/web1", []byte("invalid"), false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is dropped", func() bool { s := edge.Bridges()[0]; return s.Dropped == 1 && s.Sent == 1 && s.Queued == 0 })
	central.got(t, 2)
}

// all lists what was accepted so far.
func (s *bus) all() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

func TestABridgeThatIsCutUnderLoadLosesNothingAndKeepsOrder(t *testing.T) {
	for _, version := range []string{"5", "3.1.1"} {
		for _, way := range []string{"out", "in"} {
			for qos := range byte(3) {
				if qos == 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s %s QoS %d", version, way, qos), func(t *testing.T) {
					t.Parallel()
					cutUnderLoad(t, version, way, qos)
				})
			}
		}
	}
}

func cutUnderLoad(t *testing.T, version, way string, qos byte) {
	const messages = 1000
	m := realtest.StartMosquitto(t, "max_queued_messages 0")
	r := newRelay(t, m.Addr)
	g := start(t, withBridge(Bridge{
		Name: "m", Remote: Remote{Address: []string{"mqtt://" + r.Addr().String()}}, Protocol: version,
		Topics: []string{fmt.Sprintf("load/# %s %d", way, qos), "end both 1"},
	}))
	from, to := g.addr, m.Addr
	if way == "in" {
		from, to = to, from
	}
	sub := mqtttest.Dial(t, to, mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("load/#", qos)
	sub.Subscribe("end", 1)
	pub := mqtttest.Dial(t, from, mqtttest.Options{ID: "pub", V5: true})
	g.bridged()
	joined(t, pub, sub, "load/joined")

	ctx, stop := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cuts := 0
	cutting.Go(func() {
		for ctx.Err() == nil {
			// It has been up so long that Mosquitto has sent its PUBRELs again. Where it
			// loses the client before, it publishes those messages anew when the client
			// comes back: db__message_reconnect_reset_outgoing, src/database.c in 2.0.11,
			// takes mosq_ms_resend_pubrel for a message without a PUBREC.
			if time.Sleep(30 * time.Millisecond); g.Bridges()[0].Up {
				r.set(true)
				r.set(false)
				cuts++
			}
		}
	})
	for i := 0; i < messages; i += 20 {
		var batch []string
		for j := range 20 {
			batch = append(batch, fmt.Sprint(i+j))
		}
		send(pub, "load/x", qos, batch...)
	}
	send(pub, "load/x", qos, "last")
	stop()
	cutting.Wait()
	r.set(false)
	next, again := 0, 0
	for _, p := range received(t, sub, payload("last")) {
		switch p.Payload() {
		case fmt.Sprint(next), "last":
			next++
		default:
			again++
		}
	}
	if next != messages+1 {
		t.Errorf("message %d is missing, or out of order", next)
	}
	if again > 0 && qos == 2 && way == "out" { // a late Mosquitto does as said above
		t.Errorf("%d messages came again", again)
	}
	if t.Logf("%d cuts, %d messages came again", cuts, again); cuts == 0 {
		t.Error("the bridge was never cut")
	}
}
