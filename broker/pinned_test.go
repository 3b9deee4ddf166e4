package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// Strings that the library decodes share their packet's memory: one that is kept
// must not keep all of it.
func TestNoPacketStaysForAFewBytesOfIt(t *testing.T) {
	const packets = 60
	large := strings.Repeat("x", 1_000_000)
	padding := bytes.Repeat(append([]byte{38, 0, 1, 'k'}, mqtttest.Str(large[:60_000])...), 6) // user properties
	properties := append(binary.AppendUvarint(nil, uint64(len(padding))), padding...)
	tests := map[string]func(g *gateway, c *mqtttest.Client, i int){
		"topics": func(_ *gateway, c *mqtttest.Client, i int) {
			c.Publish(mqtttest.Message{Topic: fmt.Sprint("plant/", i), Payload: large})
		},
		"topic aliases": func(g *gateway, _ *mqtttest.Client, i int) {
			c := g.dial(mqtttest.Options{ID: fmt.Sprint("alias", i), V5: true})
			c.Publish(mqtttest.Message{Topic: "plant", Properties: []byte{35, 0, 1}, Payload: large})
			c.Ping()
		},
		"filters": func(_ *gateway, c *mqtttest.Client, i int) {
			body := append([]byte{0, 1}, properties...)
			c.Send(mqtttest.Encode(0x82, append(append(body, mqtttest.Str(fmt.Sprint("plant/", i))...), 0)))
			c.Next(mqtttest.SUBACK)
		},
		"CONNECT": func(g *gateway, _ *mqtttest.Client, i int) {
			body := append(mqtttest.Str("MQTT"), 5, 0b1000_0110, 0, 0) // a user name, a will, a clean start
			body = append(body, properties...)
			body = append(append(body, mqtttest.Str(fmt.Sprint("connect", i))...), 0)
			body = append(append(body, mqtttest.Str("will")...), mqtttest.Str("bye")...)
			c := mqtttest.Open(t, g.addr, mqtttest.Options{V5: true})
			c.Send(mqtttest.Encode(0x10, append(body, mqtttest.Str("me")...)))
			if p := c.Next(mqtttest.CONNACK); p.Code() != 0 {
				t.Fatalf("answered %v", p)
			}
		},
	}
	for name, send := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			c := g.dial(mqtttest.Options{ID: "c", V5: true})
			send(g, c, packets)
			c.Ping()
			before := heap()
			for i := range packets {
				send(g, c, i)
			}
			c.Ping()
			if grown := heap() - before; grown > 8<<20 {
				t.Errorf("%d packets are kept in %d bytes", packets, grown)
			}
			runtime.KeepAlive(c)
		})
	}
}
