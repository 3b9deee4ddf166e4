package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// These tests defend what the broker mends in the library, version 2.7.9. Each
// fails on the library alone.

func TestRetainedMessagesDoNotVanish(t *testing.T) {
	g := start(t)
	g.tellRetained("old", "x")
	old, _ := g.server.Topics.Retained.Get("old")
	old.Created = time.Now().Add(-48 * time.Hour).Unix()
	g.server.Topics.Retained.Add("old", old)

	expired := old
	expired.TopicName, expired.ProtocolVersion, expired.Expiry = "expired", 5, 1
	g.server.Topics.Retained.Add("expired", expired)
	eventually(t, "the library has looked for expired messages", func() bool {
		_, ok := g.server.Topics.Retained.Get("expired")
		return !ok
	})
	if _, ok := g.server.Topics.Retained.Get("old"); !ok {
		t.Error("a retained message vanished with age")
	}
}

func TestExpiredSessionTakesItsSubscriptionsAlong(t *testing.T) {
	g := start(t)
	before := time.Now()
	c := g.dial(persistent("c", true))
	c.Subscribe("a", 1)
	c.Disconnect()
	g.allAway()
	g.tell("a", "queued")
	g.expire(before.Add(255 * time.Second))
	if g.Stats().Sessions != 1 {
		t.Error("it was ended too early")
	}
	g.expire(time.Now().Add(257 * time.Second))
	if s := g.Stats(); s.Sessions != 0 || s.Subscriptions != 0 || g.server.Clients.Len() != 0 {
		t.Errorf("left: %+v", s)
	}
	c = g.dial(persistent("c", true))
	if c.Connack.SessionPresent() {
		t.Error("session present")
	}
	c.Subscribe("end", 0)
	g.tell("a", "not for it")
	g.nothingMore(c)
}

func TestSessionExpiryOfADisconnectCounts(t *testing.T) {
	t.Run("shortened", func(t *testing.T) {
		g := start(t)
		g.dial(persistent("c", true)).Send([]byte{mqtttest.DISCONNECT << 4, 7, 0, 5, 0x11, 0, 0, 0, 0})
		eventually(t, "the session is over", func() bool { return g.Stats().Sessions == 0 })
	})
	t.Run("not from nothing", func(t *testing.T) {
		g := start(t)
		c := g.dial(mqtttest.Options{ID: "c", V5: true})
		c.Send([]byte{mqtttest.DISCONNECT << 4, 7, 0, 5, 0x11, 0, 0, 0, 9})
		if p := c.Closed(); p.Code() != 0x82 {
			t.Errorf("told %v", p)
		}
	})
}

func TestMessagesHaveATopicAfterAReconnect(t *testing.T) {
	g := start(t)
	o := persistent("c", true)
	o.Properties = append(o.Properties, 0x22, 0, 10) // takes 10 topic aliases
	c := g.dial(o)
	c.Subscribe("a", 1)
	for range 2 {
		for range 2 {
			g.tell("a", "x")
			p := c.Next(mqtttest.PUBLISH)
			if p.Topic() != "a" {
				t.Fatalf("topic %q", p.Topic())
			}
			c.Ack(mqtttest.PUBACK, p.ID())
		}
		c = g.dial(o)
	}
}

func TestLongKeepaliveDoesNotDisconnect(t *testing.T) {
	g := start(t)
	g.dial(mqtttest.Options{ID: "c", KeepAlive: 43691}).Ping()
}

func TestEmptyPasswordIsOne(t *testing.T) {
	g := start(t)
	for name, v5 := range versions {
		g.dial(mqtttest.Options{ID: name, V5: v5, User: "u", Password: new(string)}).Ping()
	}
}

func TestTopicAliases(t *testing.T) {
	t.Run("are resolved", func(t *testing.T) {
		g := start(t)
		sub := g.subscriber("nagios/#")
		c := g.dial(mqtttest.Options{ID: "p", V5: true})
		if !strings.Contains(string(c.Connack.Body), "\x22\x00\x0a") {
			t.Errorf("CONNACK does not allow aliases: %x", c.Connack.Body)
		}
		first, second := result(1, 1, "1"), result(2, 1, "2")
		first.Properties, second.Properties = []byte{0x23, 0, 3}, []byte{0x23, 0, 3}
		second.Topic = ""
		c.Publish(first, second)
		c.Acked(mqtttest.PUBACK, 1)
		c.Acked(mqtttest.PUBACK, 2)
		for _, m := range g.got(t, 2) {
			if m.Topic != "nagios/web1/disk" {
				t.Errorf("accept got %+v", m)
			}
			if p := sub.Next(mqtttest.PUBLISH); p.Topic() != m.Topic {
				t.Errorf("delivered %v", p)
			}
		}
	})
	for name, code := range map[string]byte{"\x23\x00\x05": 0x82, "\x23\x00\x0b": 0x94, "": 0x82} {
		t.Run(fmt.Sprintf("%x is an error", name), func(t *testing.T) {
			g := start(t)
			c := g.dial(mqtttest.Options{ID: "p", V5: true})
			c.Publish(mqtttest.Message{Payload: "x", QoS: 1, ID: 1, Properties: []byte(name)})
			if p, err := c.Read(); err != nil || p.Type() != mqtttest.DISCONNECT || p.Code() != code {
				t.Errorf("answered %v, %v", p, err)
			}
			g.got(t, 0)
		})
	}
}

func TestBridgeOfMosquittoIsServed(t *testing.T) {
	g := start(t)
	bridge := g.dial(mqtttest.Options{ID: "bridge", Level: 0x84})
	bridge.Subscribe("end", 0)
	bridge.Subscribe("a", 1)
	bridge.Publish(mqtttest.Message{Topic: "a", Payload: "own", QoS: 1, ID: 1, Retain: true})
	bridge.Acked(mqtttest.PUBACK, 1)
	g.nothingMore(bridge)
	g.tellRetained("a", "kept")
	if p := bridge.Next(mqtttest.PUBLISH); !p.Retain() || p.Payload() != "kept" {
		t.Errorf("got %v, retain %t", p, p.Retain())
	}
}

func TestSharedSubscriptionToAllGetsNoSysTopics(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "c"})
	c.Subscribe("end", 0)
	c.Subscribe("$share/g/#", 0)
	c.Subscribe("$share/h/+/x", 0)
	c.Subscribe("$share/i/", 0)
	g.tell("$SYS/x", "x")
	g.tell("a", "x")
	if p := c.Next(mqtttest.PUBLISH); p.Topic() != "a" {
		t.Errorf("got %v", p)
	}
	c.Subscribe("$share/g/$SYS/#", 0)
	g.tell("$SYS/x", "x")
	if p := c.Next(mqtttest.PUBLISH); p.Topic() != "$SYS/x" {
		t.Errorf("got %v", p)
	}
}

func TestAckDoesNotEchoProperties(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "p", V5: true})
	property := append(append([]byte{0x26}, mqtttest.Str("key")...), mqtttest.Str("v")...)
	next := func(what string, kind int) {
		t.Helper()
		if p := c.Next(kind); strings.Contains(string(p.Body), "key") {
			t.Errorf("%s was answered %v", what, p)
		}
	}
	for i, m := range []mqtttest.Message{result(1, 1, "x"), {Topic: "a", QoS: 1}, {Topic: "$SYS/a", QoS: 1}} {
		m.ID, m.Properties = uint16(i+1), property
		c.Publish(m)
		next(m.Topic, mqtttest.PUBACK)
	}
	withProperty := func(header byte, head, tail []byte) {
		body := append(append(head, byte(len(property))), property...)
		c.Send(mqtttest.Encode(header, append(body, tail...)))
	}
	withProperty(mqtttest.SUBSCRIBE<<4|2, []byte{0, 1}, append(mqtttest.Str("b"), 2))
	next("SUBSCRIBE", mqtttest.SUBACK)
	other := g.dial(mqtttest.Options{ID: "other"})
	other.Publish(mqtttest.Message{Topic: "b", QoS: 2, ID: 1})
	id := c.Next(mqtttest.PUBLISH).ID()
	withProperty(mqtttest.PUBREC<<4, []byte{byte(id >> 8), byte(id), 0}, nil)
	next("PUBREC", mqtttest.PUBREL)
	withProperty(mqtttest.UNSUBSCRIBE<<4|2, []byte{0, 1}, mqtttest.Str("b"))
	next("UNSUBSCRIBE", mqtttest.UNSUBACK)
}

func TestPacketIdentifiersOfBothDirectionsAreApart(t *testing.T) {
	g := start(t)
	c := g.dial(persistent("c", false))
	c.Subscribe("a", 1)
	g.tell("a", "not acknowledged")
	id := c.Next(mqtttest.PUBLISH).ID()
	if code := c.SubscribeAs(id, "b", 1); code != 1 {
		t.Errorf("SUBSCRIBE was answered %#x", code)
	}
	for _, m := range []mqtttest.Message{result(id, 1, "x"), {Topic: "elsewhere", QoS: 1, ID: id}} {
		c.Publish(m)
		c.Acked(mqtttest.PUBACK, id)
	}
	c.Publish(result(id, 2, "x"))
	c.Acked(mqtttest.PUBREC, id)
	c.Ack(mqtttest.PUBREL, id)
	c.Acked(mqtttest.PUBCOMP, id)
	_ = c.Close()
	c = g.dial(persistent("c", false))
	if p := c.Next(mqtttest.PUBLISH); p.Payload() != "not acknowledged" {
		t.Errorf("got %v", p)
	}
}

func TestWrongFiltersAreRefused(t *testing.T) {
	g := start(t)
	c, old := g.dial(mqtttest.Options{ID: "c", V5: true}), g.dial(mqtttest.Options{ID: "old"})
	for filter, want := range map[string]byte{
		"a/b#":                            0x8F,
		"a+/b":                            0x8F,
		"a/#/b":                           0x8F,
		"":                                0x8F,
		"$share/g":                        0x8F,
		"$share/g+/a":                     0x8F,
		strings.Repeat("/", maxLevels+1):  0x8F,
		strings.Repeat("/", maxLevels):    1,
		"+/+/#":                           1,
		"$share/g/a/#":                    1,
		strings.Repeat("x", 65535):        1,
		strings.Repeat("+/", maxLevels-1): 1,
	} {
		if code := c.Subscribe(filter, 1); code != want {
			t.Errorf("%.20q was answered %#x, want %#x", filter, code, want)
		}
		if code := old.Subscribe(filter, 1); code != min(want, 0x80) {
			t.Errorf("3.1.1: %.20q was answered %#x, want %#x", filter, code, want)
		}
	}
}

func TestTopicsHaveAtMost200Levels(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	c.Publish(mqtttest.Message{Topic: strings.Repeat("/", maxLevels+1), QoS: 1, ID: 1})
	if p := c.Closed(); p.Code() != 0x90 {
		t.Errorf("told %v", p)
	}
}

func TestDeliveryKeepsWhatThePublisherSaid(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	const noLocal, retainAsPublished = 4, 8
	c.Subscribe("end", 0)
	c.Subscribe("nagios/+/own", 1|noLocal)
	sub := g.dial(mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("nagios/#", 1|retainAsPublished)

	contentType := append([]byte{0x03}, mqtttest.Str("json")...)
	properties := append([]byte{0x02, 0, 0, 0, 60}, contentType...)
	c.Publish(mqtttest.Message{Topic: "nagios/web1/own", QoS: 1, ID: 1, Retain: true, Payload: "{}", Properties: properties})
	c.Acked(mqtttest.PUBACK, 1)
	p := sub.Next(mqtttest.PUBLISH)
	got := slices.Clone(p.Properties())
	if len(got) == len(properties) && got[4] < 60 {
		got[4] = 60 // seconds, and some may have passed
	}
	if !p.Retain() || p.QoS() != 1 || string(got) != string(properties) {
		t.Errorf("retain %t, QoS %d, properties %x, want %x", p.Retain(), p.QoS(), p.Properties(), properties)
	}
	g.nothingMore(c)
	if kept, ok := g.server.Topics.Retained.Get("nagios/web1/own"); !ok || kept.Expiry == 0 || kept.ProtocolVersion != 5 {
		t.Errorf("retained: %t, expiry %d, version %d", ok, kept.Expiry, kept.ProtocolVersion)
	}
}

func TestClientWithoutANameGetsOne(t *testing.T) {
	g := start(t)
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				c := g.dial(mqtttest.Options{V5: v5})
				c.Publish(result(1, 1, "x"))
				c.Acked(mqtttest.PUBACK, 1)
			}
		})
	}
	names := map[string]bool{}
	for _, m := range g.got(t, 4) {
		names[m.Client] = true
	}
	if len(names) != 4 || names[""] {
		t.Errorf("names %v", names)
	}
	if c := mqtttest.Connect(t, g.addr, mqtttest.Options{Persistent: true}); c.Connack.Code() == 0 {
		t.Error("a 3.1.1 client without a name got a session")
	}
}

// The library may forget a client that takes over while it cleans up after the
// previous one.
func TestTakeoverWaitsForTheEndOfThePreviousConnection(t *testing.T) {
	g := start(t)
	blocked, free := make(chan struct{}), make(chan struct{})
	g.Broker.accept = func(_ Message, done func(error)) {
		close(blocked)
		<-free
		done(nil)
	}
	g.dial(mqtttest.Options{ID: "same"}).Publish(result(1, 1, "x"))
	<-blocked
	var released atomic.Bool
	second := mqtttest.Open(t, g.addr, mqtttest.Options{})
	second.Send(mqtttest.Options{ID: "same"}.Encode())
	early := make(chan bool, 1)
	go func() {
		_, err := second.Read()
		early <- err != nil || !released.Load()
	}()
	eventually(t, "the second one waits", func() bool {
		g.Broker.mu.Lock()
		defer g.Broker.mu.Unlock()
		return g.sessions["same"].refs == 2
	})
	other := g.dial(mqtttest.Options{ID: "other"})
	for range 50 {
		other.Ping()
	}
	released.Store(true)
	close(free)
	if <-early {
		t.Error("it was let in before the first one ended")
	}
	second.Subscribe("a", 0)
	g.tell("a", "hello")
	second.Next(mqtttest.PUBLISH)
}

func TestTakenOverClientOf311IsToldNothing(t *testing.T) {
	g := start(t)
	for name, code := range map[string]byte{"3.1.1": 0, "5": 0x8E} {
		first := g.dial(mqtttest.Options{ID: name, V5: versions[name]})
		g.dial(mqtttest.Options{ID: name, V5: versions[name]})
		if p := first.Closed(); (p.Type() != 0) != (code != 0) || code != 0 && p.Code() != code {
			t.Errorf("%s: told %v", name, p)
		}
	}
}

func TestPublishToSysIsAnswered(t *testing.T) {
	g := start(t)
	for name, code := range map[string]byte{"3.1.1": 0, "5": 0x87} {
		c := g.dial(mqtttest.Options{ID: name, V5: versions[name]})
		c.Publish(mqtttest.Message{Topic: "$SYS/broker/uptime", QoS: 1, ID: 1}, mqtttest.Message{Topic: "$SYS/x", QoS: 2, ID: 2})
		if p := c.Acked(mqtttest.PUBACK, 1); code != 0 && p.Code() != code {
			t.Errorf("%s: answered %v", name, p)
		}
		c.Acked(mqtttest.PUBREC, 2)
	}
}
