package main

import "fmt"

// A refusal is a broker's no: the packet that was refused, the code, and the
// reason string where MQTT 5 brought one.
type refusal struct {
	packet string // CONNECT, SUBSCRIBE, PUBLISH; "" for a DISCONNECT by the broker
	code   byte
	text   string // what the code means
	reason string // the broker's own words
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the broker refused %s: %s (code %d)", r.packet, r.text, r.code)
	if r.packet == "" {
		text = fmt.Sprintf("the broker ended the connection: %s (code %d)", r.text, r.code)
	}
	if r.reason != "" {
		text += fmt.Sprintf(", %q", r.reason)
	}
	return text
}

// newRefusal words a code by MQTT 3.1.1 table 3.1 or MQTT 5 section 2.4.
func newRefusal(packet string, version, code byte, reason string) *refusal {
	texts := codes5
	if version != 5 {
		texts = codes3
	}
	text, ok := texts[code]
	if !ok {
		text = "unknown code"
	}
	return &refusal{packet: packet, code: code, text: text, reason: reason}
}

var codes3 = map[byte]string{
	1:    "unacceptable protocol version",
	2:    "client identifier rejected",
	3:    "server unavailable",
	4:    "bad user name or password",
	5:    "not authorized",
	0x80: "failure",
}

var codes5 = map[byte]string{
	0x00: "normal disconnection",
	0x80: "unspecified error",
	0x81: "malformed packet",
	0x82: "protocol error",
	0x83: "implementation specific error",
	0x84: "unsupported protocol version",
	0x85: "client identifier not valid",
	0x86: "bad user name or password",
	0x87: "not authorized",
	0x88: "server unavailable",
	0x89: "server busy",
	0x8A: "banned",
	0x8B: "server shutting down",
	0x8C: "bad authentication method",
	0x8D: "keep alive timeout",
	0x8E: "session taken over",
	0x8F: "topic filter invalid",
	0x90: "topic name invalid",
	0x93: "receive maximum exceeded",
	0x94: "topic alias invalid",
	0x95: "packet too large",
	0x96: "message rate too high",
	0x97: "quota exceeded",
	0x98: "administrative action",
	0x99: "payload format invalid",
	0x9A: "retain not supported",
	0x9B: "QoS not supported",
	0x9C: "use another server",
	0x9D: "server moved",
	0x9E: "shared subscriptions not supported",
	0x9F: "connection rate exceeded",
	0xA0: "maximum connect time",
	0xA1: "subscription identifiers not supported",
	0xA2: "wildcard subscriptions not supported",
}

// deniesAccess reports whether the broker's rules, rather than its condition
// or the packet, are why it said no.
func (r *refusal) deniesAccess() bool {
	return r.code == 0x80 || r.code == 0x87 || r.code == 5
}
