package broker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"
)

// overWebSocket makes the listener of a test speak WebSocket.
func overWebSocket(c *Config) { c.Listeners[0].Protocol = "websocket" }

// url is where the WebSocket of the listener is.
func (g *gateway) url(scheme string) string {
	return scheme + "://" + g.addr + g.listeners[0].settings.path()
}

// openWebSocket opens a WebSocket; cfg is nil without TLS.
func (g *gateway) openWebSocket(cfg *tls.Config) *websocket.Conn {
	g.t.Helper()
	scheme := "ws"
	if cfg != nil {
		scheme = "wss"
	}
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: cfg}
	ws, _, err := dialer.Dial(g.url(scheme), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = ws.Close() })
	return ws
}

// dialWebSocket connects a client that must be let in, and is sent no large
// messages.
func (g *gateway) dialWebSocket(cfg *tls.Config, o mqtttest.Options) *mqtttest.Client {
	g.t.Helper()
	ws := g.openWebSocket(cfg)
	ws.SetReadLimit(maxMessage)
	c := mqtttest.Over(g.t, &wsConn{Conn: ws.NetConn(), ws: ws}, o)
	c.Send(o.Encode())
	if c.Connack = c.Next(mqtttest.CONNACK); c.Connack.Code() != 0 {
		g.t.Fatalf("answered %v", c.Connack)
	}
	return c
}

func TestWebSocketCarriesMQTT(t *testing.T) {
	p := newPKI(t)
	tests := map[string]struct {
		settings func(*Config)
		client   *tls.Config
	}{
		"plain":  {anonymous, nil},
		"secure": {func(c *Config) { p.serve(c); anonymous(c) }, p.client(t, "")},
	}
	for name, tt := range tests {
		for version, v5 := range versions {
			t.Run(name+", "+version, func(t *testing.T) {
				g := start(t, overWebSocket, tt.settings)
				c := g.dialWebSocket(tt.client, mqtttest.Options{ID: "web", V5: v5})
				c.Subscribe("nagios/#", 0)
				payload := strings.Repeat("x", 100_000)
				for id := range uint16(20) {
					c.Publish(result(id+1, 1, payload))
					for range 2 { // in either order
						if p, err := c.Read(); err != nil || p.Type() == mqtttest.PUBLISH && p.Payload() != payload {
							t.Fatalf("got %v, %v", p, err)
						}
					}
				}
				g.got(t, 20)
				g.stop()
				if p := c.Closed(); v5 && p.Code() != 0x8B {
					t.Errorf("told %v", p)
				}
			})
		}
	}
}

func TestPahoOverSecureWebSocket(t *testing.T) {
	p := newPKI(t)
	g := start(t, overWebSocket, p.verify, func(c *Config) { c.Listeners[0].Path = "/a/b" })
	received := make(chan string, 1)
	c := paho.NewClient(paho.NewClientOptions().AddBroker(g.url("wss")).SetTLSConfig(p.client(t, "web1")))
	for _, step := range []func() paho.Token{
		c.Connect,
		func() paho.Token {
			return c.Subscribe("nagios/#", 1, func(_ paho.Client, m paho.Message) { received <- string(m.Payload()) })
		},
		func() paho.Token { return c.Publish("nagios/web1", 1, false, "over wss") },
	} {
		token := step()
		if token.Wait(); token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	defer c.Disconnect(0)
	select {
	case got := <-received:
		if got != "over wss" {
			t.Errorf("received %q", got)
		}
	case <-time.After(mqtttest.Patience):
		t.Error("nothing is received")
	}
	if m := g.got(t, 1)[0]; m.User != "web1" {
		t.Errorf("user %q", m.User)
	}
}

func TestPacketsAndMessagesNeedNotAlign(t *testing.T) {
	g := start(t, overWebSocket, anonymous)
	ws := g.openWebSocket(nil)
	stream := mqtttest.Options{ID: "c"}.Encode()
	for id := range uint16(3) {
		stream = append(stream, result(id+1, 1, "x").Encode(false)...)
	}
	for len(stream) > 0 {
		n := min(7, len(stream))
		w, err := ws.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range stream[:n] { // in as many fragments as it may
			if _, err := w.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		stream = stream[n:]
		if err := ws.WriteMessage(websocket.BinaryMessage, nil); err != nil { // nothing is fine as well
			t.Fatal(err)
		}
	}
	g.got(t, 3)
}

func TestWhatIsNotMQTTOverWebSocketEndsTheConnection(t *testing.T) {
	const text, binary = websocket.TextMessage, websocket.BinaryMessage
	small := func(c *Config) { c.MaxPacket = 4096 }
	tests := map[string]struct {
		kind    int
		message []byte
		code    int // of the close frame
	}{
		"text":      {text, mqtttest.Options{ID: "c"}.Encode(), websocket.CloseUnsupportedData},
		"too large": {binary, append(mqtttest.Options{ID: "c"}.Encode(), bytes.Repeat([]byte{mqtttest.PINGREQ << 4, 0}, 2048)...), websocket.CloseMessageTooBig},
		"no MQTT":   {binary, []byte("GET / HTTP/1.1\r\n\r\n"), websocket.CloseNormalClosure},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, overWebSocket, anonymous, small)
			ws := g.openWebSocket(nil)
			if err := ws.WriteMessage(tt.kind, tt.message); err != nil {
				t.Fatal(err)
			}
			_ = ws.SetReadDeadline(time.Now().Add(mqtttest.Patience))
			for {
				_, _, err := ws.ReadMessage()
				if err == nil {
					continue // the CONNACK
				}
				if !websocket.IsCloseError(err, tt.code) {
					t.Errorf("ended with %v, want code %d", err, tt.code)
				}
				return
			}
		})
	}
}

func TestPingsOfWebSocketsAreAnswered(t *testing.T) {
	g := start(t, overWebSocket, anonymous)
	c := g.openWebSocket(nil)
	ponged := make(chan string, 1)
	c.SetPongHandler(func(data string) error { ponged <- data; return net.ErrClosed })
	if err := c.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(mqtttest.Patience)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(mqtttest.Patience))
	_, _, _ = c.ReadMessage()
	select {
	case data := <-ponged:
		if data != "hello" {
			t.Errorf("answered %q", data)
		}
	default:
		t.Error("not answered")
	}
}

func TestRequestsThatAreNoWebSocketAreAnswered(t *testing.T) {
	g := start(t, overWebSocket, anonymous, func(c *Config) { c.Listeners[0].Origins = []string{"https://good.example"} })
	upgrade := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	tests := map[string]struct {
		request string
		status  int
	}{
		"a page":                {"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", 426},
		"another path":          {"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", 404},
		"no sub-protocol":       {"GET /mqtt HTTP/1.1\r\nHost: x\r\n" + upgrade + "\r\n", 400},
		"another sub-protocol":  {"GET /mqtt HTTP/1.1\r\nHost: x\r\n" + upgrade + "Sec-WebSocket-Protocol: chat\r\n\r\n", 400},
		"an old version":        {"GET /mqtt HTTP/1.1\r\nHost: x\r\n" + strings.Replace(upgrade, "13", "8", 1) + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", 400},
		"no key":                {"GET /mqtt HTTP/1.1\r\nHost: x\r\n" + strings.Replace(upgrade, "AAAA", "", 1) + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", 400},
		"a POST":                {"POST /mqtt HTTP/1.1\r\nHost: x\r\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", 405},
		"a page of bad origin":  {"GET /mqtt HTTP/1.1\r\nHost: x\r\nOrigin: https://bad.example\r\n" + upgrade + "Sec-WebSocket-Protocol: mqtt\r\n\r\n", 403},
		"a page of good origin": {"GET /mqtt HTTP/1.1\r\nHost: x\r\nOrigin: https://GOOD.example\r\n" + upgrade + "Sec-WebSocket-Protocol: x, mqtt\r\n\r\n", 101},
		"the name of MQTT 3.1":  {"GET /mqtt HTTP/1.1\r\nHost: x\r\n" + upgrade + "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n", 101},
		"large":                 {"GET /mqtt HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("x", maxRequest) + "\r\n\r\n", 431},
		"no HTTP":               {"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00\r\n", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(mqtttest.Patience))
			if _, err := io.WriteString(nc, tt.request); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if tt.status == 0 {
				if err == nil {
					t.Errorf("answered %s", answer.Status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != tt.status {
				t.Errorf("answered %s, want %d", answer.Status, tt.status)
			}
			if tt.status == 101 {
				return
			}
			if text, err := io.ReadAll(answer.Body); err != nil || len(text) < 10 || strings.Contains(string(text), "<") {
				t.Errorf("the text is %q, %v", text, err)
			}
		})
	}
}

func TestWebSocketSubscriberThatDoesNotReadHarmsNobody(t *testing.T) {
	p := newPKI(t)
	for name, cfg := range map[string]*tls.Config{"plain": nil, "secure": p.client(t, "")} {
		t.Run(name, func(t *testing.T) {
			g := start(t, overWebSocket, anonymous, func(c *Config) {
				if cfg != nil {
					p.serve(c)
				}
			})
			slow := g.dialWebSocket(cfg, mqtttest.Options{ID: "slow"})
			slow.Subscribe("a", 0)
			payload := string(make([]byte, 1<<20))
			for range 3 * outLimit >> 20 {
				g.tell("a", payload)
			}
			eventually(t, "the slow consumer is closed", func() bool { return g.Stats().SlowConsumers == 1 })
		})
	}
}

func TestListenerSaysWhatItIs(t *testing.T) {
	for want, l := range map[string]Listener{
		"127.0.0.1:1883":                        {Address: "127.0.0.1:1883"},
		":8883, TLS, with a client certificate": {Address: ":8883", TLSCert: "c", ClientCA: "a", RequireClientCert: true},
		":443, secure WebSocket at /mqtt, with or without a client certificate": {Address: ":443", Protocol: "websocket", TLSCert: "c", ClientCA: "a"},
		":80, WebSocket at /x": {Address: ":80", Protocol: "websocket", Path: "/x"},
	} {
		if got := fmt.Sprint(l); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
