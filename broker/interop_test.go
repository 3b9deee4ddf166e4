package broker

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// mosquitto returns a command of mosquitto-clients that talks to g.
func (g *gateway) mosquitto(program string, args ...string) *exec.Cmd {
	g.t.Helper()
	host, port, _ := strings.Cut(g.addr, ":")
	return exec.Command(realtest.Need(g.t, program), append([]string{"-h", host, "-p", port}, args...)...)
}

// succeed runs cmd to its end.
func succeed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

func TestMosquittoPubAndSub(t *testing.T) {
	for _, version := range []string{"311", "5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(version+" QoS "+qos, func(t *testing.T) {
				g := start(t)
				sub := g.mosquitto("mosquitto_sub", "-V", version, "-q", qos, "-t", "nagios/#", "-v", "-C", "1001", "-W", "60")
				var out bytes.Buffer
				sub.Stdout = &out
				if err := sub.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "mosquitto_sub is subscribed", func() bool { return g.Stats().Subscriptions == 1 })

				succeed(t, g.mosquitto("mosquitto_pub", "-V", version, "-q", qos, "-t", "nagios/web1/disk", "-m", "alone"))
				var lines strings.Builder
				for i := range 1000 {
					fmt.Fprintf(&lines, "line %d\n", i)
				}
				pub := g.mosquitto("mosquitto_pub", "-V", version, "-q", qos, "-t", "nagios/web1/disk", "-l")
				pub.Stdin = strings.NewReader(lines.String())
				succeed(t, pub)
				if err := sub.Wait(); err != nil {
					t.Fatalf("mosquitto_sub: %v", err)
				}
				if n := len(g.got(t, 1001)); n != 1001 {
					t.Errorf("%d results", n)
				}
				scanner := bufio.NewScanner(&out)
				for i := -1; scanner.Scan(); i++ {
					want := fmt.Sprintf("nagios/web1/disk line %d", i)
					if i < 0 {
						want = "nagios/web1/disk alone"
					}
					if scanner.Text() != want {
						t.Fatalf("line %d is %q", i, scanner.Text())
					}
				}
			})
		}
	}
}

func TestMosquittoPubIsToldOfARefusal(t *testing.T) {
	g := start(t)
	out, _ := g.mosquitto("mosquitto_pub", "-V", "5", "-q", "1", "-t", "nagios/web1", "-m", "invalid").CombinedOutput()
	if !strings.Contains(string(out), "failed") {
		t.Errorf("mosquitto_pub says %q", out)
	}
}

func TestMosquittoWill(t *testing.T) {
	for _, version := range []string{"311", "5"} {
		t.Run(version, func(t *testing.T) {
			g := start(t)
			cmd := g.mosquitto("mosquitto_sub", "-V", version, "-i", "leaving", "-t", "a",
				"--will-topic", "nagios/web1", "--will-payload", "down", "--will-qos", "1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is connected", func() bool { return g.Stats().Subscriptions == 1 })
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if m := g.got(t, 1)[0]; !m.Will || m.Client != "leaving" || m.QoS != 1 {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestPahoWithItsDefaults(t *testing.T) {
	g := start(t)
	received := make(chan paho.Message, 200)
	connect := func() paho.Client {
		c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + g.addr))
		token := c.Connect()
		if token.Wait(); token.Error() != nil {
			t.Fatal(token.Error())
		}
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	sub, pub := connect(), connect()
	token := sub.Subscribe("nagios/#", 2, func(_ paho.Client, m paho.Message) { received <- m })
	if token.Wait(); token.Error() != nil {
		t.Fatal(token.Error())
	}
	for i := range 150 {
		token := pub.Publish("nagios/web1", byte(i%3), false, fmt.Sprint(i))
		if token.Wait(); token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	for i := range 150 {
		select {
		case m := <-received:
			if string(m.Payload()) != fmt.Sprint(i) || m.Qos() != byte(i%3) {
				t.Fatalf("message %d is %s with QoS %d", i, m.Payload(), m.Qos())
			}
		case <-time.After(mqtttest.Patience):
			t.Fatalf("message %d does not come", i)
		}
	}
	g.got(t, 150)
}

// A client that reconnects by itself loses no result, and hands over each once.
func TestPahoLosesNothingWhenItsConnectionBreaks(t *testing.T) {
	g := start(t)
	var lost atomic.Int32
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + g.addr).SetClientID("agent").
		SetCleanSession(false).SetMaxReconnectInterval(50 * time.Millisecond).
		SetConnectionLostHandler(func(paho.Client, error) { lost.Add(1) }))
	token := c.Connect()
	if token.Wait(); token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer c.Disconnect(0)
	const n = 3000
	for i := range n {
		c.Publish("nagios/web1", 1, false, fmt.Sprint(i))
		if i%1000 == 999 {
			g.cut("agent")
		}
	}
	// Its tokens complete when a message is sent again, so they tell nothing.
	eventually(t, "all are handed over", func() bool { return len(g.payloads()) == n })
	eventually(t, "all is acknowledged", func() bool { return g.Stats().Pending == 0 })
	if lost.Load() == 0 {
		t.Error("the connection never broke")
	}
	for payload, times := range g.payloads() {
		if times != 1 {
			t.Errorf("message %s was handed over %d times", payload, times)
		}
	}
}

// payloads counts how often each payload was accepted.
func (s *bus) payloads() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]int{}
	for _, m := range s.messages {
		seen[string(m.Payload)]++
	}
	return seen
}

// cut breaks the connection of a client, as a network does.
func (g *gateway) cut(id string) {
	g.Broker.mu.Lock()
	s := g.sessions[id]
	g.Broker.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Conn.Close()
	}
}

// A stock Mosquitto bridge, with its defaults, passes messages both ways.
func TestMosquittoBridge(t *testing.T) {
	g := start(t)
	m := realtest.StartMosquitto(t, mosquittoBridge("dc2", g.addr, "# both 1"))
	eventually(t, "the bridge is there", func() bool { return g.Stats().Subscriptions == 1 })

	there := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "there"})
	there.Subscribe("#", 0)
	here := g.subscriber("#")
	there.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "up", QoS: 1, ID: 1})
	if m := g.got(t, 1)[0]; m.Topic != "nagios/web1" || string(m.Payload) != "up" {
		t.Errorf("accept got %+v", m)
	}
	g.tellRetained("checkbus/state/web1", "OK")
	for name, c := range map[string]*mqtttest.Client{"here": here, "there": there} {
		left := map[string]bool{"nagios/web1": true, "checkbus/state/web1": true}
		for len(left) > 0 {
			p, err := c.Read()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if p.Type() == mqtttest.PUBLISH {
				delete(left, p.Topic())
			}
		}
	}
	g.nothingMore(here)
	g.got(t, 1) // no echo
}
