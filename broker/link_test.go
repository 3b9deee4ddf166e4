package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// script is a connection on which a server has said all it will say.
type script struct {
	net.Conn
	said *bytes.Reader
}

func (s script) Read(p []byte) (int, error)     { return s.said.Read(p) }
func (script) Write(p []byte) (int, error)      { return len(p), nil }
func (script) SetDeadline(time.Time) error      { return nil }
func (script) SetReadDeadline(time.Time) error  { return nil }
func (script) SetWriteDeadline(time.Time) error { return nil }

func scripted(version byte, maxIn int, said []byte) *mqttLink {
	return newMQTTLink(script{said: bytes.NewReader(said)}, version, maxIn, time.Second)
}

func TestALinkTakesNoPacketThatIsTooLarge(t *testing.T) {
	l := scripted(5, 1000, []byte{packets.Publish << 4, 0xff, 0xff, 0xff, 0x7f})
	if _, err := l.read(); !errors.Is(err, packets.ErrPacketTooLarge) {
		t.Errorf("read: %v", err)
	}
	l.maxOut = 20
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a/long/topic", Payload: []byte("and text")}
	if err := l.write(&pk); !errors.Is(err, packets.ErrPacketTooLarge) {
		t.Errorf("write: %v", err)
	}
}

func TestARefusalToConnectSaysWhy(t *testing.T) {
	tests := map[string]struct {
		said []byte
		want string
	}{
		"MQTT 5":                   {[]byte{0x20, 3, 0, 0x87, 0}, "refused with code 0x87"},
		"with a reason":            {[]byte{0x20, 7, 0, 0x84, 4, 31, 0, 1, 'x'}, "refused with code 0x84: x"},
		"a server without MQTT 5":  {[]byte{0x20, 2, 0, 1}, "refused with code 0x01"},
		"no answer":                {nil, "no answer to CONNECT: EOF"},
		"something else":           {[]byte{0xd0, 0}, "packet type 13 in answer to CONNECT"},
		"what no server may send":  {[]byte{0xc0, 0}, "no answer to CONNECT: a server sent packet type 12"},
		"a packet that is cut off": {[]byte{0x20, 9, 0}, "no answer to CONNECT: EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := scripted(5, 1000, tt.said).connect(packets.Packet{ProtocolVersion: 5})
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestASilentServerIsGivenUpSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		began := time.Now()
		_, err := newMQTTLink(ours, 5, 1000, time.Hour).connect(packets.Packet{ProtocolVersion: 5})
		if took := time.Since(began); err == nil || took != dialTimeout {
			t.Errorf("error %v after %v", err, took)
		}
		_ = ours.Close()
	})
}

// However long a packet takes in all, one that moves is waited for.
func TestALinkIsPatientWithASlowServer(t *testing.T) {
	const patience = time.Minute
	large := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, ProtocolVersion: 5, TopicName: "a", Payload: make([]byte, 10*linkBuffer)}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newMQTTLink(ours, 5, mostPacket, patience)
		go func() {
			_, _ = theirs.Read(make([]byte, 1000))
			_, _ = theirs.Write([]byte{0x20, 3, 0, 0, 0})
			var b bytes.Buffer
			_ = encodeToServer(&large, &b)
			for part := range slices.Chunk(b.Bytes(), linkBuffer) {
				time.Sleep(patience / 2)
				_, _ = theirs.Write(part)
			}
			for err := error(nil); err == nil; _, err = io.ReadFull(theirs, make([]byte, linkBuffer)) {
				time.Sleep(patience / 2)
			}
		}()
		if _, err := l.connect(packets.Packet{ProtocolVersion: 5}); err != nil {
			t.Fatal(err)
		}
		if pk, err := l.read(); err != nil || len(pk.Payload) != len(large.Payload) {
			t.Errorf("read %d bytes, %v", len(pk.Payload), err)
		}
		if err := errors.Join(l.write(&large), l.flush()); err != nil {
			t.Errorf("write: %v", err)
		}
		began := time.Now()
		if _, err := l.read(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != patience {
			t.Errorf("error %v after %v of silence", err, time.Since(began))
		}
		_ = ours.Close()
	})
}

func FuzzReadFromServer(f *testing.F) {
	for _, said := range [][]byte{
		{0x20, 3, 0, 0, 0},
		{0x32, 9, 0, 1, 'a', 0, 1, 3, 35, 0, 1},
		{0x40, 2, 0, 1}, {0x50, 4, 0, 1, 0x87, 0}, {0x62, 2, 0, 1}, {0x70, 2, 0, 1},
		{0x90, 4, 0, 1, 0, 1}, {0xb0, 4, 0, 1, 0, 0}, {0xd0, 0}, {0xe0, 1, 0x8b},
		{0x90, 3, 0, 1, 0xff}, {0x30, 4, 0, 0, 0xff, 0x7f},
	} {
		f.Add(said, true)
		f.Add(said, false)
	}
	f.Fuzz(func(t *testing.T, said []byte, v5 bool) {
		version := byte(4)
		if v5 {
			version = 5
		}
		l := scripted(version, 1<<16, said)
		for {
			pk, err := l.read()
			if err != nil {
				return
			}
			if pk.FixedHeader.Type == packets.Publish {
				_ = l.write(&pk) // must not panic
			}
		}
	})
}
