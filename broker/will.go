package broker

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A will is the message that a client left to be published when it is lost. The
// library would publish it past access control and accept, and forgets most of
// its properties, so wills are kept here.
type will struct {
	packet  packets.Packet
	delay   time.Duration
	due     time.Time
	version byte
	rights  rights       // of its client, from when it is let in
	kept    atomic.Int64 // bytes, see keep
}

// takeWill moves the will out of a CONNECT packet. A will that is wrong is left
// in it, for the library to refuse.
func takeWill(pk *packets.Packet) *will {
	w := &pk.Connect
	if !w.WillFlag || w.WillTopic == "" || w.WillQos > 2 {
		return nil
	}
	p := w.WillProperties
	kept := &will{
		packet: packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: w.WillQos, Retain: w.WillRetain},
			PacketID:    uint16(w.WillQos),          // the library wants one where there is a QoS
			TopicName:   strings.Clone(w.WillTopic), // the packet is not kept for its will
			Payload:     bytes.Clone(w.WillPayload),
			Properties: packets.Properties{
				PayloadFormat:         p.PayloadFormat,
				PayloadFormatFlag:     p.PayloadFormatFlag,
				MessageExpiryInterval: p.MessageExpiryInterval,
				ContentType:           strings.Clone(p.ContentType),
				ResponseTopic:         strings.Clone(p.ResponseTopic),
				CorrelationData:       bytes.Clone(p.CorrelationData),
				User:                  cloneUser(p.User),
			},
		},
		delay:   time.Duration(p.WillDelayInterval) * time.Second,
		version: pk.ProtocolVersion,
	}
	w.WillFlag, w.WillRetain, w.WillQos = false, false, 0
	w.WillTopic, w.WillPayload, w.WillProperties = "", nil, packets.Properties{}
	return kept
}

func cloneUser(properties []packets.UserProperty) []packets.UserProperty {
	var own []packets.UserProperty
	for _, p := range properties {
		own = append(own, packets.UserProperty{Key: strings.Clone(p.Key), Val: strings.Clone(p.Val)})
	}
	return own
}

// lost reports whether the client went without the DISCONNECT that deletes its
// will (MQTT 5, 3.14.4).
func lost(cl *mqtt.Client) bool { return !errors.Is(cl.StopCause(), packets.CodeDisconnect) }

// publishWill treats a will like a publish of its client, but answers nobody.
func (b *Broker) publishWill(w *will) {
	b.dropWill(w)
	m := message(&w.packet, w.rights)
	m.Will, m.PacketID = true, 0
	b.route(&inbound{packet: w.packet, client: w.rights.client, version: w.version}, w.rights, m)
}
