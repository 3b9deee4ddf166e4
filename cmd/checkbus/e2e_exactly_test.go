package main

import (
	"encoding/binary"
	"strconv"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
)

// ackPacket is a PUBREC, PUBREL or PUBCOMP.
func ackPacket(kind int, id uint16) []byte {
	header := byte(kind << 4)
	if kind == mqtttest.PUBREL {
		header |= 2
	}
	return binary.BigEndian.AppendUint16([]byte{header, 2}, id)
}

// A sender publishes numbered messages with QoS 2, a few under way, and goes on
// after each loss of the connection where it was (MQTT 5, 4.3.3 and 4.4).
type sender struct {
	next     int // number of the message to be sent first
	last     int
	underWay []handshake // in order of their numbers
}

type handshake struct {
	number   int
	released bool // PUBREC came
}

func (e handshake) id() uint16 { return uint16(e.number%60000 + 1) }

func (e handshake) packet(dup bool) []byte {
	if e.released {
		return ackPacket(mqtttest.PUBREL, e.id())
	}
	m := mqtttest.Message{Topic: "plant/once", Payload: strconv.Itoa(e.number), QoS: 2, ID: e.id(), Dup: dup}
	return m.Encode(false)
}

// run sends until all is done, or the connection is lost; stopped is called after
// each step.
func (s *sender) run(c *mqtttest.Client, step func()) {
	for _, e := range s.underWay {
		if _, err := c.Write(e.packet(true)); err != nil {
			return
		}
	}
	for s.next <= s.last || len(s.underWay) > 0 {
		for len(s.underWay) < 20 && s.next <= s.last {
			e := handshake{number: s.next}
			s.next++
			s.underWay = append(s.underWay, e)
			if _, err := c.Write(e.packet(false)); err != nil {
				return
			}
		}
		p, err := c.Read()
		if err != nil {
			return
		}
		for i := range s.underWay {
			e := &s.underWay[i]
			if e.id() != p.ID() {
				continue
			}
			if p.Type() == mqtttest.PUBREC {
				e.released = true
				if _, err := c.Write(e.packet(false)); err != nil {
					return
				}
			} else {
				s.underWay = append(s.underWay[:i], s.underWay[i+1:]...)
			}
			break
		}
		step()
	}
}

// A receiver takes messages with QoS 2, and keeps its part of the session.
type receiver struct {
	held map[uint16]bool // identifiers not released
	got  []int
}

// run receives until it has the message last, or the connection is lost.
func (r *receiver) run(c *mqtttest.Client, last int) {
	for len(r.got) == 0 || r.got[len(r.got)-1] != last || len(r.held) > 0 {
		p, err := c.Read()
		if err != nil {
			return
		}
		answer := mqtttest.PUBCOMP
		switch p.Type() {
		case mqtttest.PUBLISH:
			answer = mqtttest.PUBREC
			if !r.held[p.ID()] {
				r.held[p.ID()] = true
				i, _ := strconv.Atoi(p.Payload())
				r.got = append(r.got, i)
			}
		case mqtttest.PUBREL:
			delete(r.held, p.ID())
		default:
			continue
		}
		if _, err := c.Write(ackPacket(answer, p.ID())); err != nil {
			return
		}
	}
}

// Publisher and subscriber of QoS 2 see each message once, however often the
// gateway is killed between them.
func TestQoS2IsExactlyOnceOverKills(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "")
	const rounds, each = 6, 150
	options := func(id string) mqtttest.Options { return mqtttest.Options{ID: id, Persistent: true} }
	c := mqtttest.Dial(t, g.addr, options("receiver"))
	c.Subscribe("plant/once", 2)
	c.Disconnect()
	from := &sender{next: 1, last: rounds * each}
	to := &receiver{held: map[uint16]bool{}}
	for round := range rounds {
		publisher, subscriber := mqtttest.Dial(t, g.addr, options("sender")), mqtttest.Dial(t, g.addr, options("receiver"))
		var receiving sync.WaitGroup
		receiving.Go(func() { to.run(subscriber, from.last) })
		steps := 0
		from.run(publisher, func() {
			steps++
			if round < rounds-1 && steps == each*2 {
				g.kill()
			}
		})
		receiving.Wait()
		if round < rounds-1 {
			g.start()
		}
	}
	if len(to.got) != from.last {
		t.Errorf("%d messages came, want %d", len(to.got), from.last)
	}
	for i, number := range to.got {
		if number != i+1 {
			t.Fatalf("message %d came as number %d", number, i+1)
		}
	}
}
