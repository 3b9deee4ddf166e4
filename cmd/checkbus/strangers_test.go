package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// memoryBound is how much memory strangers may make the gateway use, in bytes.
// The race detector takes several times as much.
func memoryBound() int64 {
	if underRace() {
		return 1 << 30
	}
	return 300 << 20
}

func TestTenThousandUnknownObjectsCostNothing(t *testing.T) {
	t.Parallel()
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 5, Services: 19})
	g := startGateway(t, nagiosTable(n))
	g.knowsObjects()
	sent := make(map[checks.Object]int)
	neighbours := startStream(t, g.addr, numberedObjects(5, 19), sent)
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "stranger", V5: true})
	const count, burst = 10_000, 500
	for from := 0; from < count; from += burst {
		var messages []mqtttest.Message
		for i := range burst {
			messages = append(messages, mqtttest.Message{Topic: fmt.Sprintf("nagios/unknown%d/service", from+i), Payload: numberedPayload(i), QoS: 1, ID: uint16(i + 1)})
		}
		c.Publish(messages...)
		for i := range burst {
			if ack := c.Acked(mqtttest.PUBACK, uint16(i+1)); ack.Code() != topicNameInvalid {
				t.Fatalf("an unknown object is answered %#x %q", ack.Code(), ack.Reason())
			}
		}
	}
	neighbours.more(500)
	neighbours.finish()
	newNagiosAccount(t, n).settle(neighbours)
	if slices.ContainsFunc(n.Log(), func(line string) bool { return strings.Contains(line, "unknown") }) {
		t.Error("Nagios heard of an unknown object")
	}
	g.usedLittle()
}

// usedLittle checks the memory of the gateway's whole life so far.
func (g *gateway) usedLittle() {
	g.t.Helper()
	used := g.memory()
	g.t.Logf("memory: at most %d MiB", used>>20)
	if used > memoryBound() {
		g.t.Errorf("the gateway used %d MiB, more than %d", used>>20, memoryBound()>>20)
	}
}

// TestStrangersDoNotDisturbOthers does to one gateway, side by side, what a
// network may do to a port, while others publish.
func TestStrangersDoNotDisturbOthers(t *testing.T) {
	t.Parallel()
	attacks := map[string]func(*testing.T, *gateway){
		"oversized packets":           sendOversized,
		"damaged packets":             sendDamaged,
		"half-open connections":       openHalf,
		"subscribers that never read": subscribeWithoutReading,
		"publishers that do not wait": publishWithoutReading,
	}
	g := startGateway(t, "")
	neighbours := startStream(t, g.addr, numberedObjects(5, 19), make(map[checks.Object]int))
	t.Run("attacks", func(t *testing.T) {
		for name, attack := range attacks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				attack(t, g)
			})
		}
	})
	neighbours.more(500)
	neighbours.finish()
	if !g.alive() {
		t.Error("the gateway is gone")
	}
	g.usedLittle()
}

// sendOversized announces and sends more than max_packet, before and after
// CONNECT.
func sendOversized(t *testing.T, g *gateway) {
	huge := mqtttest.Message{Topic: "nagios/web1", Payload: strings.Repeat("x", 2_000_001), QoS: 1, ID: 1}
	for range 20 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "huge5", V5: true})
		_, _ = c.Write(huge.Encode(true)) // the connection may end in the middle
		if p := c.Closed(); p.Type() == mqtttest.DISCONNECT && p.Code() != packetTooLarge {
			t.Errorf("an oversized packet ends in %#x, want %#x", p.Code(), packetTooLarge)
		}
		c = mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "huge3"})
		_, _ = c.Write(huge.Encode(false))
		c.Closed()
		c = mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send([]byte{mqtttest.CONNECT << 4, 0xff, 0xff, 0xff, 0x7f}) // 256 MB will follow
		c.Closed()
	}
}

// sendDamaged sends random bytes and real packets cut, changed and repeated.
func sendDamaged(t *testing.T, g *gateway) {
	random := rand.New(rand.NewPCG(1, 2))
	will := mqtttest.Message{Topic: "nagios/web1", Payload: numberedPayload(1), QoS: 1}
	for i := range 3000 {
		v5 := i%2 == 0
		connect := mqtttest.Options{ID: fmt.Sprint("damaged", i%10), V5: v5, Persistent: i%3 == 0, KeepAlive: 10, Will: &will, User: "u"}.Encode()
		sound := slices.Concat(
			connect,
			mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, slices.Concat([]byte{0, 1, 0}, mqtttest.Str("damaged/#"), []byte{1})),
			mqtttest.Message{Topic: "nagios/web1/disk", Payload: numberedPayload(i), QoS: 1, ID: 2}.Encode(v5),
			mqtttest.Message{Topic: "nagios/web1/disk", Payload: numberedPayload(i), QoS: 2, ID: 3}.Encode(v5),
			[]byte{mqtttest.PUBREL<<4 | 2, 2, 0, 3, mqtttest.PINGREQ << 4, 0, mqtttest.DISCONNECT << 4, 0},
		)
		sent := slices.Clone(sound)
		intact := 0
		if i%4 > 0 {
			intact = len(connect) // so that what follows is read at all
		}
		for range 1 + random.IntN(4) {
			sent[intact+random.IntN(len(sent)-intact)] = byte(random.Uint32())
		}
		if i%5 == 0 {
			sent = sent[:random.IntN(len(sent))]
		}
		exchange(t, g, sent)
	}
}

// exchange sends bytes and waits until the gateway has ended the connection.
func exchange(t *testing.T, g *gateway, sent []byte) {
	t.Helper()
	c := mqtttest.Open(t, g.addr, mqtttest.Options{})
	defer c.Close()
	_, _ = c.Write(sent) // the connection may end before
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	c.Closed()
}

// openHalf opens connections that never send a CONNECT, or a part of one, and
// waits until the gateway closes them.
func openHalf(t *testing.T, g *gateway) {
	connect := mqtttest.Options{ID: "half"}.Encode()
	var half []*mqtttest.Client
	for i := range 500 {
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send(connect[:i%len(connect)])
		half = append(half, c)
	}
	for _, c := range half {
		c.Closed()
	}
}

// subscribeWithoutReading has subscribers that take nothing off the wire, until
// far more than any buffer holds was published for them.
func subscribeWithoutReading(t *testing.T, g *gateway) {
	for i := range 4 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: fmt.Sprint("deaf", i), V5: i%2 == 0, Persistent: i%3 == 0, Buffer: 4 << 10})
		c.Subscribe("flood/#", byte(i%3))
	}
	publisher := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "flood", V5: true})
	payload := strings.Repeat("x", 100_000)
	for i := range 300 {
		id := uint16(i + 1)
		publisher.Publish(mqtttest.Message{Topic: "flood/x", Payload: payload, QoS: 1, ID: id})
		publisher.Acked(mqtttest.PUBACK, id)
	}
}

// publishWithoutReading has publishers that never take an acknowledgement.
func publishWithoutReading(t *testing.T, g *gateway) {
	for i := range 10 {
		c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: fmt.Sprint("rude", i), Buffer: 4 << 10})
		if err := c.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for id := range 5000 {
			m := mqtttest.Message{Topic: "nagios/rude", Payload: numberedPayload(id), QoS: 1, ID: uint16(id + 1)}
			if _, err := c.Write(m.Encode(false)); err != nil {
				break
			}
		}
	}
}
