package broker

import (
	"net"
	"testing"

	"checkbus/internal/mqtttest"
)

// elsewhere makes all clients that connect from now on come from another
// machine.
func (g *gateway) elsewhere() {
	g.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.addr = ln.Addr().String()
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		g.acceptFrom(&listener{Listener: foreignListener{ln}, anonymous: true})
	}()
	g.t.Cleanup(func() {
		_ = ln.Close()
		<-accepting
	})
}

type foreignListener struct{ net.Listener }

func (l foreignListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return foreignConn{nc}, err
}

type foreignConn struct{ net.Conn }

func (foreignConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func TestOnlyThisMachineIsLocal(t *testing.T) {
	tests := map[string]struct {
		peer net.Addr
		want bool
	}{
		"loopback":           {&net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, true},
		"loopback, IPv6":     {&net.TCPAddr{IP: net.IPv6loopback}, true},
		"loopback, mapped":   {&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1")}, true},
		"Unix socket":        {&net.UnixAddr{}, true},
		"elsewhere":          {&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, false},
		"elsewhere, IPv6":    {&net.TCPAddr{IP: net.ParseIP("2001:db8::1")}, false},
		"no address":         {&net.TCPAddr{}, false},
		"unknown transports": {&net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := isLocal(tt.peer); got != tt.want {
				t.Errorf("isLocal = %t", got)
			}
		})
	}
}

func TestOnlyTheGatewaySpeaksOnItsTopics(t *testing.T) {
	for _, topic := range []string{"checkbus", "checkbus/state/web1", "checkbus/", "$SYS/broker/uptime", "$share/x"} {
		if !Reserved(topic) {
			t.Errorf("a client may write %s", topic)
		}
	}
	if Reserved("checkbus2/x") {
		t.Error("a client may not write checkbus2/x")
	}
}

func TestDeniedPublishIsAnsweredAndDropped(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			all := g.subscriber("+/#")
			sys := g.subscriber("$SYS/#")
			c := g.dial(mqtttest.Options{ID: "p", V5: v5})
			for _, topic := range []string{"checkbus/event/web1", "$SYS/broker/uptime"} {
				for _, qos := range []byte{1, 2} {
					c.Publish(mqtttest.Message{Topic: topic, QoS: qos, ID: 3, Retain: true})
					if p := c.Acked(ackType(qos), 3); v5 != (p.Code() == 0x87) {
						t.Errorf("%s, QoS %d: answered %#x", topic, qos, p.Code())
					}
					if qos == 2 {
						c.Ack(mqtttest.PUBREL, 3)
						c.Acked(mqtttest.PUBCOMP, 3)
					}
				}
				c.Publish(mqtttest.Message{Topic: topic})
			}
			c.Ping()
			g.nothingMore(all)
			g.nothingMore(sys)
			g.refused(t, 0) // these were no results
			if n := g.Stats().Denied; n != 6 {
				t.Errorf("%d counted, want 6", n)
			}
		})
	}
}

func TestDeniedResultIsRefusedAloud(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.elsewhere()
			c := g.dial(mqtttest.Options{ID: "stranger", V5: v5})
			c.Publish(result(3, 1, "x"))
			if p := c.Acked(mqtttest.PUBACK, 3); v5 && p.Reason() != "rejected: access denied: may not write nagios/web1/disk" {
				t.Errorf("answered %q", p.Reason())
			}
			if m := g.refused(t, 1)[0]; m.Client != "stranger" || m.Topic != "nagios/web1/disk" || string(m.Payload) != "x" {
				t.Errorf("denied got %+v", m)
			}
			g.got(t, 0)
		})
	}
}
