package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"

	"github.com/gorilla/websocket"
)

// connectIdle connects n clients and fails the test when each takes more than
// kb KB of memory. The race detector takes several times as much.
func (g *gateway) connectIdle(n int, kb int64, connect func(mqtttest.Options)) {
	g.t.Helper()
	before := g.memory()
	for i := range n {
		connect(mqtttest.Options{ID: fmt.Sprint("idle", i), V5: i%2 == 0})
	}
	each := (g.memory() - before) / int64(n)
	g.t.Logf("%d bytes for each connection", each)
	if underRace() {
		kb *= 16
	}
	if each > kb<<10 {
		g.t.Errorf("a connection takes %d bytes, more than %d KB", each, kb)
	}
}

func TestFiveThousandIdleConnections(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "")
	var idle []*mqtttest.Client
	g.connectIdle(5000, 10, func(o mqtttest.Options) { idle = append(idle, mqtttest.Dial(t, g.addr, o)) })

	neighbours := startStream(t, g.addr, numberedObjects(5, 19), make(map[checks.Object]int))
	neighbours.more(2000)
	neighbours.finish()
	if neighbours.resent > 0 {
		t.Error("a publisher beside them lost its connection")
	}
	for _, c := range idle {
		c.Ping()
	}
}

func TestIdleConnectionsOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := realtest.NewAuthority(t, dir).Issue(t, dir, "server")
	g := startGateway(t, fmt.Sprintf("tls_cert = %q\ntls_key = %q\nallow_anonymous = true\n", cert, key))
	g.connectIdle(1000, 48, func(o mqtttest.Options) {
		nc, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		c := mqtttest.Over(t, tls.Client(nc, &tls.Config{InsecureSkipVerify: true}), o)
		c.Send(o.Encode())
		c.Next(mqtttest.CONNACK)
	})
}

func TestIdleConnectionsOverWebSockets(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "protocol = \"websocket\"\nallow_anonymous = true\n")
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}}
	g.connectIdle(1000, 24, func(o mqtttest.Options) {
		ws, _, err := dialer.DialContext(t.Context(), "ws://"+g.addr+"/mqtt", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() })
		if err := ws.WriteMessage(websocket.BinaryMessage, o.Encode()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	})
}
