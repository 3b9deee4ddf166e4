package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"checkbus/internal/mqtttest"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The library's lock is held during Write (clients.go:603 in v2.7.9), so that
// one subscriber that does not read stops those who publish to it, and its own
// client identifier.
func TestSubscriberThatDoesNotReadHarmsNobody(t *testing.T) {
	for qos, tt := range []struct {
		log  string
		seen func(Stats) bool
	}{
		{"slow consumer", func(s Stats) bool { return s.SlowConsumers == 1 }},
		{"too many wait", func(s Stats) bool { return s.InflightDropped > 0 }},
	} {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) { harmsNobody(t, byte(qos), tt.log, tt.seen) })
	}
}

func harmsNobody(t *testing.T, qos byte, log string, seen func(Stats) bool) {
	g := start(t)
	stuck := g.dial(mqtttest.Options{ID: "stuck", Buffer: 4096})
	stuck.Subscribe("nagios/#", qos)
	c := g.dial(mqtttest.Options{ID: "p"})
	payload := strings.Repeat("x", 8000)
	const messages = 4000
	var sent sync.WaitGroup
	sent.Go(func() {
		for i := range messages {
			c.Publish(result(uint16(i+1), 1, payload))
		}
	})
	for i := range messages {
		c.Acked(mqtttest.PUBACK, uint16(i+1))
	}
	sent.Wait()
	eventually(t, "what is too much for it is gone", func() bool { return seen(g.Stats()) })
	g.dial(mqtttest.Options{ID: "stuck"}).Ping()
	eventually(t, "it is logged", func() bool { return strings.Contains(g.log.String(), log) })
	if n := strings.Count(g.log.String(), log); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, g.log)
	}
}

func TestTakeoverOfASubscriberThatDoesNotRead(t *testing.T) {
	g := start(t)
	stuck := g.dial(mqtttest.Options{ID: "stuck", Buffer: 4096})
	stuck.Subscribe("#", 1)
	for range 500 {
		if err := g.Publish("a", make([]byte, 10000), false); err != nil {
			t.Fatal(err)
		}
	}
	g.dial(mqtttest.Options{ID: "stuck"}).Ping()
}

func TestConnectMustComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		var n counters
		c := newConn(server, nil, Default(), &n)
		began := time.Now()
		sending := make(chan struct{})
		go func() { // a byte now and then does not help
			defer close(sending)
			for _, b := range append([]byte{0x10, 0x7f}, make([]byte, 100)...) {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		_, err := c.next()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("next: %v", err)
		}
		if took := time.Since(began); took > Default().ConnectTimeout {
			t.Errorf("took %v", took)
		}
		c.finish(packets.CodeSuccess)
		<-sending
	})
}

func TestKeepaliveEndsAHalfOpenConnection(t *testing.T) {
	tests := map[string]struct {
		keepalive uint16
		want      time.Duration
	}{
		"short":   {10, 15 * time.Second},
		"longest": {65535, 98302500 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				defer client.Close()
				c := newConn(server, nil, Default(), &counters{})
				c.started, c.patience = true, patience(tt.keepalive)
				began := time.Now()
				if _, err := c.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("next: %v", err)
				}
				if took := time.Since(began); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				c.finish(packets.CodeSuccess)
			})
		})
	}
}

func TestMQTT5ClientIsToldThatItsKeepaliveIsOver(t *testing.T) {
	g := start(t)
	c := g.dial(mqtttest.Options{ID: "silent", V5: true, KeepAlive: 1})
	if p := c.Closed(); p.Code() != 0x8D {
		t.Errorf("told %v", p)
	}
}

func TestStrangerDoesNotMakeTheGatewayAllocate(t *testing.T) {
	g := start(t)
	before := heap()
	var clients []*mqtttest.Client
	for range 50 {
		c := mqtttest.Open(t, g.addr, mqtttest.Options{})
		c.Send([]byte{0x10, 0x80, 0x80, 0x18}) // a CONNECT of 393216 bytes, which do not come
		d := g.dial(mqtttest.Options{ID: fmt.Sprint(len(clients))})
		d.Send([]byte{0x30, 0x80, 0x80, 0x78}) // a PUBLISH of 1966080 bytes
		clients = append(clients, c, d)
	}
	eventually(t, "all was read", func() bool { return g.Stats().BytesIn > 50*(4+4+10) })
	if grown := heap() - before; grown > 20<<20 {
		t.Errorf("the heap grew by %d bytes for 100 connections", grown)
	}
	runtime.KeepAlive(clients)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestPacketsHaveALimit(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxPacket = 4096 })
	t.Run("before CONNECT", func(t *testing.T) {
		c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: strings.Repeat("x", 5000)})
		if c.Connack.Type() != 0 {
			t.Errorf("answered %v", c.Connack)
		}
	})
	t.Run("told and kept in MQTT 5", func(t *testing.T) {
		c := g.dial(mqtttest.Options{ID: "p", V5: true})
		if !strings.Contains(string(c.Connack.Body), "\x27\x00\x00\x10\x00") {
			t.Errorf("CONNACK does not name the maximum packet size: %x", c.Connack.Body)
		}
		fits := result(1, 1, strings.Repeat("x", 4096-3-18-2-1))
		c.Publish(fits)
		c.Acked(mqtttest.PUBACK, 1)
		fits.Payload += "x"
		c.Publish(fits)
		if p := c.Closed(); p.Code() != 0x95 {
			t.Errorf("told %v", p)
		}
	})
	g.got(t, 1)
}

func TestGarbageIsRefusedQuietly(t *testing.T) {
	g := start(t)
	for name, garbage := range map[string]string{
		"HTTP":              "GET / HTTP/1.1\r\n\r\n",
		"TLS":               "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"PUBLISH first":     "\x30\x03\x00\x01a",
		"length of 5 bytes": "\x10\xff\xff\xff\xff\x01",
		"no CONNECT at all": "\x10\x00",
		"wrong protocol":    "\x10\x0c\x00\x04MQTX\x04\x02\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := mqtttest.Open(t, g.addr, mqtttest.Options{})
			c.Send([]byte(garbage))
			c.Closed()
		})
	}
	g.stop()
	for _, word := range []string{"WARN", "ERROR"} {
		if strings.Contains(g.log.String(), word) {
			t.Errorf("logged:\n%s", g.log)
		}
	}
}

func TestLibraryLogsForDebuggingOnly(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(libraryLog{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})})
	log.With("k", "v").WithGroup("g").Warn("packet of a stranger")
	if !strings.Contains(out.String(), "level=DEBUG") || !strings.Contains(out.String(), "k=v") {
		t.Errorf("logged %q", out.String())
	}
}

// The library's decoder panics on some of these (packets.go:959 in v2.7.9), and takes
// others.
func TestSubscribeWithoutSoundOptionsIsMalformed(t *testing.T) {
	g := start(t)
	for name, tail := range map[string]string{
		"reserved bits":      "\x00\x00\x01a\x40",
		"retain handling 3":  "\x00\x00\x01a\x00\x00\x01b\x30",
		"no options":         "\x00\x00\x01a",
		"second has none":    "\x00\x00\x01a\x01\x00\x01b",
		"with a property":    "\x02\x0b\x05\x00\x01a",
		"cut off":            "\x00\x00\x05a",
		"no filter":          "\x00\x00",
		"properties cut off": "\x09\x0b",
		"no properties":      "",
	} {
		t.Run(name, func(t *testing.T) {
			c := g.dial(mqtttest.Options{ID: "p", V5: true})
			c.Send(mqtttest.Encode(0x82, []byte("\x00\x01"+tail)))
			if p := c.Closed(); p.Code() != 0x81 {
				t.Errorf("told %v", p)
			}
		})
	}
	if n := g.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
	for name, properties := range map[string]string{"identifier 0": "\x02\x0b\x00", "two identifiers": "\x04\x0b\x01\x0b\x02"} {
		c := g.dial(mqtttest.Options{ID: "p", V5: true})
		c.Send(mqtttest.Encode(0x82, []byte("\x00\x01"+properties+"\x00\x01a\x00")))
		if p := c.Closed(); p.Code() != 0x82 {
			t.Errorf("%s: told %v", name, p)
		}
	}
}

func TestPanicEndsOneConnectionOnly(t *testing.T) {
	g := start(t)
	g.Broker.accept = func(Message, func(error)) {
		g.finisher.done(1)
		panic("out of order")
	}
	other := g.dial(mqtttest.Options{ID: "other"})
	for _, o := range []mqtttest.Options{{ID: "p", V5: true}, persistent("p", true), {ID: "p", V5: true}} {
		c := g.dial(o)
		c.Publish(result(1, 1, "x"))
		if p := c.Closed(); p.Code() != 0x80 {
			t.Errorf("told %v", p)
		}
	}
	other.Ping()
	eventually(t, "the client is gone", func() bool { return g.Stats().Connected == 1 && g.Stats().Sessions == 1 })
	if n := g.Stats().Panics; n != 3 {
		t.Errorf("%d panics counted, want 3", n)
	}
	if n := strings.Count(g.log.String(), "stack="); n != 1 {
		t.Errorf("logged %d times:\n%s", n, g.log)
	}
}

func TestMaxConnections(t *testing.T) {
	g := start(t, func(c *Config) { c.MaxConnections = 3 })
	for i := range 3 {
		g.dial(mqtttest.Options{ID: fmt.Sprint(i)})
	}
	for name, tt := range map[string]struct {
		v5   bool
		code byte
	}{"3.1.1": {false, 3}, "5": {true, 0x89}} {
		if c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "one more", V5: tt.v5}); c.Connack.Code() != tt.code {
			t.Errorf("%s: answered %v", name, c.Connack)
		}
	}
	eventually(t, "both are counted", func() bool { return g.Stats().Refused == 2 })
	t.Run("even half open", func(t *testing.T) {
		eventually(t, "both are gone", func() bool { return g.unknown() == 0 })
		oldest := mqtttest.Open(t, g.addr, mqtttest.Options{})
		eventually(t, "it is there", func() bool { return g.unknown() == 1 })
		for range strangers - 1 {
			mqtttest.Open(t, g.addr, mqtttest.Options{})
		}
		if c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: "one more"}); c.Connack.Code() != 3 {
			t.Errorf("answered %v", c.Connack)
		}
		oldest.Closed()
		eventually(t, "no more are open", func() bool { return g.count.connections.Load() <= 3+strangers })
	})
}

// A flaky listener fails as one does when file descriptors run out.
type flakyListener struct {
	net.Listener
	failures atomic.Int32
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestFailedAcceptDoesNotEndTheListener(t *testing.T) {
	g := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	flaky := &flakyListener{Listener: ln}
	flaky.failures.Store(4)
	done := make(chan struct{})
	go func() { defer close(done); g.acceptFrom(&listener{Listener: flaky, anonymous: true}) }()
	mqtttest.Dial(t, ln.Addr().String(), mqtttest.Options{ID: "patient"}).Ping()
	_ = ln.Close()
	<-done
	if n := strings.Count(g.log.String(), "cannot accept"); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, g.log)
	}
}

func TestThousandConnections(t *testing.T) {
	g := start(t)
	const n = 1000
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for j := range n / 10 {
				c := mqtttest.Connect(t, g.addr, mqtttest.Options{ID: fmt.Sprintf("c%d-%d", i, j)})
				_, _ = c.Write(result(1, 1, "x").Encode(false))
				if p, err := c.Read(); err != nil || p.Type() != mqtttest.PUBACK {
					t.Errorf("answered %v, %v", p, err)
				}
			}
		})
	}
	all.Wait()
	g.got(t, n)
	eventually(t, "all is settled", func() bool { return g.Stats().Pending == 0 })
	if s := g.Stats(); s.Connected != n {
		t.Errorf("%d connected", s.Connected)
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	g := start(t)
	g.pause()
	v5 := g.dial(mqtttest.Options{ID: "v5", V5: true})
	v3 := g.dial(mqtttest.Options{ID: "v3"})
	mqtttest.Open(t, g.addr, mqtttest.Options{}) // says nothing and is not waited for
	v5.Publish(result(1, 1, "x"))
	v3.Publish(result(1, 1, "x"))
	g.got(t, 2)
	stopped := make(chan struct{})
	go func() { g.stop(); close(stopped) }()
	eventually(t, "nobody can connect", func() bool {
		nc, err := net.Dial("tcp", g.addr)
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	v5.Publish(result(2, 1, "too late"))
	g.release()
	v5.Acked(mqtttest.PUBACK, 1)
	if p := v5.Next(mqtttest.DISCONNECT); p.Code() != 0x8B {
		t.Errorf("told %v", p)
	}
	v3.Acked(mqtttest.PUBACK, 1)
	if p, err := v3.Read(); err == nil {
		t.Errorf("3.1.1 was sent %v", p)
	}
	<-stopped
	g.got(t, 2)
}
