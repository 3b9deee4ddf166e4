package broker

import (
	"testing"

	"checkbus/internal/mqtttest"
)

// Mosquitto 2.0 answers these so.
func TestWrongConnectsAreAnsweredAsTheirVersionSays(t *testing.T) {
	g := start(t)
	connect := func(name string, level, flags byte, rest ...string) []byte {
		body := append(mqtttest.Str(name), level, flags, 0, 0)
		for _, s := range rest {
			body = append(body, mqtttest.Str(s)...)
		}
		return mqtttest.Encode(mqtttest.CONNECT<<4, body)
	}
	for name, tt := range map[string]struct {
		packet []byte
		code   byte // 0: the connection ends without an answer
	}{
		"a later version":                    {connect("MQTT", 6, 2, "c"), 1},
		"an early version by its later name": {connect("MQTT", 3, 2, "c"), 1},
		"no identifier for a kept session":   {connect("MQTT", 4, 0, ""), 2},
		"a reserved flag":                    {connect("MQTT", 4, 3, "c"), 0},
		"a password without a user name":     {connect("MQTT", 4, 0x42, "c", "password"), 0},
		"a will with QoS 3":                  {connect("MQTT", 4, 0x1E, "c", "gone", "bye"), 0},
		"a retained will that there is not":  {connect("MQTT", 4, 0x22, "c"), 0},
		"another protocol":                   {connect("MQTX", 4, 2, "c"), 0},
	} {
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send(tt.packet)
		p, err := c.Read()
		if answered := err == nil; answered != (tt.code != 0) || answered && (p.Type() != mqtttest.CONNACK || p.Code() != tt.code) {
			t.Errorf("%s: answered %v, %v", name, p, err)
		}
	}
}
