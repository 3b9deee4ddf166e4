package broker

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// from makes a broker take results from an outside one as well.
func from(t testing.TB, address string, adapt ...func(*Subscribe)) func(*Config) {
	s := DefaultSubscribe()
	s.Address, s.Dir = []string{address}, t.TempDir()
	for _, f := range adapt {
		f(&s)
	}
	return func(c *Config) { c.Subscribe = &s }
}

// subscribed waits until g has subscribed to its outside broker.
func (g *gateway) subscribed() {
	g.t.Helper()
	eventually(g.t, "connected to the outside broker", g.outside.up.Load)
}

// payloads are those of all messages, in order.
func payloads(messages []Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Payload))
	}
	return all
}

// numbered publishes n messages there, from number first on, and waits until
// they are acknowledged.
func numbered(c *mqtttest.Client, first, n int) {
	var sent []mqtttest.Message
	for i := range n {
		sent = append(sent, mqtttest.Message{Topic: "nagios/web1/disk", Payload: fmt.Sprint("number ", first+i), QoS: 1, ID: uint16(i + 1)})
	}
	c.Publish(sent...)
	for i := range n {
		c.Acked(mqtttest.PUBACK, uint16(i+1))
	}
}

// A wire leads to an address, and can be cut.
type wire struct {
	addr string
	mu   sync.Mutex
	open []net.Conn
}

func newWire(t testing.TB, to string) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: ln.Addr().String()}
	var copying sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		w.cut()
		copying.Wait()
	})
	copying.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, near, far)
			w.mu.Unlock()
			for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
				copying.Go(func() {
					_, _ = io.Copy(to, from)
					to.Close()
				})
			}
		}
	})
	return w
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

func TestResultsOfAnOutsideBrokerAreTakenAndAcknowledgedInTheirOrder(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	g := start(t, from(t, "mqtt://"+outside.Addr))
	g.subscribed()
	sub := g.subscriber("nagios/#")
	g.pause()
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	numbered(publisher, 0, 100)
	g.got(t, 20) // max_inflight_messages, while nothing is stored
	g.release()
	got := g.got(t, 100)
	for i, m := range got {
		if want := fmt.Sprint("number ", i); string(m.Payload) != want || m.Client != outsideName || !m.Held {
			t.Fatalf("message %d is %q from %q, want %q from %q", i, m.Payload, m.Client, want, outsideName)
		}
		if p := sub.Next(mqtttest.PUBLISH); p.Payload() != string(m.Payload) {
			t.Fatalf("subscribers get %v, want %q", p, m.Payload)
		}
	}
	eventually(t, "all are acknowledged", func() bool { return g.outside.acknowledged.Load() == 100 })
}

func TestWhatCannotBeStoredStaysWithTheOutsideBrokerAndKeepsItsOrder(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	var mu sync.Mutex
	full, stored, offers := true, []string(nil), map[string]int{}
	g := start(t, from(t, "mqtt://"+outside.Addr))
	g.subscribed()
	g.Broker.accept = func(m Message, done func(error)) {
		mu.Lock()
		offers[string(m.Payload)]++
		failed := full
		if !failed {
			stored = append(stored, string(m.Payload))
		}
		mu.Unlock()
		if failed {
			done(verdictOn("full"))
			return
		}
		done(nil)
	}
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	numbered(publisher, 0, 50)
	eventually(t, "the first is offered again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return offers["number 0"] > 3
	})
	if n := g.outside.acknowledged.Load(); n > 0 {
		t.Errorf("%d were acknowledged without being stored", n)
	}
	mu.Lock()
	full = false
	mu.Unlock()
	eventually(t, "all are acknowledged", func() bool { return g.outside.acknowledged.Load() == 50 })
	for i, p := range stored {
		if p != fmt.Sprint("number ", i) {
			t.Fatalf("stored in the order %q", stored)
		}
	}
	if log := g.log.String(); strings.Count(log, "cannot be stored") != 1 || strings.Count(log, "stored again") != 1 {
		t.Errorf("an outage is not two lines:\n%s", log)
	}
}

func TestRefusedResultsOfAnOutsideBrokerDoNotComeAgain(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	g := start(t, from(t, "mqtt://"+outside.Addr))
	g.subscribed()
	sub := g.subscriber("nagios/#")
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	for i, payload := range []string{"invalid", "unknown", "denied", "stale", "partial", ""} {
		publisher.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: payload, QoS: 1, ID: uint16(i + 1)})
	}
	eventually(t, "all are acknowledged", func() bool { return g.outside.acknowledged.Load() == 6 })
	for _, want := range []string{"partial", ""} {
		if p := sub.Next(mqtttest.PUBLISH); p.Payload() != want {
			t.Errorf("subscribers get %v, want %q", p, want)
		}
	}
	g.nothingMore(sub)
	g.got(t, 6)
}

func TestWhatAnOutsideBrokerRetainedIsNoResult(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	publisher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "host"})
	publisher.Publish(mqtttest.Message{Topic: "nagios/old", Payload: "old", QoS: 1, ID: 1, Retain: true})
	publisher.Acked(mqtttest.PUBACK, 1)
	g := start(t, from(t, "mqtt://"+outside.Addr))
	eventually(t, "the retained one is acknowledged", func() bool { return g.outside.acknowledged.Load() == 1 })
	publisher.Publish(mqtttest.Message{Topic: "nagios/new", Payload: "new", QoS: 1, ID: 2, Retain: true})
	eventually(t, "the live one is acknowledged", func() bool { return g.outside.acknowledged.Load() == 2 })
	if got := payloads(g.got(t, 1)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("accepted %q, want the live one", got)
	}
}

func TestOwnMessagesAreSeenAtTheOutsideBroker(t *testing.T) {
	tests := map[string]struct {
		adapt  func(*Subscribe)
		status string
		event  string
	}{
		"plain":  {func(*Subscribe) {}, "checkbus/status", "checkbus/event/web1"},
		"prefix": {func(s *Subscribe) { s.PublishPrefix = "dc1/" }, "dc1/checkbus/status", "dc1/checkbus/event/web1"},
		"shared": {func(s *Subscribe) { s.Share, s.ClientID = "g", "a/b" }, "checkbus/status/a%2Fb", "checkbus/event/web1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			outside := realtest.StartMosquitto(t)
			watcher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "watcher"})
			watcher.Subscribe("#", 1)
			next := func(topic, payload string) {
				t.Helper()
				p := watcher.Next(mqtttest.PUBLISH)
				if p.Topic() != topic || p.Payload() != payload {
					t.Fatalf("published %q on %s, want %q on %s", p.Payload(), p.Topic(), payload, topic)
				}
				watcher.Ack(mqtttest.PUBACK, p.ID())
			}
			g := start(t, from(t, "mqtt://"+outside.Addr, tt.adapt))
			g.subscribed() // what is retained meanwhile may be published twice
			g.tellRetained(StatusTopic, "on")
			next(tt.status, "on")
			g.tell("checkbus/event/web1", "changed")
			next(tt.event, "changed")
			g.tell("$SYS/gateway/x", "1")
			g.tellRetained(StatusTopic, "off")
			g.stop()
			next(tt.status, "off")
			watcher.Ping()
		})
	}
}

func TestALostGatewayIsOfflineAtTheOutsideBroker(t *testing.T) {
	outside := realtest.StartMosquitto(t)
	way := newWire(t, outside.Addr)
	g := start(t, from(t, "mqtt://"+way.addr))
	g.subscribed()
	watcher := mqtttest.Dial(t, outside.Addr, mqtttest.Options{ID: "watcher"})
	watcher.Subscribe(StatusTopic, 0)
	want := func(payload string) {
		t.Helper()
		if p := watcher.Next(mqtttest.PUBLISH); p.Payload() != payload {
			t.Fatalf("published %q, want %q", p.Payload(), payload)
		}
	}
	g.tellRetained(StatusTopic, "on")
	want("on")
	way.cut()
	want(offlineStatus)
	want("on")
}

func TestRedeliveryIsNoSecondResult(t *testing.T) {
	for _, qos := range []int{1, 2} {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) {
			outside := realtest.StartMosquitto(t)
			way := newWire(t, outside.Addr)
			g := start(t, from(t, "mqtt://"+way.addr, func(s *Subscribe) { s.QoS = qos }))
			g.subscribed()
			g.pause()
			host, port, _ := net.SplitHostPort(outside.Addr)
			publish := exec.Command(realtest.Need(t, "mosquitto_pub"), "-h", host, "-p", port, "-q", fmt.Sprint(qos), "-t", "nagios/web1/disk", "-l")
			var lines strings.Builder
			for i := range 60 {
				fmt.Fprintln(&lines, "number", i)
			}
			publish.Stdin = strings.NewReader(lines.String())
			if out, err := publish.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			g.got(t, 20)
			way.cut()
			eventually(t, "they come again", func() bool { return g.outside.redelivered.Load() == 20 })
			g.release()
			eventually(t, "half is acknowledged", func() bool { return g.outside.acknowledged.Load() >= 30 })
			way.cut() // acknowledgements may be lost with it
			eventually(t, "all are acknowledged", func() bool { return g.outside.in.held() == 0 && g.outside.acknowledged.Load() >= 60 })
			for i, p := range payloads(g.got(t, 60)) {
				if p != fmt.Sprint("number ", i) {
					t.Fatalf("result %d is %q", i, p)
				}
			}
		})
	}
}
