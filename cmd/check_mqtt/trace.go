package main

import (
	"fmt"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxTrace bounds the packet exchange that -vvv shows, in lines.
const maxTrace = 200

// A trace collects the packet exchange for -vvv, without passwords. A nil
// trace collects nothing.
type trace struct {
	lines []string
	left  int // lines beyond maxTrace
}

func (t *trace) sent(pk packets.Packet)     { t.add(">", pk) }
func (t *trace) received(pk packets.Packet) { t.add("<", pk) }

func (t *trace) add(arrow string, pk packets.Packet) {
	if t == nil {
		return
	}
	if len(t.lines) == maxTrace {
		t.left++
		return
	}
	name := strings.ToUpper(packets.PacketNames[pk.FixedHeader.Type])
	t.lines = append(t.lines, strings.TrimSpace(arrow+" "+name+" "+describe(pk)))
}

// text is the exchange, one packet a line.
func (t *trace) text() []string {
	if t == nil || t.left == 0 {
		return t.all()
	}
	return append(t.all(), fmt.Sprintf("... and %d packets more", t.left))
}

func (t *trace) all() []string {
	if t == nil {
		return nil
	}
	return t.lines
}

// describe is what a reader wants to know of a packet besides its name.
func describe(pk packets.Packet) string {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return describeConnect(pk)
	case packets.Connack, packets.Disconnect:
		return fmt.Sprintf("code=%d %s", pk.ReasonCode, pk.Properties.ReasonString)
	case packets.Publish:
		return fmt.Sprintf("topic=%q qos=%d retain=%t id=%d payload=%s",
			pk.TopicName, pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.PacketID, excerpt(pk.Payload))
	case packets.Subscribe:
		var filters []string
		for _, f := range pk.Filters {
			filters = append(filters, fmt.Sprintf("%q", f.Filter))
		}
		return fmt.Sprintf("id=%d filters=%s", pk.PacketID, strings.Join(filters, ","))
	case packets.Suback:
		return fmt.Sprintf("id=%d codes=%d", pk.PacketID, pk.ReasonCodes)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return fmt.Sprintf("id=%d code=%d", pk.PacketID, pk.ReasonCode)
	}
	return ""
}

func describeConnect(pk packets.Packet) string {
	c := pk.Connect
	text := fmt.Sprintf("version=%d client=%q clean=%t keepalive=%d", pk.ProtocolVersion, c.ClientIdentifier, c.Clean, c.Keepalive)
	if c.UsernameFlag {
		text += fmt.Sprintf(" user=%q", c.Username)
	}
	if c.PasswordFlag {
		text += " password=(hidden)"
	}
	if c.WillFlag {
		text += fmt.Sprintf(" will=%q", c.WillTopic)
	}
	return text
}

// maxExcerpt is how much of a payload is shown, in bytes.
const maxExcerpt = 80

// excerpt is the beginning of a payload, quoted.
func excerpt(payload []byte) string {
	if len(payload) <= maxExcerpt {
		return fmt.Sprintf("%q", payload)
	}
	return fmt.Sprintf("%q... (%d bytes)", payload[:maxExcerpt], len(payload))
}

// shorten is the beginning of a text, up to limit bytes of it.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:limit], ""), len(text))
}
