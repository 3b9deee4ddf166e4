package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"checkbus/checks"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rogpeppe/go-internal/testscript"
)

// A peer answers one connection, badly.
type peer func(conn net.Conn)

var (
	connack = []byte{0x20, 2, 0, 0}
	suback  = []byte{0x90, 3, 0, 1, 0}
)

// peers are the broken brokers that scripts can ask for. Those that only stop
// answering keep the connection open until the client goes.
var peers = map[string]peer{
	"silent":        func(c net.Conn) { wait(c) },
	"closes-at-tcp": func(net.Conn) {},
	"garbage":       func(c net.Conn) { says(c, strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 9)); wait(c) },
	"not-mqtt":      func(c net.Conn) { says(c, "\xF7\xFF\xFF\xFF\xFF\xFF"); wait(c) },
	"huge":          func(c net.Conn) { says(c, "\x30\xFF\xFF\xFF\x7F"); wait(c) },
	"dribble":       dribble,

	"closes-at-connect":   func(c net.Conn) { steps(c, nil) },
	"only-connack":        func(c net.Conn) { steps(c, connack); wait(c) },
	"closes-at-subscribe": func(c net.Conn) { steps(c, connack, nil) },
	"refuses-subscribe":   func(c net.Conn) { steps(c, connack, []byte{0x90, 3, 0, 1, 0x80}); wait(c) },
	"closes-at-echo":      func(c net.Conn) { steps(c, connack, suback, nil) },
	"closes-at-message":   func(c net.Conn) { steps(c, connack, suback) },
	"garbage-at-message":  func(c net.Conn) { steps(c, connack, suback); says(c, "\xF7\xFF\xFF\xFF\xFF"); wait(c) },
	"never-echoes":        func(c net.Conn) { steps(c, connack, suback); wait(c) },
	"connect-packet":      func(c net.Conn) { steps(c, []byte{0x10, 0}); wait(c) },
	"eager": func(c net.Conn) {
		steps(c, connack, slices.Concat([]byte("\x31\x04\x00\x01tx"), suback))
		wait(c)
	},
	"short-suback": func(c net.Conn) { steps(c, connack, []byte{0x90, 2, 0, 1}); wait(c) },
	"floods":       func(c net.Conn) { steps(c, connack, suback); repeat(c, "\x30\x04\x00\x01tx") },

	"refuses-1": func(c net.Conn) { steps(c, []byte{0x20, 2, 0, 1}) },
	"refuses-3": func(c net.Conn) { steps(c, []byte{0x20, 2, 0, 3}) },
	"refuses-9": func(c net.Conn) { steps(c, []byte{0x20, 2, 0, 9}) },
	"no-mqtt-websocket": func(c net.Conn) {
		steps(c, []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
	},
	"endless-upgrade": func(c net.Conn) { steps(c, []byte("HTTP/1.1 101 Yes\r\nX: ")); repeat(c, "endless") },
	"text-websocket":  textFrames,
}

// steps answers each read with the next text; nil is for none.
func steps(c net.Conn, answers ...[]byte) {
	buf := make([]byte, 4096)
	for _, a := range answers {
		if _, err := c.Read(buf); err != nil {
			return
		}
		says(c, string(a))
	}
}

// says writes to a client that may be gone already.
func says(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

// wait reads until the client goes.
func wait(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// dribble sends the beginning of a packet, a byte at a time, for ever.
func dribble(c net.Conn) {
	says(c, "\x30\xFF\xFF\x7F")
	for range time.Tick(time.Millisecond) {
		if _, err := c.Write([]byte{'x'}); err != nil {
			return
		}
	}
}

// repeat writes text until the client goes.
func repeat(c net.Conn, text string) {
	many := strings.Repeat(text, 1000)
	for {
		if _, err := io.WriteString(c, many); err != nil {
			return
		}
	}
}

// textFrames accepts an upgrade to WebSocket with a token, and answers the CONNECT with a
// CONNACK in a text frame.
func textFrames(c net.Conn) {
	in := textproto.NewReader(bufio.NewReader(c))
	request, err := in.ReadLine()
	if err != nil || !strings.Contains(request, "?token=") {
		return
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return
	}
	// RFC 6455, section 4.2.2
	sum := sha1.Sum([]byte(header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	says(c, "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n"+
		"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	steps(c, append([]byte{0x81, 4}, connack...))
	wait(c)
}

// startPeer listens on a free port, which becomes $PEER.
func startPeer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || peers[args[0]] == nil {
		ts.Fatalf("usage: peer KIND, KIND as in peers_test.go")
	}
	port, stop, err := serve(peers[args[0]])
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("PEER", port)
}

// serve answers every connection to a free port of 127.0.0.1 as p does, until
// stop is called.
func serve(p peer) (port string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				p(conn)
			})
		}
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	return port, func() {
		l.Close()
		all.Wait()
	}, err
}

// dialBroker connects a client of a script's own to a plain broker.
func dialBroker(ts *testscript.TestScript, port string) *client {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	ts.Check(err)
	c := newClient(context.Background(), conn, 4, nil)
	ts.Check(c.connect(context.Background(), packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: "script" + random(4), Clean: true,
	}, packets.Properties{}))
	return c
}

// startGatewayd answers results below nagios as the gateway does: for the host
// "stranger" with a rejection, for others with a state, after one that is not
// for the result.
func startGatewayd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gatewayd PORT")
	}
	c := dialBroker(ts, args[0])
	ctx, cancel := context.WithCancel(context.Background())
	var results []message
	c.onMessage = func(m message) { results = append(results, m) }
	ts.Check(c.subscribe(ctx, 0, "nagios/#"))
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if c.listen(ctx, func() bool { return len(results) > 0 }) != nil {
				return // the broker has ended
			}
			for _, m := range results {
				if answerResult(ctx, c, m) != nil {
					return
				}
			}
			results = nil
		}
	})
	ts.Defer(func() {
		cancel()
		done.Wait()
		c.close()
	})
}

func answerResult(ctx context.Context, c *client, m message) error {
	for item := range (checks.Decoder{Root: "nagios"}).Decode(m.topic, m.payload, time.Now(), "script") {
		o := item.Result.Object
		if o.Host == "stranger" {
			payload, err := json.Marshal(map[string]string{"reason": "unknown object", "payload": string(m.payload)})
			if err != nil {
				return err
			}
			return c.publish(ctx, message{topic: "checkbus/rejected/probe", payload: payload})
		}
		for _, reason := range []string{"another result", item.Result.Reason} {
			payload, err := json.Marshal(verdict{State: item.Result.State.String(), Type: "hard", Origin: "gateway", Reason: reason})
			if err != nil {
				return err
			}
			if err := c.publish(ctx, message{topic: o.Topic(stateRoot), payload: payload}); err != nil {
				return err
			}
		}
	}
	return nil
}

// startPublisher publishes again and again, beginning now.
func startPublisher(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: publish PORT MS TOPIC TEXT")
	}
	every, err := strconv.Atoi(args[1])
	ts.Check(err)
	c := dialBroker(ts, args[0])
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Duration(every) * time.Millisecond)
		defer tick.Stop()
		for {
			if err := c.publish(ctx, message{topic: args[2], payload: []byte(args[3])}); err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	ts.Defer(func() {
		cancel()
		done.Wait()
		c.close()
	})
}
