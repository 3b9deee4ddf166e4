package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// FuzzConnection sends arbitrary bytes as a connection, alone and after a valid
// CONNECT of both versions. Afterwards the broker must still serve, and nothing
// may have panicked beside what the library is known for.
func FuzzConnection(f *testing.F) {
	packets := [][]byte{
		mqtttest.Options{ID: "c"}.Encode(),
		mqtttest.Options{ID: "c", V5: true, Will: &mqtttest.Message{Topic: "nagios/a", Payload: "x", QoS: 2}}.Encode(),
		mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 1, ID: 1}.Encode(false),
		mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 2, ID: 1, Properties: []byte{0x23, 0, 1}}.Encode(true),
		{0x82, 6, 0, 1, 0, 1, 'a', 1},
		{0x82, 7, 0, 1, 0, 0, 1, 'a', 1},
		{0x82, 6, 0, 1, 0, 0, 1, 'a'},
		{0xa2, 6, 0, 1, 0, 0, 1, 'a'},
		{0x62, 2, 0, 1}, {0x40, 2, 0, 1}, {0x50, 2, 0, 1}, {0x70, 2, 0, 1},
		{0xc0, 0}, {0xd0, 0}, {0xe0, 0}, {0xe0, 2, 4, 0}, {0xf0, 2, 0x18, 0}, {0x20, 2, 0, 0}, {0x90, 3, 0, 1, 0}, {0xb0, 2, 0, 1},
		{0x10, 0xff, 0xff, 0xff, 0x7f}, {0x30, 0x80, 0x80, 0x80, 0x80},
	}
	for _, p := range packets {
		f.Add(p)
	}
	f.Add(bytes.Join(packets, nil))

	cfg := Default()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	b, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	b.Handle("nagios", func(m Message, done func(error)) { done(verdictOn(string(m.Payload))) })
	ln := newPipeListener()
	if err := b.Listen(); err != nil {
		f.Fatal(err)
	}
	b.listeners = append(b.listeners, &listener{Listener: ln, anonymous: true})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		<-ended
	})

	f.Fuzz(func(t *testing.T, data []byte) {
		for _, hello := range [][]byte{nil, packets[0], packets[1]} {
			began := time.Now()
			client := ln.dial()
			go func() {
				_, _ = client.Write(append(bytes.Clone(hello), data...))
				_, _ = client.Write([]byte{0xe0, 0})
				_ = client.Close()
			}()
			_, _ = io.Copy(io.Discard, client)
			if took := time.Since(began); took > mqtttest.Patience/2 {
				t.Fatalf("the connection stays open for %v", took)
			}
		}
	})
}

// FuzzFrames checks that packets come out whole, however the bytes come in, and
// whether the buffer is shared or not.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x10, 2, 1, 2, 0xc0, 0, 0x30, 0x80, 1}, uint8(3))
	f.Add(append([]byte{0x10, 0x90, 0x4e}, make([]byte, 10000)...), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		var in frames
		space := in.space
		if step%2 == 0 {
			space = in.sharedSpace
		}
		var out bytes.Buffer
		for rest := data; len(rest) > 0; {
			n := copy(space()[:min(int(step)+1, len(space()))], rest)
			rest = rest[n:]
			if _, err := in.received(n, false, 1<<20); err != nil {
				return
			}
			for in.ready() {
				out.Write(in.next())
			}
			if in.rest(); in.shared != nil || step%2 == 0 && cap(in.buf) > 2*len(in.buf)+smallBuffer {
				t.Fatalf("%d bytes are kept for %d", cap(in.buf), len(in.buf))
			}
		}
		if !bytes.HasPrefix(data, out.Bytes()) {
			t.Fatalf("%x came out of %x", out.Bytes(), data)
		}
		for whole := out.Bytes(); len(whole) > 0; {
			size, err := packetSize(whole)
			if err != nil || size == 0 || size > len(whole) {
				t.Fatalf("ends within a packet: %x", whole)
			}
			whole = whole[size:]
		}
	})
}

// A pipeListener makes connections without a network.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	_ = client.SetDeadline(time.Now().Add(mqtttest.Patience))
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
