package broker

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// counts waits until a figure has reached want, and checks that one line says
// why.
func (g *gateway) counts(want int64, line string, figure func(Stats) int64) {
	g.t.Helper()
	eventually(g.t, line, func() bool { return figure(g.Stats()) >= want })
	if got := figure(g.Stats()); got != want {
		g.t.Errorf("%s: counted %d, want %d", line, got, want)
	}
	eventually(g.t, line, func() bool { return strings.Contains(g.log.String(), line) })
	if n := strings.Count(g.log.String(), line); n != 1 {
		g.t.Errorf("%s: %d lines:\n%s", line, n, g.log)
	}
}

func TestAConnectionTooManyIsCountedAndLoggedOnce(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections = 1 })
	g.dial(mqtttest.Options{ID: "first"})
	for range 2 {
		if c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "next"}); c.Connack.Code() != 3 {
			t.Errorf("answered %v", c.Connack)
		}
	}
	g.counts(2, "connection refused, there are too many\"", func(s Stats) int64 { return s.Refused })
}

// unknown is how many connections there are whose clients are not let in.
func (g *gateway) unknown() int {
	g.Broker.mu.Lock()
	defer g.Broker.mu.Unlock()
	return g.strangers.Len()
}

func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections = 2 })
	var silent []*mqtttest.Client
	for range 2 + strangers {
		silent = append(silent, mqtttest.Open(t, g.addr, mqtttest.Options{}))
		if len(silent) == 1 {
			eventually(t, "the first is there", func() bool { return g.unknown() == 1 })
		}
	}
	g.dial(mqtttest.Options{ID: "client"}).Ping()
	silent[0].Closed()
	g.counts(1, "connection refused, there are too many\"", func(s Stats) int64 { return s.Refused })
	silent[1].Send(mqtttest.Options{ID: "late"}.Encode())
	silent[1].Next(mqtttest.CONNACK)
}

func TestAPacketTooLargeIsCountedAndLoggedOnce(t *testing.T) {
	for name, dial := range map[string]func(*gateway) *mqtttest.Client{
		"TCP": func(g *gateway) *mqtttest.Client { return g.dial(mqtttest.Options{ID: "p"}) },
		"WebSocket": func(g *gateway) *mqtttest.Client {
			return g.dialWebSocket(nil, mqtttest.Options{ID: "p"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, func(c *Config) { c.MaxPacket = 4096 }, func(c *Config) {
				if name == "WebSocket" {
					overWebSocket(c)
					anonymous(c)
				}
			})
			for range 2 {
				c := dial(g)
				_, _ = c.Write(mqtttest.Message{Topic: "a", Payload: strings.Repeat("x", 5000)}.Encode(false)) // it may be refused half way
				c.Closed()
			}
			g.counts(2, "its packet is too large", func(s Stats) int64 { return s.RefusedPackets })
		})
	}
}

func TestAMissingConnectIsCountedAndLoggedOnce(t *testing.T) {
	p := newPKI(t)
	for name, settings := range map[string]func(*Config){"plain": anonymous, "TLS": p.serve, "behind a proxy": behind} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, anonymous, settings, func(c *Config) { c.ConnectTimeout = 3 * time.Second })
			silent := []*mqtttest.Client{mqtttest.Open(t, g.addr, mqtttest.Options{}), mqtttest.Open(t, g.addr, mqtttest.Options{})}
			mqtttest.Open(t, g.addr, mqtttest.Options{}).Close() // by itself, which is no time-out
			for _, c := range silent {
				c.Closed()
			}
			g.counts(2, "no CONNECT came in time", func(s Stats) int64 { return s.ConnectTimeouts })
		})
	}
}

func TestTopicsThatAreTooDeepAreCountedAndLoggedOnce(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxTopicLevels = 2 })
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	for filter, want := range map[string]byte{"a/b/c": 1, "a/b/#": 1, "a/b/c/d": 0x8F, "$share/g/a/b/c": 0x8F} {
		if code := c.Subscribe(filter, 1); code != want {
			t.Errorf("%s was answered %#x, want %#x", filter, code, want)
		}
	}
	c.Publish(mqtttest.Message{Topic: "x/y/z", QoS: 1, ID: 1})
	c.Acked(mqtttest.PUBACK, 1)
	c.Publish(mqtttest.Message{Topic: "a/b/c/d", QoS: 1, ID: 2})
	if p := c.Closed(); p.Code() != 0x90 {
		t.Errorf("told %v", p)
	}
	for name, code := range map[string]byte{"3.1.1": 5, "5": 0x90} {
		o := mqtttest.Options{ID: "w", V5: versions[name], Will: &mqtttest.Message{Topic: strings.Repeat("/", 30_000)}}
		if c := mqtttest.Connect(t, g.addr, o); c.Connack.Code() != code {
			t.Errorf("%s: the will was answered %v", name, c.Connack)
		}
	}
	g.counts(5, "too many levels", func(s Stats) int64 { return s.RefusedTopics })
}

func TestRateIsKeptWithABurst(t *testing.T) {
	const perSecond = 100
	now := time.Now()
	var r rate
	for i := range perSecond {
		if hold := r.take(now, perSecond); hold != 0 {
			t.Fatalf("message %d of the burst has to wait %v", i, hold)
		}
	}
	for i := range 1000 {
		now = now.Add(r.take(now, perSecond))
		if i == 999 && now.Sub(r.due) > leastHold {
			t.Errorf("the clock shows %v, due is %v", now, r.due)
		}
	}
	if took := r.due.Sub(now); took < -leastHold || took > leastHold {
		t.Errorf("1000 messages are %v off", took)
	}
	now = now.Add(time.Hour) // which earns no more than a burst
	n := 0
	for r.take(now, perSecond) == 0 {
		n++
	}
	if n != perSecond {
		t.Errorf("%d messages at once after a pause, want %d", n, perSecond)
	}
}

func TestAFastClientIsSlowedAndNobodyElse(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxRate = 100 })
	fast, other := g.dial(mqtttest.Options{ID: "fast"}), g.dial(mqtttest.Options{ID: "other"})
	const messages, timed = 3000, 300 // half a minute, and two seconds, beyond the burst
	began := time.Now()
	for i := range uint16(messages) {
		fast.Publish(result(i+1, 1, "x"))
	}
	other.Publish(result(1, 1, "x"))
	other.Acked(mqtttest.PUBACK, 1)
	if n := g.Stats().MessagesIn; n > messages {
		t.Error("the other client waited until the fast one was done")
	}
	for i := range uint16(timed) {
		fast.Acked(mqtttest.PUBACK, i+1)
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("%d messages in %v", timed, took)
	}
	if g.Stats().SlowedByRate == 0 {
		t.Error("not counted")
	}
	if n := strings.Count(g.log.String(), "client slowed"); n != 1 {
		t.Errorf("%d lines:\n%s", n, g.log)
	}
	g.stop() // one that is held is closed at once
}

func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	g := start(t, anonymous, behind, func(c *Config) { c.MaxConnectionsPerAddress = 2 })
	from := func(address string) *mqtttest.Client {
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		_, _ = c.Write(append(header(t, 2, address), mqtttest.Options{}.Encode()...)) // it may be refused half way
		return c
	}
	var first *mqtttest.Client
	for _, address := range []string{"203.0.113.9:4000", "[2001:db8::1]:1", "[2001:db8::2]:1", "203.0.113.9:4001", "[2001:db8:0:1::1]:1"} {
		first = from(address)
		first.Next(mqtttest.CONNACK)
	}
	for _, address := range []string{"203.0.113.9:4002", "[2001:db8::3]:1"} {
		if p := from(address).Closed(); p.Type() != 0 {
			t.Errorf("%s was answered %v", address, p)
		}
	}
	g.counts(2, "too many from its address", func(s Stats) int64 { return s.RefusedAddress })
	_ = first.Close()
	eventually(t, "its place is free", func() bool { return g.Stats().Connected == 4 })
	from("[2001:db8:0:1::2]:1").Next(mqtttest.CONNACK)
	g.stop()
	if left := len(g.addresses.open); left != 0 {
		t.Errorf("%d addresses are left", left)
	}
}

func TestConnectionsOfThisMachineAreNotLimited(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnectionsPerAddress = 1 })
	for _, id := range []string{"a", "b", "c"} {
		g.dial(mqtttest.Options{ID: id})
	}

	socket := "unix:" + filepath.Join(t.TempDir(), "mqtt") // whose load balancer does not know its clients
	start(t, anonymous, behind, func(c *Config) { c.MaxConnectionsPerAddress, c.Listeners[0].Address = 1, socket })
	for range 3 {
		c := mqtttest.Open(t, socket, mqtttest.Options{})
		c.Send(append([]byte("PROXY UNKNOWN\r\n"), mqtttest.Options{}.Encode()...))
		c.Next(mqtttest.CONNACK)
	}
}

func TestHolderOfAnAddress(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.9":          "203.0.113.9",
		"::ffff:203.0.113.9":   "203.0.113.9",
		"2001:db8::1:2":        "2001:db8::",
		"fe80::1%eth0":         "fe80::",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
	} {
		if got := holderOf(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("%s is %s's, want %s", address, got, want)
		}
	}
}

func TestOnlyTrustedLoadBalancersMayConnect(t *testing.T) {
	tests := map[string]struct {
		from []string
		want bool
	}{
		"anybody":         {nil, true},
		"its network":     {[]string{"10.0.0.0/8", "127.0.0.0/8"}, true},
		"its address":     {[]string{"127.0.0.1"}, true},
		"another network": {[]string{"10.0.0.0/8", "::1"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, anonymous, behind, func(c *Config) { c.Listeners[0].ProxyFrom = tt.from })
			c := mqtttest.Open(t, g.addr, mqtttest.Options{})
			_, _ = c.Write(append(header(t, 1, "203.0.113.9:4000"), mqtttest.Options{}.Encode()...)) // it may be refused half way
			if p, _ := c.Read(); (p.Type() == mqtttest.CONNACK) != tt.want {
				t.Errorf("answered %v", p)
			}
			if !tt.want {
				g.counts(1, "proxy_from does not name", func(s Stats) int64 { return s.RefusedProxies })
			}
		})
	}
	l := Listener{ProxyFrom: []string{"127.0.0.1"}}
	if !l.trusts(&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1")}) || l.trusts(&net.UnixAddr{Name: "@"}) {
		t.Error("a mapped address or a Unix socket is mistaken")
	}
}

func TestDeliveriesThatWereNotReadAreCounted(t *testing.T) {
	g := start(t)
	deaf := g.dial(mqtttest.Options{ID: "deaf", Buffer: 4096})
	deaf.Subscribe("checkbus/#", 0)
	payload := strings.Repeat("x", 100_000)
	for g.Stats().SlowConsumers == 0 {
		g.tell("checkbus/event/web1", payload)
	}
	if n := g.Stats().Dropped; n < outLimit/2/int64(len(payload)) {
		t.Errorf("%d are counted as dropped", n)
	}
}

func TestOwnFiguresArePublished(t *testing.T) {
	g := start(t, func(c *Config) { c.SysInterval = time.Second })
	c := g.dial(mqtttest.Options{ID: "c"})
	c.Subscribe("$SYS/gateway/broker/#", 0)
	left := map[string]bool{}
	for _, f := range own(Stats{}) {
		left[ownRoot+f.name] = true
	}
	for len(left) > 0 {
		delete(left, c.Next(mqtttest.PUBLISH).Topic())
	}
}
