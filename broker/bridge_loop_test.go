package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// newRing starts gateways each of which has a bridge to the next. Where the ring is
// not closed the last one has none. Bridges are up when it returns.
func newRing(t *testing.T, n int, closed bool, protocol string) []*gateway {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = realtest.FreeAddr(t)
	}
	gateways := make([]*gateway, n)
	for i := range gateways {
		adapt := []func(*Config){func(c *Config) { c.Listeners[0].Address = addresses[i] }}
		if closed || i < n-1 {
			adapt = append(adapt, withBridge(Bridge{
				Name: "next", Remote: Remote{Address: []string{"mqtt://" + addresses[(i+1)%n]}},
				Protocol: protocol, ClientID: fmt.Sprintf("gateway-%d", i), Topics: []string{"ring/# both 1", "nagios/# both 1"},
			}))
		}
		gateways[i] = start(t, adapt...)
	}
	for i, g := range gateways {
		g.bridged()
		eventually(t, "the bridge to it has subscribed", func() bool {
			return (!closed && i == 0) || g.Stats().Subscriptions >= int64(2*len(g.Bridges()))+2
		})
	}
	return gateways
}

func TestNothingGoesRoundInARingOfGateways(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			gateways := newRing(t, n, true, "5")
			pub := gateways[0].dial(mqtttest.Options{ID: "pub"})
			pub.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "fine", QoS: 1, ID: 1})
			pub.Acked(mqtttest.PUBACK, 1)
			// One copy goes each way, and ends where it began.
			eventually(t, "both are back", func() bool { return gateways[0].Stats().Looped == 2 })
			gateways[0].got(t, 1)
			for _, g := range gateways[1:] {
				g.got(t, 2)
				if s := g.Stats(); s.Looped != 0 {
					t.Errorf("%+v", s)
				}
			}
			for _, g := range gateways {
				eventually(t, "nothing is under way", func() bool { return g.Bridges()[0].Queued == 0 })
			}
		})
	}
}

func TestAMessagePassesAChainOfGatewaysOnce(t *testing.T) {
	gateways := newRing(t, 4, false, "5")
	for i, g := range gateways {
		if err := g.Publish("nagios/web1", []byte("fine"), false); err != nil {
			t.Fatal(err)
		}
		for j, other := range gateways {
			want := i + 1 // the gateway's own are not accepted as a client's
			if j <= i {
				want = i
			}
			other.got(t, want)
		}
	}
}

func TestNothingGoesRoundInARingOfMQTT311(t *testing.T) {
	gateways := newRing(t, 3, true, "3.1.1")
	pub := gateways[0].dial(mqtttest.Options{ID: "pub"})
	pub.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "fine", QoS: 1, ID: 1})
	pub.Acked(mqtttest.PUBACK, 1)
	for _, g := range gateways {
		g.got(t, 1) // one hop from the first, and no further
		eventually(t, "nothing is under way", func() bool { return g.Bridges()[0].Queued == 0 })
	}
	for _, g := range gateways[1:] {
		eventually(t, "it says that it is not passed on", func() bool {
			return g.Stats().NotBridged > 0 && strings.Count(g.log.String(), "for fear of a loop") == 1
		})
	}
	gateways[0].got(t, 1)
}

// Mosquittos with their default settings have bridges into both gateways, which
// have one between them: a ring of four, half of it in MQTT 3.1.1.
func TestNothingGoesRoundOverStockMosquittos(t *testing.T) {
	for _, version := range []string{"mqttv311", "mqttv50"} {
		t.Run(version, func(t *testing.T) {
			gateways := newRing(t, 2, false, "5")
			settings := "bridge_protocol_version " + version
			far := realtest.StartMosquitto(t, mosquittoBridge("b", gateways[1].addr, "ring/# both 1")+"\n"+settings)
			near := realtest.StartMosquitto(t,
				mosquittoBridge("a", gateways[0].addr, "ring/# both 1")+"\n"+settings,
				mosquittoBridge("far", far.Addr, "ring/# both 1")+"\n"+settings)
			subs := map[string]*mqtttest.Client{}
			for name, address := range map[string]string{"a": gateways[0].addr, "b": gateways[1].addr, "near": near.Addr, "far": far.Addr} {
				subs[name] = watchAll(t, address, "sub-"+name)
			}
			for _, link := range [][2]string{{"a", "near"}, {"near", "far"}, {"b", "far"}} {
				joined(t, subs[link[0]], subs[link[1]], "ring/joined")
				joined(t, subs[link[1]], subs[link[0]], "ring/joined")
			}
			for name, sub := range subs {
				sub.Publish(mqtttest.Message{Topic: "ring/x", Payload: "from " + name})
			}
			count := func() (n int64) {
				for _, g := range gateways {
					n += g.Stats().MessagesIn
				}
				return n
			}
			// A ring that is not cut passes some hundreds a second.
			settled(t, count)
		})
	}
}

// settled waits until a count has not changed for half a second.
func settled(t *testing.T, count func() int64) {
	t.Helper()
	last, since := count(), time.Now()
	eventually(t, "nothing is under way", func() bool {
		if now := count(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}

func TestAPathIsTheGatewaysAndNoPublishersTool(t *testing.T) {
	far := start(t)
	g := start(t, func(c *Config) { c.Identity = "here" }, bridgeTo(far.addr, "far", "a/# out 1"))
	g.bridged()
	sub := far.dial(mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("a/#", 1)
	here := g.dial(mqtttest.Options{ID: "here", V5: true})
	here.Subscribe("a/#", 1)
	path := func(value string) []byte {
		return append(append([]byte{38}, mqtttest.Str(pathProperty)...), mqtttest.Str(value)...)
	}
	tests := map[string]struct {
		properties []byte
		local      bool
		want       string // the path at the other broker; "" is not there
	}{
		"none":             {nil, true, "here"},
		"another gateway":  {path("there"), true, "there,here"},
		"this gateway":     {path("there,here"), false, ""},
		"empty":            {path(""), true, "?,here"},
		"twice":            {append(path("here"), path("x")...), true, "?,here"},
		"as far as can be": {path("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"), true, ""},
	}
	pub := g.dial(mqtttest.Options{ID: "pub", V5: true})
	id := uint16(0)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			id += 2
			pub.Publish(
				mqtttest.Message{Topic: "a/x", Payload: name, QoS: 1, ID: id, Properties: tt.properties},
				mqtttest.Message{Topic: "a/x", Payload: "end", QoS: 1, ID: id + 1})
			if p := pub.Acked(mqtttest.PUBACK, id); p.Code() != 0 {
				t.Errorf("answered %v", p)
			}
			pub.Acked(mqtttest.PUBACK, id+1)
			if n := len(received(t, here, payload("end"))) - 1; (n == 1) != tt.local {
				t.Errorf("%d delivered here", n)
			}
			got := received(t, sub, payload("end"))
			if len(got) == 1 {
				if tt.want != "" {
					t.Error("not delivered there")
				}
				return
			}
			if text := string(mqtttest.Str(tt.want)); !strings.Contains(string(got[0].Properties()), text) {
				t.Errorf("the properties are %q, want %q", got[0].Properties(), tt.want)
			}
		})
	}
}
