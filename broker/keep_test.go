package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"

	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribeAll subscribes to filters with one packet, and returns the codes.
func subscribeAll(c *mqtttest.Client, v5 bool, filters ...string) []byte {
	b := []byte{0, 1}
	if v5 {
		b = append(b, 0)
	}
	for _, f := range filters {
		b = append(append(b, mqtttest.Str(f)...), 1)
	}
	c.Send(mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, b))
	codes := c.Next(mqtttest.SUBACK).Body[2:]
	if v5 {
		codes = codes[1:]
	}
	return codes
}

func TestFiltersOfAClientAreBoundedInNumber(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t, inMemory)
			o := persistent("c", v5)
			c := g.dial(o)
			for i := range maxSubscriptions - 1 {
				g.server.Clients.GetAll()["c"].State.Subscriptions.Add(fmt.Sprint(i), packets.Subscription{})
			}
			refused := byte(0x80)
			if v5 {
				refused = 0x97
			}
			want := []byte{1, 1, 1, refused, refused, 1}
			if codes := subscribeAll(c, v5, "last", "0", "last", "more", "yet/more", "1"); string(codes) != string(want) {
				t.Errorf("answered %x, want %x", codes, want)
			}
			c.Publish(mqtttest.Message{Topic: "more"}, mqtttest.Message{Topic: "last"})
			if p := c.Next(mqtttest.PUBLISH); p.Topic() != "last" {
				t.Errorf("delivered %v", p)
			}
			g.counts(2, "no room for what a client wants kept", func(s Stats) int64 { return s.NotKept })

			// Who comes back with a kept session subscribes again.
			_ = c.Close()
			c = g.dial(o)
			if codes := subscribeAll(c, v5, "0", "last", "more"); string(codes) != string([]byte{1, 1, refused}) {
				t.Errorf("answered %x after it came back", codes)
			}
		})
	}
}

func TestFiltersAreBoundedInMemory(t *testing.T) {
	g := start(t, inMemory)
	deep := func(i int) string { return fmt.Sprint("d", i) + strings.Repeat("/x", maxLevels) }
	before, granted := heap(), 0
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	for c.Subscribe(deep(granted), 0) == 0 {
		granted++
	}
	if granted < keptForOne/costOf(deep(0))-1 || granted == maxSubscriptions {
		t.Errorf("%d filters were granted", granted)
	}
	if grown := heap() - before; grown > keptForOne*3/2 {
		t.Errorf("one client's filters take %d bytes", grown)
	}
	unsubscribe := append([]byte{0, 1, 0}, mqtttest.Str(deep(0))...)
	c.Send(mqtttest.Encode(mqtttest.UNSUBSCRIBE<<4|2, append(unsubscribe, mqtttest.Str(deep(0))...)))
	c.Next(mqtttest.UNSUBACK)
	for i, want := range []byte{0, 0x97} {
		if code := c.Subscribe(deep(granted+i), 0); code != want {
			t.Errorf("after one was given back filter %d was answered %#x", i, code)
		}
	}
	_ = c.Close()
	eventually(t, "nothing is kept", func() bool { return g.Broker.kept.Load() == 0 })
}

// TestEachClientHasRoomForAFewFilters takes all the room that there is for all.
func TestEachClientHasRoomForAFewFilters(t *testing.T) {
	g := start(t)
	g.Broker.kept.Store(g.cfg.MaxKept)
	c := g.dial(persistent("c", true))
	for i := range 3 {
		if code := c.Subscribe(fmt.Sprint("nagios/web", i, "/#"), 0); code != 0 {
			t.Errorf("filter %d was answered %#x", i, code)
		}
	}
	if code := c.Subscribe(strings.Repeat("/x", maxLevels), 0); code != 0x97 {
		t.Errorf("a large one was answered %#x", code)
	}
	large := &mqtttest.Message{Topic: "gone", Payload: strings.Repeat("x", keptAnyway)}
	for name, code := range map[string]byte{"3.1.1": 3, "5": 0x97} {
		if c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "w", V5: versions[name], Will: large}); c.Connack.Code() != code {
			t.Errorf("%s: a large will was answered %v", name, c.Connack)
		}
	}
	g.dial(leaving(true, mqtttest.Message{Topic: "gone", Payload: "bye"}))
	c.Publish(mqtttest.Message{Topic: "short", Properties: []byte{35, 0, 1}}, mqtttest.Message{Properties: []byte{35, 0, 1}})
	c.Ping()
	c.Publish(mqtttest.Message{Topic: strings.Repeat("x", keptAnyway), Properties: []byte{35, 0, 2}})
	if p := c.Closed(); p.Code() != 0x97 {
		t.Errorf("told %v", p)
	}
	g.counts(4, "no room for what a client wants kept", func(s Stats) int64 { return s.NotKept })
}

// TestWhatIsKeptIsCountedUntilItEnds ends it in every way that there is.
func TestWhatIsKeptIsCountedUntilItEnds(t *testing.T) {
	store := t.TempDir()
	g := start(t, func(c *Config) { c.Dir = store })
	will := mqtttest.Message{Topic: "gone", Payload: "bye"}
	delayed := func(delay byte) mqtttest.Options {
		late := will
		late.Properties = []byte{24, 0, 0, 0, delay}
		o := persistent("d", true)
		o.Will = &late
		return o
	}
	nothing := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return g.Broker.kept.Load() == 0 })
	}
	c := g.dial(leaving(true, will))
	c.Subscribe("a/#", 0)
	c.Publish(mqtttest.Message{Topic: "alias", Properties: []byte{35, 0, 1}}, mqtttest.Message{Topic: "other", Properties: []byte{35, 0, 1}})
	c.Ping()
	if want := int64(costOf("a/#") + len("other") + packetCost + len("gonebye")); g.Broker.kept.Load() != want {
		t.Errorf("%d bytes are counted, want %d", g.Broker.kept.Load(), want)
	}
	_ = c.Close()
	nothing("a will that is sent")

	c = g.dial(leaving(true, will))
	c.Send([]byte{mqtttest.DISCONNECT << 4, 0})
	nothing("a will that is not sent")

	_ = g.dial(delayed(1)).Close()
	nothing("a will that is sent late")

	_ = g.dial(delayed(100)).Close()
	g.allAway()
	c = g.dial(persistent("d", true))
	nothing("a will of a client that came back")
	c.Subscribe("a/#", 0)
	c.Subscribe("b/+/c", 0)
	before := g.Broker.kept.Load()
	g.stop()

	again := start(t, func(c *Config) { c.Dir = store })
	if got := again.Broker.kept.Load(); got != before {
		t.Errorf("after a restart %d bytes are counted, before %d", got, before)
	}
	again.dial(mqtttest.Options{ID: "d", V5: true})
	eventually(t, "a session that begins anew", func() bool { return again.Broker.kept.Load() == 0 })
}

func TestAnAbsurdClientIdentifierIsRefused(t *testing.T) {
	g := start(t)
	for name, code := range map[string]byte{"3.1.1": 2, "5": 0x85} {
		o := mqtttest.Options{ID: strings.Repeat("x", longestClientID), V5: versions[name]}
		g.dial(o)
		o.ID += "x"
		if c := mqtttest.Connect(t, g.addr, o); c.Connack.Code() != code {
			t.Errorf("%s: answered %v", name, c.Connack)
		}
	}
}

func TestAWillOnAFilterIsRefused(t *testing.T) {
	g := start(t)
	for _, topic := range []string{"a/+", "#"} {
		for name, code := range map[string]byte{"3.1.1": 5, "5": 0x90} {
			o := mqtttest.Options{ID: "w", V5: versions[name], Will: &mqtttest.Message{Topic: topic}}
			if c := mqtttest.Connect(t, g.addr, o); c.Connack.Code() != code {
				t.Errorf("%s, %s: answered %v", topic, name, c.Connack)
			}
		}
	}
}

func TestEnhancedAuthenticationIsRefused(t *testing.T) {
	g := start(t)
	method := append([]byte{21}, mqtttest.Str("SCRAM-SHA-1")...)
	if c := mqtttest.Connect(t, g.addr, mqtttest.Options{V5: true, Properties: method}); c.Connack.Code() != 0x8C {
		t.Errorf("answered %v", c.Connack)
	}
}
