package broker

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func TestAStockMosquittoBridgesIn(t *testing.T) {
	g := start(t)
	m := realtest.StartMosquitto(t, mosquittoBridge("hq", g.addr, "out/# out 2", "in/# in 2", "both/# both 2", "nagios/# out 1"))
	here, there := watchAll(t, g.addr, "here"), watchAll(t, m.Addr, "there")
	fromHere := g.dial(mqtttest.Options{ID: "from-here", V5: true})
	fromThere := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "from-there", V5: true})
	joined(t, fromThere, here, "out/joined")
	joined(t, fromHere, there, "in/joined")
	joined(t, fromHere, there, "both/joined")
	for qos := range byte(3) {
		for _, way := range []struct {
			topic    string
			from, to *mqtttest.Client
		}{{"out/x", fromThere, here}, {"in/x", fromHere, there}, {"both/x", fromHere, there}, {"both/y", fromThere, here}} {
			t.Run(fmt.Sprintf("%s QoS %d", way.topic, qos), func(t *testing.T) {
				text := fmt.Sprint(way.topic, qos)
				publish(way.from, mqtttest.Message{Topic: way.topic, Payload: text, QoS: qos, Retain: true})
				got := received(t, way.to, payload(text))
				if last := got[len(got)-1]; last.QoS() != qos {
					t.Errorf("got %v", got)
				}
				late := mqtttest.Dial(t, way.to.RemoteAddr().String(), mqtttest.Options{ID: "late", V5: true})
				late.Subscribe(way.topic, 0)
				if p := late.Next(mqtttest.PUBLISH); !p.Retain() || p.Payload() != text {
					t.Errorf("retained is %v", p)
				}
			})
		}
	}
	send(fromThere, "nagios/web1/disk", 1, "fine")
	if r := g.got(t, 1)[0]; r.Topic != "nagios/web1/disk" || string(r.Payload) != "fine" {
		t.Errorf("got %+v", r)
	}
}

// Mosquitto ends the connection over which it is sent more than 20 messages of
// QoS 2 without its answer, and would do so again and again.
func TestAStockMosquittosBridgeTakesABurst(t *testing.T) {
	for _, version := range []string{"mqttv311", "mqttv50"} {
		t.Run(version, func(t *testing.T) {
			g := start(t)
			m := realtest.StartMosquitto(t, "max_queued_messages 0", mosquittoBridge("hq", g.addr, "in/# in 2"), "bridge_protocol_version "+version)
			here, there := g.dial(mqtttest.Options{ID: "here", V5: true}), watchAll(t, m.Addr, "there")
			joined(t, here, there, "in/joined")
			burst := numbers(0, 500)
			send(here, "in/x", 2, burst...)
			for i, p := range received(t, there, payload(burst[499])) {
				if p.Payload() != burst[i] {
					t.Errorf("message %d is %v", i, p)
				}
			}
		})
	}
}

// In MQTT 3.1.1 it cannot say so. It ends the connection, and each time one
// message is lost, of which it said before that it had it (handle__publish,
// src/handle_publish.c in 2.0.11: a PUBREC has no reason code then).
func TestAMosquittoThatTakesOneMessageAtATime(t *testing.T) {
	for version, mayLose := range map[string]int{"3.1.1": 5, "5": 0} {
		t.Run(version, func(t *testing.T) {
			m := realtest.StartMosquitto(t, "max_inflight_messages 1", "max_queued_messages 0")
			g := start(t, withBridge(Bridge{
				Name: "m", Remote: Remote{Address: []string{"mqtt://" + m.Addr}}, Protocol: version, Topics: []string{"out/# out 2"},
			}), steadyAfter(time.Second))
			g.bridged()
			there := watchAll(t, m.Addr, "there")
			burst := numbers(0, 100)
			send(g.dial(mqtttest.Options{ID: "here", V5: true}), "out/x", 2, burst...)
			lost, next := 100, 0
			for _, p := range received(t, there, payload("99")) {
				at := slices.Index(burst, p.Payload())
				if at < next {
					t.Fatalf("got %v after %d", p, next-1)
				}
				lost, next = lost-1, at+1
			}
			if lost > mayLose {
				t.Errorf("%d messages are lost", lost)
			}
		})
	}
}

// What a Mosquitto sends again after a restart in MQTT 5 is more than the Receive
// Maximum that it was told.
func TestAStockMosquittosBridgeMaySendMuchAgain(t *testing.T) {
	const results = 3 * receiveMaximum / 2
	g := start(t)
	g.pause()
	c := g.dial(mqtttest.Options{ID: "hq", V5: true, Will: &mqtttest.Message{Topic: stateTopic("hq"), Payload: "0"}})
	var all []mqtttest.Message
	for i := range results {
		all = append(all, result(uint16(i+1), 1, "x"))
	}
	c.Publish(all...)
	g.got(t, receiveMaximum)
	g.release()
	for i := range results {
		c.Acked(mqtttest.PUBACK, uint16(i+1))
	}
}

// stateOf waits until a broker says that the bridge of a client is in a state.
func stateOf(t *testing.T, address, client, want string) {
	t.Helper()
	sub := mqtttest.Dial(t, address, mqtttest.Options{ID: "state-" + want})
	sub.Subscribe(stateTopic(client), 1)
	received(t, sub, func(p mqtttest.Packet) bool { return p.Payload() == want })
	sub.Disconnect()
}

func TestTheStateOfAStockMosquittosBridge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwd")
	if err := SetPassword(file, "edge", "secret"); err != nil {
		t.Fatal(err)
	}
	anonymous := true
	g := start(t, func(c *Config) {
		c.Access.PasswordFile, c.Listeners[0].AllowAnonymous = file, &anonymous
	})
	m := realtest.StartMosquitto(t, mosquittoBridge("hq", g.addr, "a/# out 1"), "remote_clientid edge-1", "remote_username edge", "remote_password secret")
	stateOf(t, g.addr, "edge-1", "1")
	if err := syscall.Kill(m.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	stateOf(t, g.addr, "edge-1", "0") // its will
	c := g.dial(mqtttest.Options{ID: "other", V5: true, User: "edge", Password: ptr("secret")})
	c.Publish(mqtttest.Message{Topic: stateTopic("edge-1"), Payload: "1", QoS: 1, ID: 1})
	if p := c.Acked(mqtttest.PUBACK, 1); p.Code() != 0x87 {
		t.Errorf("a client speaks for the bridge of another: %v", p)
	}
}

func ptr[T any](v T) *T { return &v }

func TestTheStateOfABridge(t *testing.T) {
	m := realtest.StartMosquitto(t)
	r := newRelay(t, m.Addr)
	r.set(true)
	bridge := Bridge{Name: "dc2", Remote: Remote{Address: []string{"mqtt://" + r.Addr().String()}}, Topics: []string{"a"}}
	g := start(t, withBridge(bridge))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	client := host + ".dc2" // as a Mosquitto calls itself
	stateOf(t, g.addr, client, "0")
	r.set(false)
	stateOf(t, g.addr, client, "1")
	stateOf(t, m.Addr, client, "1")
	r.set(true)
	stateOf(t, g.addr, client, "0")
	stateOf(t, m.Addr, client, "0") // the will
	r.set(false)
	stateOf(t, m.Addr, client, "1")
	g.stop()
	stateOf(t, m.Addr, client, "0")
}

func TestABridgeIsNotToldOfWhereItShallNotBe(t *testing.T) {
	m := realtest.StartMosquitto(t)
	watcher := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "watcher"})
	watcher.Subscribe("$SYS/broker/connection/#", 0)
	watcher.Subscribe("end/#", 0)
	bridge := Bridge{
		Name: "dc2", Remote: Remote{Address: []string{"mqtt://" + m.Addr}}, Topics: []string{"end/#"},
		ClientID: "dc1", NotificationsLocalOnly: true,
	}
	g := start(t, withBridge(bridge))
	stateOf(t, g.addr, "dc1", "1")
	joined(t, g.dial(mqtttest.Options{ID: "pub", V5: true}), watcher, "end/x")
}

func TestABridgeOverTLSWithACertificateAndAPassword(t *testing.T) {
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	serverCert, serverKey := authority.Issue(t, dir, "broker")
	cert, key := authority.Issue(t, dir, "gateway")
	passwords := filepath.Join(dir, "passwd")
	if err := SetPassword(passwords, "dc1", "right"); err != nil {
		t.Fatal(err)
	}
	secured := realtest.FreeAddr(t)
	_, port, _ := strings.Cut(secured, ":")
	m := realtest.StartMosquitto(t, "password_file "+passwords, "listener "+port+" 127.0.0.1", "cafile "+authority.File,
		"certfile "+serverCert, "keyfile "+serverKey, "require_certificate true")
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, withBridge(Bridge{Name: "dc2", Topics: []string{"a/# both 1"}, Remote: Remote{
		Address: []string{"mqtts://" + secured}, CA: authority.File, Cert: cert, Key: key, ServerName: "broker", Username: "dc1", PasswordFile: secret,
	}}))
	eventually(t, "it says why it is down", func() bool { return strings.Contains(g.log.String(), "bridge down") })
	if log := g.log.String(); !strings.Contains(log, "0x87") && !strings.Contains(log, "0x86") || strings.Contains(log, "wrong") {
		t.Errorf("the log says\n%s", log)
	}
	if err := os.WriteFile(secret, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.bridged() // it reads the file again
	there := watchAll(t, m.Addr, "there")
	joined(t, g.dial(mqtttest.Options{ID: "pub", V5: true}), there, "a/x")
}

func TestABridgeOverOtherTransports(t *testing.T) {
	socket := "unix:" + filepath.Join(t.TempDir(), "mqtt")
	ws := realtest.FreeAddr(t)
	open := true
	far := start(t, func(c *Config) {
		c.Listeners = append(c.Listeners, Listener{Address: socket}, Listener{Address: ws, Protocol: "websocket", AllowAnonymous: &open})
	})
	for _, address := range []string{socket, "ws://" + ws, "ws://" + ws + "/mqtt"} {
		t.Run(address, func(t *testing.T) {
			g := start(t, withBridge(Bridge{Name: "far", ClientID: "dc1", Remote: Remote{Address: []string{address}}, Topics: []string{"a/# out 1"}}))
			sub := watchAll(t, far.addr, "sub")
			joined(t, g.dial(mqtttest.Options{ID: "pub", V5: true}), sub, "a/x")
		})
	}
}

func TestARefusedSubscriptionIsLoggedByItsName(t *testing.T) {
	far := fakeBroker(t, func(nc net.Conn, _ int) {
		_, _ = nc.Write([]byte{0x20, 3, 0, 0, 0, 0x90, 5, 0xff, 0xff, 0, 1, 0x87}) // CONNACK, SUBACK for subscribeID
		_, _ = io.Copy(io.Discard, nc)
	})
	g := start(t, bridgeTo(far, "far", "out/# out 1", "granted/# in 1", "refused/# in 1"))
	eventually(t, "it is logged", func() bool { return strings.Contains(g.log.String(), "refused/# (code 0x87)") })
	if strings.Contains(g.log.String(), "granted/#") {
		t.Error(g.log)
	}
	g.stop()
}

func TestAddressesInTurn(t *testing.T) {
	for name, roundRobin := range map[string]bool{"the first is preferred": false, "round robin": true} {
		t.Run(name, func(t *testing.T) {
			first, second := realtest.StartMosquitto(t), realtest.StartMosquitto(t)
			g := start(t, withBridge(Bridge{
				Name: "dc2", ClientID: "dc1", RoundRobin: roundRobin, Topics: []string{"a/# out 1"},
				Remote: Remote{Address: []string{"mqtt://" + first.Addr, "mqtt://" + second.Addr}},
			}))
			stateOf(t, first.Addr, "dc1", "1")
			first.Stop()
			stateOf(t, second.Addr, "dc1", "1")
			first.Start()
			back := 0
			if roundRobin {
				stateOf(t, second.Addr, "dc1", "1")
			} else {
				stateOf(t, first.Addr, "dc1", "1")
				stateOf(t, second.Addr, "dc1", "0")
				back = 1
			}
			if n := strings.Count(g.log.String(), "goes back to its first"); n != back {
				t.Errorf("went back %d times", n)
			}
		})
	}
}

func TestWhatWaitsForABridgeComesInOrder(t *testing.T) {
	m := realtest.StartMosquitto(t)
	r := newRelay(t, m.Addr)
	r.set(true)
	g := start(t, withBridge(Bridge{Name: "dc2", Remote: Remote{Address: []string{"mqtt://" + r.Addr().String()}}, Topics: []string{"a/# out 1"}}))
	eventually(t, "it is subscribed", func() bool { return g.Stats().Subscriptions == 1 && g.Stats().Connected == 0 })
	sub := watchAll(t, m.Addr, "sub")
	pub := g.dial(mqtttest.Options{ID: "pub"})
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprint(i))
	}
	send(pub, "a/x", 1, all...)
	if s := g.Bridges()[0]; s.Queued != 1000 || s.Up {
		t.Errorf("%+v", s)
	}
	r.set(false)
	for i, p := range received(t, sub, payload("999")) {
		if p.Payload() != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, p.Payload())
		}
	}
	eventually(t, "all are counted", func() bool { s := g.Bridges()[0]; return s.Queued == 0 && s.Sent == 1000 && s.Up })
}

func TestAnOutageOfABridgeIsTwoLines(t *testing.T) {
	m := realtest.StartMosquitto(t)
	r := newRelay(t, m.Addr)
	g := start(t, bridgeTo(r.Addr().String(), "dc2", "a/# out 1"), steadyAfter(2*time.Second))
	lines := func() []string {
		return slices.DeleteFunc(strings.Split(g.log.String(), "\n"), func(l string) bool { return !strings.Contains(l, "bridge=dc2") })
	}
	g.bridged()
	for range 2 {
		r.set(true)
		eventually(t, "it is down", func() bool { return !g.Bridges()[0].Up })
		r.set(false)
		g.bridged()
	}
	eventually(t, "the outage is over", func() bool { return strings.Contains(g.log.String(), "bridge up again") })
	if got := lines(); len(got) != 3 || !strings.Contains(got[0], "bridge up") || !strings.Contains(got[1], "bridge down") {
		t.Errorf("the log says\n%s", strings.Join(got, "\n"))
	}
}

func TestNobodyButTheGatewayIsItsBridge(t *testing.T) {
	g := start(t, bridgeTo(realtest.FreeAddr(t), "dc2", "a/# out 1"))
	c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: bridgePrefix + "dc2", V5: true})
	if c.Connack.Code() != 0x85 {
		t.Errorf("answered %v", c.Connack)
	}
}

func TestAMessageThatThisBrokerCannotTakeDoesNotBlockTheBridge(t *testing.T) {
	m := realtest.StartMosquitto(t)
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			g := start(t, func(c *Config) { c.MaxPacket = 5000 }, withBridge(Bridge{
				Name: "m" + version, Remote: Remote{Address: []string{"mqtt://" + m.Addr}}, Protocol: version,
				Topics: []string{"deep/# in 1 " + strings.Repeat("x/", 150) + ` ""`, "# in 1 far/"},
			}))
			here, there := watchAll(t, g.addr, "here"), mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "there", V5: true})
			joined(t, there, here, "a")
			send(there, "deep/"+strings.Repeat("y/", 100), 1, "too deep")
			send(there, "large", 1, strings.Repeat("z", 6000))
			send(there, "a", 1, "end")
			if got := received(t, here, payload("end")); len(got) != 1 || got[0].Topic() != "far/a" {
				t.Errorf("got %v", got)
			}
			if s := g.Bridges()[0]; !s.Up || strings.Contains(g.log.String(), "bridge down") {
				t.Errorf("%+v\n%s", s, g.log)
			}
		})
	}
}

func TestFiguresOfBridges(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo(m.Addr, "dc2", "a/# out 1"), func(c *Config) { c.SysInterval = time.Second })
	sub := g.dial(mqtttest.Options{ID: "sub"})
	sub.Subscribe(bridgeRoot+"dc2/#", 0)
	send(g.dial(mqtttest.Options{ID: "pub"}), "a/x", 1, "x")
	want := map[string]string{"up": "1", "sent": "1", "received": "0", "dropped": "0", "queued": "0"}
	for got := map[string]string{}; !maps.Equal(got, want); {
		p := sub.Next(mqtttest.PUBLISH)
		got[strings.TrimPrefix(p.Topic(), bridgeRoot+"dc2/")] = p.Payload()
	}
}
