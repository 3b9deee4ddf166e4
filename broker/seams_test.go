package broker

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// TestClientsDoNotTakeTheRoomOfABridge fills a gateway up while its bridge is
// down.
func TestClientsDoNotTakeTheRoomOfABridge(t *testing.T) {
	m := realtest.StartMosquitto(t)
	r := newRelay(t, m.Addr)
	r.set(true)
	g := start(t, bridgeTo(r.Addr().String(), "dc2", "a/# out 1"), func(c *Config) { c.MaxConnections = 1 })
	refused := func() {
		t.Helper()
		if c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "one more", V5: true}); c.Connack.Code() != 0x89 {
			t.Errorf("answered %v", c.Connack)
		}
	}
	eventually(t, "it waits", func() bool { return g.Stats().Subscriptions == 1 && g.Stats().Connected == 0 })
	g.dial(mqtttest.Options{ID: "first"})
	refused()
	r.set(false)
	g.bridged()
	refused()

	// Nor while its connection ends.
	o := g.outboxOf(bridgePrefix + "dc2")
	o.mu.Lock()
	defer o.mu.Unlock()
	r.set(true)
	eventually(t, "the bridge is not connected", func() bool { return atomic.LoadInt64(&g.server.Info.ClientsConnected) == 1 })
	refused()
}

func TestATopicOfAnotherBrokerThatIsTooDeepDoesNotBlockTheBridge(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo(m.Addr, "dc2", "# in 1"), func(c *Config) { c.MaxTopicLevels = 3 })
	here, there := watchAll(t, g.addr, "here"), mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "there", V5: true})
	joined(t, there, here, "a")
	send(there, "a/b/c/d/e", 1, "too deep")
	send(there, "a/b/c/d", 1, "end")
	if got := received(t, here, payload("end")); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if s := g.Bridges()[0]; !s.Up || s.Dropped != 1 || strings.Contains(g.log.String(), "bridge down") {
		t.Errorf("%+v\n%s", s, g.log)
	}
}

// TestABridgeMayBeSentMoreThanAClientMaySend has a broker that sends as much as
// there is, and in MQTT 3.1.1 cannot be told to stop, while results wait for the
// disk.
func TestABridgeMayBeSentMoreThanAClientMaySend(t *testing.T) {
	const results = 2 * receiveMaximum
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			m := realtest.StartMosquitto(t, "max_inflight_messages 0", "max_queued_messages 0")
			g := start(t, withBridge(Bridge{
				Name: "dc2", Remote: Remote{Address: []string{"mqtt://" + m.Addr}}, Protocol: "3.1.1",
				Topics: []string{fmt.Sprintf("nagios/# in %d", qos)},
			}))
			g.bridged()
			there := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "there", V5: true})
			send(there, "nagios/web1", qos, "the first")
			g.got(t, 1)
			g.pause()
			for first := 1; first <= results; first += 512 {
				send(there, "nagios/web1", qos, numbers(first, 512)...)
			}
			g.got(t, 1+receiveMaximum)
			g.release()
			for i, p := range payloads(g.got(t, 1+results))[1:] {
				if p != fmt.Sprint(i+1) {
					t.Fatalf("result %d is %s", i+1, p)
				}
			}
			if strings.Contains(g.log.String(), "bridge down") {
				t.Errorf("the log says\n%s", g.log)
			}
		})
	}
}

func TestWhatIsPublishedBeforeListenHidesNoStoredSubscription(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "kept", Persistent: true})
	c.Subscribe("checkbus/status", 1)
	c.Disconnect()
	g.stop()
	b, err := New(g.cfg, g.Broker.log)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.routesOf("checkbus/status")
	if err := b.restore(); err != nil {
		t.Fatal(err)
	}
	defer b.store.close()
	if len(b.routesOf("checkbus/status")) != 1 {
		t.Error("the subscription is not found")
	}
}

// TestSysCountsABridgeAsMosquittoDoes has a gateway and a Mosquitto with the
// same bridge, and compares what $SYS says.
func TestSysCountsABridgeAsMosquittoDoes(t *testing.T) {
	far, farther := realtest.StartMosquitto(t), realtest.StartMosquitto(t)
	_, port, _ := strings.Cut(farther.Addr, ":")
	m := realtest.StartMosquitto(t, "sys_interval 1", "connection dc1", "address 127.0.0.1:"+port, "topic a/# out 1", "remote_clientid dc1")
	g := start(t, everySecond, withBridge(Bridge{
		Name: "dc1", ClientID: "dc1", Remote: Remote{Address: []string{"mqtt://" + far.Addr}}, Topics: []string{"a/# out 1"}, NotificationsLocalOnly: true,
	}))
	g.bridged()
	// figures are those after three updates with the bridge up, when all is counted.
	figures := func(addr string) map[string]string {
		c := mqtttest.Dial(t, addr, mqtttest.Options{ID: "watcher"})
		c.Subscribe("$SYS/broker/#", 0)
		said := map[string]string{}
		for updates := 0; updates < 4; {
			p := c.Next(mqtttest.PUBLISH)
			said[p.Topic()] = p.Payload()
			if p.Topic() == "$SYS/broker/uptime" && said["$SYS/broker/connection/dc1/state"] == "1" {
				updates++
			}
		}
		c.Disconnect()
		return said
	}
	ours, theirs := figures(g.addr), figures(m.Addr)
	for _, topic := range []string{"clients/total", "clients/connected", "clients/disconnected", "subscriptions/count", "connection/dc1/state"} {
		if got, want := ours["$SYS/broker/"+topic], theirs["$SYS/broker/"+topic]; got != want {
			t.Errorf("%s is %q, Mosquitto's %q", topic, got, want)
		}
	}
}

func TestAVisitorTooManyIsCountedAndLoggedOnce(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections = 1 })
	server := g.pages()
	for range 1 + strangers {
		mqtttest.Open(t, g.addr, mqtttest.Options{})
	}
	eventually(t, "all are there", func() bool { return g.count.connections.Load() == 1+strangers })
	for range 2 {
		response, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %s", response.Status)
		}
	}
	g.counts(2, "connection refused, there are too many\"", func(s Stats) int64 { return s.Refused })
}
