package broker

import (
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// leastConnack is the packet size that a client must take to be told the
// broker's own limits.
const leastConnack = 64

// A hook is where the library asks and tells the broker.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// ID names the hook to the library.
func (h *hook) ID() string { return "checkbus" }

// Provides tells the library which methods to call.
func (h *hook) Provides(method byte) bool {
	switch method {
	case mqtt.OnACLCheck, mqtt.OnPacketEncode, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribe, mqtt.OnUnsubscribed,
		mqtt.OnPacketProcessed, mqtt.OnRetainedExpired:
		return true
	}
	return false
}

// OnACLCheck is asked when a client subscribes: see subscribe. Publishing is
// decided in route, and what is delivered in send.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, _ bool) bool {
	c, ok := cl.Net.Conn.(*conn)
	return ok && (c.rights.mayRead(topic) || !isTopic(topic))
}

// OnPacketEncode sees every packet to a client before it is encoded.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		if c.refusal != nil {
			c.refusal.tell(&pk, c.version)
		} else if pk.ReasonCode == packets.CodeSuccess.Code && (c.maxOut == 0 || c.maxOut >= leastConnack) {
			pk.Properties.MaximumPacketSize = uint32(c.maxIn)
			pk.Properties.TopicAliasMaximum = topicAliases
		}
	case packets.Suback, packets.Unsuback:
		pk.Properties.User = nil // the library echoes the client's
		for i, f := range c.answers {
			pk.ReasonCodes[i] = f.Qos
		}
		c.answers = nil
	case packets.Disconnect:
		c.goodbye.Store(true)
	}
	return pk
}

// OnSubscribe refuses filters that the library would take, and gives bridges
// what they expect: not their own messages, and the retain flag as it was sent.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*conn)
	others := cl.State.Subscriptions.Len()
	fresh := map[string]bool{} // filters counted by now
	for i := range pk.Filters {
		f := &pk.Filters[i]
		shared := mqtt.IsSharedFilter(f.Filter)
		switch {
		case checkFilter(f.Filter) != nil || h.b.tooDeep(c, f.Filter):
			f.Filter = "" // the library refuses it
			continue
		case shared && (f.NoLocal || !mqtt.IsValidFilter(f.Filter, false)):
			continue // the library refuses it
		}
		f.Filter = strings.Clone(f.Filter) // it would keep all of the packet
		_, existed := cl.State.Subscriptions.Get(f.Filter)
		if !existed && !fresh[f.Filter] {
			if !h.b.keepFilter(c, f.Filter, others+len(fresh)) {
				c.answer(i, packets.Subscription{Qos: c.noMoreFilters()})
				f.Filter = ""
				continue
			}
			fresh[f.Filter] = true
		}
		if c.bridge && !shared {
			f.NoLocal, f.RetainAsPublished = true, true
		}
		c.replay.ask(f, existed)
		if isTopic(f.Filter) && !c.rights.mayRead(f.Filter) {
			h.b.subscribe(c, i, *f)
			f.Filter = ""
		}
	}
	return pk
}

// OnSubscribed comes before the SUBACK, with its codes.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	c := cl.Net.Conn.(*conn)
	c.replay.grant(pk.Filters, codes)
	for i, f := range pk.Filters {
		if codes[i] < packets.ErrUnspecifiedError.Code {
			h.b.withParent(cl.ID, f)
		}
	}
	h.b.routes.forget()
	h.b.storeSubscriptions(c, pk.Filters, codes)
}

// OnPacketProcessed comes when a packet was answered.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, _ error) {
	c, ok := cl.Net.Conn.(*conn)
	if ok && pk.FixedHeader.Type == packets.Subscribe {
		h.b.startReplay(c)
	}
}

// subscribe grants a client the filter at place i of its SUBSCRIBE, a topic that
// it may not read. As in Mosquitto every subscription is granted, and decides
// nothing about what is delivered, since the rules may change. The library
// cannot tell the two questions apart: it would refuse this one, and is made to
// believe that it did.
func (b *Broker) subscribe(c *conn, i int, f packets.Subscription) {
	if b.server.Topics.Subscribe(c.client.ID, f) {
		atomic.AddInt64(&b.server.Info.Subscriptions, 1)
	}
	c.client.State.Subscriptions.Add(f.Filter, f)
	c.answer(i, f)
}

// answer has the SUBACK say f's QoS, or code, of the filter at place i.
func (c *conn) answer(i int, f packets.Subscription) {
	if c.answers == nil {
		c.answers = map[int]packets.Subscription{}
	}
	c.answers[i] = f
}

// isTopic reports whether filter stands for that one topic.
func isTopic(filter string) bool {
	return !strings.ContainsAny(filter, "+#") && !mqtt.IsSharedFilter(filter)
}
