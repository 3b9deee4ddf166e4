package broker

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"checkbus/internal/mqtttest"
)

// pages serves MQTT over WebSocket beside g, as the console's server does, to
// the user that a header names.
func (g *gateway) pages() *httptest.Server {
	g.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.ServeWebSocket(w, r, r.Header.Get("User"))
	}))
	g.t.Cleanup(server.Close)
	return server
}

// visit opens a WebSocket to pages as user; header may change the request.
func visit(t *testing.T, server *httptest.Server, user string, o mqtttest.Options) *mqtttest.Client {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}}
	ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/mqtt", http.Header{"User": {user}})
	if err != nil {
		t.Fatal(err)
	}
	c := mqtttest.Over(t, &wsConn{Conn: ws.NetConn(), ws: ws}, o)
	c.Send(o.Encode())
	c.Connack, err = c.Read()
	if err != nil || c.Connack.Code() != 0 {
		t.Fatalf("CONNACK %v, %v", c.Connack, err)
	}
	return c
}

func TestAVisitorReadsAndPublishesNothing(t *testing.T) {
	g := start(t, anonymous)
	c := visit(t, g.pages(), "", mqtttest.Options{ID: "console", V5: true})
	c.Subscribe("#", 1)
	c.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 1, ID: 7})
	if ack := c.Next(mqtttest.PUBACK); ack.Code() != 0x87 {
		t.Errorf("a publish was answered %v", ack)
	}
	g.refused(t, 1)
	if err := g.Publish("checkbus/state/web1", []byte("down"), true); err != nil {
		t.Fatal(err)
	}
	if p := c.Next(mqtttest.PUBLISH); p.Topic() != "checkbus/state/web1" {
		t.Errorf("got %v", p)
	}
}

func TestAVisitorHasTheRightsOfItsUser(t *testing.T) {
	dir := t.TempDir()
	passwords, acl := dir+"/passwd", dir+"/acl"
	write(t, passwords, "ann:"+newPasswordHash("secret").String()+"\n")
	write(t, acl, "user ann\ntopic read checkbus/#\n")
	g := start(t, func(c *Config) { c.Access = Access{passwords, acl} })
	server := g.pages()
	c := visit(t, server, "ann", mqtttest.Options{ID: "console", V5: true, User: "root"})
	c.Subscribe("#", 0)
	for _, topic := range []string{"secret/1", "checkbus/status", "secret/2"} {
		if err := g.Publish(topic, []byte("x"), false); err != nil {
			t.Fatal(err)
		}
	}
	if p := c.Next(mqtttest.PUBLISH); p.Topic() != "checkbus/status" {
		t.Errorf("got %v", p)
	}
	if !g.MayRead("ann", "checkbus/status") || g.MayRead("ann", "secret/1") || g.MayRead("", "checkbus/status") {
		t.Error("MayRead says otherwise")
	}

	write(t, passwords, "ann:"+newPasswordHash("changed").String()+"\n")
	before := g.PasswordStamp("ann")
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	if p := c.Next(mqtttest.DISCONNECT); p.Code() != 0x87 {
		t.Errorf("with another password the visitor got %v", p)
	}
	if g.PasswordStamp("ann") == before || g.PasswordStamp("nobody") != "" {
		t.Error("the stamp does not tell")
	}
}

func TestPagesOfOtherOriginsAreNoVisitors(t *testing.T) {
	g := start(t, anonymous)
	server := g.pages()
	url := "ws" + strings.TrimPrefix(server.URL, "http") + "/mqtt"
	for name, tt := range map[string]struct {
		header    http.Header
		protocols []string
		want      int
	}{
		"same origin":    {http.Header{"Origin": {server.URL}}, []string{"mqtt"}, 0},
		"no browser":     {http.Header{}, []string{"mqtt"}, 0},
		"another origin": {http.Header{"Origin": {"https://evil.example.org"}}, []string{"mqtt"}, http.StatusForbidden},
		"no origin":      {http.Header{"Origin": {"null"}}, []string{"mqtt"}, http.StatusForbidden},
		"another port":   {http.Header{"Origin": {"http://127.0.0.1:1"}}, []string{"mqtt"}, http.StatusForbidden},
		"no MQTT":        {http.Header{}, []string{"chat"}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			dialer := websocket.Dialer{Subprotocols: tt.protocols}
			ws, response, err := dialer.Dial(url, tt.header)
			if err == nil {
				ws.Close()
			}
			if (err == nil) != (tt.want == 0) || err != nil && response.StatusCode != tt.want {
				t.Errorf("%v, %v", response, err)
			}
		})
	}
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain request: %s", response.Status)
	}
}

func TestVisitorsLeaveWhenTheGatewayStops(t *testing.T) {
	g := start(t, anonymous)
	server := g.pages()
	c := visit(t, server, "", mqtttest.Options{ID: "console", V5: true})
	g.stop()
	if p := c.Next(mqtttest.DISCONNECT); p.Code() != 0x8B {
		t.Errorf("got %v", p)
	}
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("afterwards: %s", response.Status)
	}
}

func TestPasswordsOfVisitorsCountAsLogins(t *testing.T) {
	passwords := t.TempDir() + "/passwd"
	write(t, passwords, "ann:"+newPasswordHash("secret").String()+"\n")
	g := start(t, func(c *Config) { c.Access.PasswordFile = passwords })
	address := netip.MustParseAddr("192.0.2.1")
	check := func(user, password string) (bool, time.Duration) {
		return g.CheckPassword(context.Background(), address, user, password)
	}
	if ok, wait := check("ann", "secret"); !ok || wait != 0 {
		t.Errorf("the password: %t, %v", ok, wait)
	}
	for range loginAttempts {
		if ok, wait := check("ann", "guess"); ok || wait != 0 {
			t.Errorf("a guess: %t, %v", ok, wait)
		}
	}
	g.guessed(address, "ann")
	if ok, wait := check("ann", "secret"); ok || wait <= 0 {
		t.Errorf("after too many guesses: %t, %v", ok, wait)
	}
	if n := g.Stats().Unauthorized; n != loginAttempts+1 {
		t.Errorf("%d logins counted as refused", n)
	}
	if ok, _ := check("", ""); ok {
		t.Error("nobody is let in")
	}
}

func TestClientsAreListedInPages(t *testing.T) {
	g := start(t, anonymous)
	for _, id := range []string{"c", "a", "b"} {
		mqtttest.Dial(t, g.addr, mqtttest.Options{ID: id})
	}
	sender := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "d", V5: true})
	sender.Subscribe("x", 1)
	sender.Publish(mqtttest.Message{Topic: "x", Payload: "1", QoS: 0})
	sender.Next(mqtttest.PUBLISH)
	var ids []string
	page := g.Clients("", 3)
	for _, c := range append(page, g.Clients("c", 3)...) {
		ids = append(ids, c.ID+" "+c.Version)
		if host, _, _ := net.SplitHostPort(c.Address); host != "127.0.0.1" || time.Since(c.Connected) > time.Minute {
			t.Errorf("%+v", c)
		}
	}
	if got, want := strings.Join(ids, ", "), "a 3.1.1, b 3.1.1, c 3.1.1, d 5"; got != want {
		t.Errorf("clients are %s, want %s", got, want)
	}
	eventually(t, "its messages are counted", func() bool {
		last := g.Clients("c", 3)[0]
		return last.MessagesIn == 1 && last.MessagesOut == 1
	})
}

func TestABrokerSaysWhetherItIsReady(t *testing.T) {
	cfg := Default()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	b, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if b.Ready() == nil {
		t.Error("ready before Run")
	}
	g := start(t, anonymous)
	mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "a"})
	if err := g.Ready(); err != nil {
		t.Error(err)
	}
	g.stop()
	if g.Ready() == nil {
		t.Error("ready after Run")
	}
}
