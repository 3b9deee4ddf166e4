package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

func TestEveryResultReachesRealBrokerOnce(t *testing.T) {
	tests := map[string]struct{ version, qos byte }{
		"MQTT 3.1.1, QoS 0": {4, 0},
		"MQTT 3.1.1, QoS 1": {4, 1},
		"MQTT 5, QoS 0":     {5, 0},
		"MQTT 5, QoS 1":     {5, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := realtest.StartMosquitto(t, "max_queued_messages 0", "queue_qos0_messages true")
			sub := subscriber(t, m.Addr)
			run(t, sub, "-E") // the session stays and queues
			report, err := Load{
				Addr: m.Addr, Version: tt.version, QoS: tt.qos, First: 7,
				Connections: 3, Window: 5, Hosts: 5, Services: 4, Count: 1000,
			}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if report.Sent != 1000 || report.Acked != 1000 || report.Refused != 0 {
				t.Errorf("sent, acked, refused = %d, %d, %d, want 1000, 1000, 0", report.Sent, report.Acked, report.Refused)
			}
			if want := int64(tt.qos) * 1000; report.Latency.Count() != want {
				t.Errorf("%d latencies, want %d", report.Latency.Count(), want)
			}
			checkMessages(t, run(t, sub, "-C", "1000"))
		})
	}
}

func subscriber(t *testing.T, addr string) []string {
	host, port, _ := net.SplitHostPort(addr)
	return []string{realtest.Need(t, "mosquitto_sub"), "-h", host, "-p", port, "-c", "-i", "sub", "-q", "1", "-t", "nagios/#", "-v"}
}

func run(t *testing.T, command []string, more ...string) string {
	t.Helper()
	args := append(command[1:len(command):len(command)], more...)
	out, err := exec.CommandContext(t.Context(), command[0], args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", command[0], args, err)
	}
	return string(out)
}

// checkMessages wants the results 7 to 1006, for 20 services.
func checkMessages(t *testing.T, out string) {
	t.Helper()
	topics, numbers := map[string]bool{}, map[int]bool{}
	for line := range strings.Lines(out) {
		topic, payload, _ := strings.Cut(line, " ")
		var result struct {
			Reason string
		}
		if err := json.Unmarshal([]byte(payload), &result); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		var number int
		if _, err := fmt.Sscanf(result.Reason, "PROC OK: 87 processes, number %d", &number); err != nil {
			t.Fatalf("%s: %v", result.Reason, err)
		}
		if !regexp.MustCompile(`^nagios/h000[0-4]/s00[0-3]$`).MatchString(topic) {
			t.Errorf("topic %q", topic)
		}
		topics[topic], numbers[number] = true, true
	}
	if len(topics) != 20 {
		t.Errorf("%d topics, want 20", len(topics))
	}
	for n := 7; n < 1007; n++ {
		if !numbers[n] {
			t.Errorf("result %d is missing", n)
		}
	}
}

// broker accepts one client on loopback, answers its CONNECT with connack, and
// gives the rest of the conversation to serve.
func broker(t *testing.T, connack []byte, serve func(net.Conn, *reader)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { welcome(t, conn, connack, serve) })
		}
	})
	return l.Addr().String()
}

func welcome(t *testing.T, conn net.Conn, connack []byte, serve func(net.Conn, *reader)) {
	defer conn.Close()
	r := newReader(conn)
	if kind, _, err := r.next(); err != nil || kind != connectPacket {
		t.Errorf("first packet is %02x, %v", kind, err)
		return
	}
	if _, err := conn.Write(connack); err != nil {
		t.Error(err)
		return
	}
	serve(conn, r)
}

var (
	accept4 = []byte{connackPacket, 2, 0, 0}
	accept5 = []byte{connackPacket, 3, 0, 0, 0}
)

func TestWindowIsNeverExceeded(t *testing.T) {
	tests := map[string]struct {
		version byte
		connack []byte
		window  int
		want    int64
	}{
		"own window":             {4, accept4, 3, 3},
		"broker allows only two": {5, []byte{connackPacket, 6, 0, 0, 3, receiveMaximum, 0, 2}, 3, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var got atomic.Int64
			addr := broker(t, tt.connack, func(conn net.Conn, r *reader) {
				for {
					if kind, _, err := r.next(); err != nil || kind == disconnectPacket {
						return
					}
					if got.Add(1) == tt.want { // nothing more may come, so give it a moment to
						_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
						time.AfterFunc(50*time.Millisecond, cancel)
					}
				}
			})
			report, err := Load{Addr: addr, Version: tt.version, QoS: 1, Connections: 1, Window: tt.window, Hosts: 1, Services: 1, Count: 10}.Run(ctx)
			if err == nil {
				t.Error("a load that nobody acknowledged ended without an error")
			}
			if report.Sent != int(tt.want) || got.Load() != tt.want {
				t.Errorf("sent %d, broker got %d, want %d", report.Sent, got.Load(), tt.want)
			}
		})
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	addr := broker(t, accept5, func(conn net.Conn, r *reader) {
		for n := 0; ; n++ {
			kind, body, err := r.next()
			if err != nil || kind == disconnectPacket {
				return
			}
			id := body[2+len("nagios/h0000/s000"):]
			reason := byte(0)
			if n%2 == 1 {
				reason = 0x97 // quota exceeded
			}
			if _, err := conn.Write([]byte{pubackPacket, 3, id[0], id[1], reason}); err != nil {
				return
			}
		}
	})
	report, err := Load{Addr: addr, Version: 5, QoS: 1, Connections: 1, Window: 4, Hosts: 1, Services: 1, Count: 10}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if report.Acked != 5 || report.Refused != 5 {
		t.Errorf("acked, refused = %d, %d, want 5, 5", report.Acked, report.Refused)
	}
}

func TestBrokerThatMisbehavesIsAnError(t *testing.T) {
	tests := map[string]struct {
		connack, answer []byte
		want            string
	}{
		"refuses the connection":     {[]byte{connackPacket, 2, 0, 5}, nil, "refused with code 0x05"},
		"answers no CONNECT":         {[]byte{pingrespPacket, 0}, nil, "instead of CONNACK"},
		"disconnects":                {accept5, []byte{disconnectPacket, 1, 0x93}, "disconnected with code 0x93"},
		"closes":                     {accept5, nil, "EOF"},
		"acknowledges what was not":  {accept5, []byte{pubackPacket, 2, 0, 9}, "never sent"},
		"acknowledges twice":         {accept5, []byte{pubackPacket, 2, 0, 1, pubackPacket, 2, 0, 1}, "twice"},
		"sends nonsense":             {accept5, []byte{0xff, 0xff, 0xff, 0xff, 0xff}, "malformed"},
		"ends in mid-packet":         {accept5, []byte{pubackPacket, 0xff, 0xff, 0x7f}, "EOF"},
		"acknowledges without an id": {accept5, []byte{pubackPacket, 1, 0}, "malformed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr := broker(t, tt.connack, func(conn net.Conn, r *reader) {
				if _, _, err := r.next(); err == nil {
					_, _ = conn.Write(tt.answer)
				}
			})
			_, err := Load{Addr: addr, Version: 5, QoS: 1, Connections: 1, Window: 1, Hosts: 1, Services: 1, Count: 3}.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestRateAndDurationBoundLoad(t *testing.T) {
	m := realtest.StartMosquitto(t)
	report, err := Load{
		Addr: m.Addr, QoS: 1, Connections: 2, Window: 10, Hosts: 1, Services: 2,
		Rate: 50, Duration: time.Second,
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if report.Sent > 50 || report.Acked != report.Sent || report.Sent == 0 {
		t.Errorf("sent %d, acked %d in a second at 50 a second", report.Sent, report.Acked)
	}
}

func TestConnPublishesOneByOne(t *testing.T) {
	m := realtest.StartMosquitto(t)
	sub := subscriber(t, m.Addr)
	run(t, sub, "-E")
	c, err := Dial(t.Context(), m.Addr, Options{Client: "one", User: "u", Password: "p", Version: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"a", "b"} {
		if err := c.Publish("nagios/x", []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if got, want := run(t, sub, "-C", "2"), "nagios/x a\nnagios/x b\n"; got != want {
		t.Errorf("subscriber got %q, want %q", got, want)
	}
}

func TestLoadWithoutBoundIsRefused(t *testing.T) {
	good := Load{Connections: 1, Window: 1, QoS: 1, Hosts: 1, Services: 1, Count: 1}
	tests := map[string]func(*Load){
		"no bound":      func(l *Load) { l.Count = 0 },
		"QoS 2":         func(l *Load) { l.QoS = 2 },
		"no connection": func(l *Load) { l.Connections = 0 },
		"no window":     func(l *Load) { l.Window = 0 },
		"huge window":   func(l *Load) { l.Window = maxWindow + 1 },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			l := good
			spoil(&l)
			if _, err := l.Run(t.Context()); err == nil {
				t.Error("no error")
			}
		})
	}
}

func FuzzBrokerAnswers(f *testing.F) {
	f.Add([]byte{connackPacket, 6, 0, 0, 3, receiveMaximum, 0, 2})
	f.Add([]byte{connackPacket, 3, 0, 0, 0, pubackPacket, 2, 0, 1, pubackPacket, 4, 0, 2, 0x97, 0})
	f.Add([]byte{connackPacket, 9, 0, 0, 6, 0x26, 0, 1, 'k', 0, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newReader(strings.NewReader(string(stream)))
		for {
			kind, body, err := r.next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, errMalformed) && !strings.Contains(err.Error(), "more than") {
					t.Errorf("error %v", err)
				}
				return
			}
			switch kind {
			case connackPacket:
				_, window, err := parseConnack(body, 5)
				if err == nil && (window < 0 || window > 65535) {
					t.Errorf("window %d", window)
				}
			case pubackPacket:
				_, _, _ = parsePuback(body)
			}
		}
	})
}
