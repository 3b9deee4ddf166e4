package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	pahopackets "github.com/eclipse/paho.mqtt.golang/packets"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// A heard is a connection on which only so much is to be read.
type heard struct {
	net.Conn
	r io.Reader
}

func (h heard) Read(p []byte) (int, error) { return h.r.Read(p) }

func hear(b []byte, limit int) *outsideConn {
	return newOutsideConn(heard{r: bytes.NewReader(b)}, limit)
}

func TestTooLargeMessagesOfAnOutsideBrokerAreCut(t *testing.T) {
	const limit = 100_000
	var sent []byte
	for i, size := range []int{0, 10, limit, 3_000_000, 5} {
		sent = append(sent, mqtttest.Message{Topic: "nagios/web1", Payload: strings.Repeat("x", size), QoS: 1, ID: uint16(i + 1)}.Encode(false)...)
	}
	c := hear(sent, limit)
	for i, want := range []int{0, 10, limit, -1, 5} {
		p, err := pahopackets.ReadPacket(c)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		got := len(p.(*pahopackets.PublishPacket).Payload)
		if want >= 0 && got != want || want < 0 && (got <= limit || got > limit+4+maxFilterBytes) {
			t.Errorf("message %d has %d bytes", i, got)
		}
	}
	if _, err := pahopackets.ReadPacket(c); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestAnOutsideBrokersMalformedPacketsEndTheConnection(t *testing.T) {
	for name, packet := range map[string][]byte{
		"a SUBACK for two filters": {mqtttest.SUBACK << 4, 4, 0, 1, 0, 0},
		"an endless length":        {mqtttest.PUBLISH << 4, 0xff, 0xff, 0xff, 0xff, 1},
		"a large PINGRESP":         {mqtttest.PINGRESP << 4, 0xff, 0x7f},
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := hear(packet, 1000).Read(make([]byte, 10)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("passed on %d bytes, %v", n, err)
			}
		})
	}
}

func TestAMessageLargerThanAnyPacketIsRefusedAloud(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	g := start(t, from(t, "mqtt://"+outside.Addr), func(c *Config) { c.MaxPacket = 10_000 })
	g.subscribed()
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	publisher.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: strings.Repeat("x", 1_000_000), QoS: 1, ID: 1})
	numbered(publisher, 0, 1)
	got := g.got(t, 2)
	if n := len(got[0].Payload); n < 10_000 || n > 10_000+maxFilterBytes {
		t.Errorf("accept sees %d bytes of a message that is too large", n)
	}
}

// FuzzOutsideBroker reads what a broker might send: the client library must not
// panic, nor be told of a large packet.
func FuzzOutsideBroker(f *testing.F) {
	f.Add(mqtttest.Message{Topic: "nagios/web1", Payload: "{}", QoS: 1, ID: 1}.Encode(false))
	f.Add([]byte{mqtttest.CONNACK << 4, 2, 0, 0, mqtttest.SUBACK << 4, 3, 0, 1, 1, mqtttest.PINGRESP << 4, 0})
	f.Add(binary.AppendUvarint([]byte{mqtttest.PUBLISH << 4}, 200_000_000))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := hear(b, 1000)
		for {
			p, err := pahopackets.ReadPacket(c)
			if err != nil {
				return
			}
			if m, ok := p.(*pahopackets.PublishPacket); ok && len(m.Payload) > 1000+4+maxFilterBytes {
				t.Fatalf("a payload of %d bytes", len(m.Payload))
			}
		}
	})
}

// TestASlowOutsideBrokerDoesNotSlowTheGateway has a broker that lets the gateway
// in, and then reads nothing more.
func TestASlowOutsideBrokerDoesNotSlowTheGateway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		for _, answer := range [][]byte{{mqtttest.CONNACK << 4, 2, 0, 0}, {mqtttest.SUBACK << 4, 3, 0, 1, 1}} {
			_, _ = nc.Read(make([]byte, 1024))
			_, _ = nc.Write(answer)
		}
		<-t.Context().Done()
		nc.Close()
	}()
	g := start(t, from(t, "mqtt://"+ln.Addr().String()))
	g.subscribed()
	sub := g.subscriber("checkbus/#")
	payload := strings.Repeat("x", 100_000)
	figures := func() *SubscribeStats { return g.Stats().Subscribe }
	for range 2000 { // sockets take some, 20 MB or more
		g.tell("checkbus/event/web1", payload)
		sub.Next(mqtttest.PUBLISH)
		if figures().Dropped >= 100 {
			break
		}
	}
	if st := figures(); st.Waiting > mostWaitingBytes/int64(len(payload))+1 || st.Dropped < 100 {
		t.Errorf("figures are %+v, want 8 MiB waiting and the rest dropped", st)
	}
}
