package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// linkBuffer is how many bytes a link reads and writes at once.
const linkBuffer = 32 << 10

// An mqttLink is the client's end of an MQTT connection, packet by packet: it knows
// how packets look, and nothing of what they do. One goroutine may read, and
// any may write.
type mqttLink struct {
	nc       *patientConn
	in       *bufio.Reader
	version  byte          // 4 or 5
	maxIn    int           // the largest packet taken, in bytes
	maxOut   int           // the largest that the server takes, in bytes
	patience time.Duration // of nc, once connected

	mu  sync.Mutex
	out *bufio.Writer
}

// A patientConn is a connection that may take any time as long as it moves.
type patientConn struct {
	net.Conn
	patience time.Duration // how long the peer may say nothing, or not read; 0 is for ever
}

func (c *patientConn) Read(p []byte) (int, error) {
	if c.patience > 0 {
		_ = c.SetReadDeadline(time.Now().Add(c.patience)) // an error shows when reading
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (written int, err error) {
	for part := range slices.Chunk(p, linkBuffer) {
		if c.patience > 0 {
			_ = c.SetWriteDeadline(time.Now().Add(c.patience)) // an error shows when writing
		}
		n, err := c.Conn.Write(part)
		if written += n; err != nil {
			return written, err
		}
	}
	return written, nil
}

// newMQTTLink makes a link of a connection to a server. patience is how long the
// server may then say nothing, or not read; 0 is for ever.
func newMQTTLink(conn net.Conn, version byte, maxIn int, patience time.Duration) *mqttLink {
	nc := &patientConn{Conn: conn}
	return &mqttLink{
		nc:       nc,
		in:       bufio.NewReaderSize(nc, linkBuffer),
		out:      bufio.NewWriterSize(nc, linkBuffer),
		version:  version,
		maxIn:    maxIn,
		maxOut:   mostPacket,
		patience: patience,
	}
}

// A connackError is a server's refusal.
type connackError struct {
	code   byte
	reason string
}

func (e connackError) Error() string {
	text := fmt.Sprintf("refused with code %#02x", e.code)
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

// connect sends a CONNECT, whose protocol version is that of the link, with the
// bridge bit or not, and waits for the CONNACK, for 10 s in all.
func (l *mqttLink) connect(pk packets.Packet) (connack packets.Packet, err error) {
	pk.FixedHeader.Type = packets.Connect
	pk.Connect.ProtocolName = []byte("MQTT")
	if err := l.nc.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return connack, err
	}
	if err := errors.Join(l.write(&pk), l.flush()); err != nil {
		return connack, err
	}
	connack, err = l.read()
	switch {
	case err != nil:
		return connack, fmt.Errorf("no answer to CONNECT: %w", err)
	case connack.FixedHeader.Type != packets.Connack:
		return connack, fmt.Errorf("packet type %d in answer to CONNECT", connack.FixedHeader.Type)
	case connack.ReasonCode != 0:
		return connack, connackError{connack.ReasonCode, connack.Properties.ReasonString}
	}
	if size := connack.Properties.MaximumPacketSize; size > 0 {
		l.maxOut = int(min(size, mostPacket))
	}
	l.nc.patience = l.patience
	return connack, l.nc.SetDeadline(time.Time{})
}

// read returns the next packet that the server sends. Its slices are the
// packet's own.
func (l *mqttLink) read() (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: l.version}
	first, err := l.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	size, _, err := packets.DecodeLength(l.in)
	if err != nil {
		return pk, err
	}
	if size > l.maxIn {
		return pk, packets.ErrPacketTooLarge
	}
	pk.FixedHeader.Remaining = size
	var body bytes.Buffer // grows with what comes, and not with what is announced
	if _, err := io.CopyN(&body, l.in, int64(size)); err != nil {
		return pk, err
	}
	return pk, decodeFromServer(&pk, body.Bytes())
}

// decodeFromServer reads the body of a packet that a server may send.
func decodeFromServer(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		if len(body) == 2 {
			pk.ProtocolVersion = 4 // by a server that knows no MQTT 5
		}
		return pk.ConnackDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubrel:
		return pk.PubrelDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	case packets.Suback:
		return pk.SubackDecode(body)
	case packets.Unsuback:
		return pk.UnsubackDecode(body)
	case packets.Pingresp:
		return nil
	case packets.Disconnect:
		if pk.ProtocolVersion == 5 && len(body) > 0 {
			pk.ReasonCode = body[0]
		}
		return nil
	}
	return fmt.Errorf("a server sent packet type %d", pk.FixedHeader.Type)
}

// write puts a packet into the buffer, which flush empties, as does write
// itself when it is full. Packets that the server would not take are an error
// that wraps packets.ErrPacketTooLarge, and are not sent.
func (l *mqttLink) write(pk *packets.Packet) error {
	var b bytes.Buffer
	if err := encodeToServer(pk, &b); err != nil {
		return err
	}
	if b.Len() > l.maxOut {
		return packets.ErrPacketTooLarge
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.out.Write(b.Bytes())
	return err
}

// flush sends what was written.
func (l *mqttLink) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Flush()
}

func encodeToServer(pk *packets.Packet, b *bytes.Buffer) error {
	pk.Mods.AllowResponseInfo = true
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectEncode(b)
	case packets.Publish:
		return pk.PublishEncode(b)
	case packets.Puback:
		return pk.PubackEncode(b)
	case packets.Pubrec:
		return pk.PubrecEncode(b)
	case packets.Pubrel:
		return pk.PubrelEncode(b)
	case packets.Pubcomp:
		return pk.PubcompEncode(b)
	case packets.Subscribe:
		return pk.SubscribeEncode(b)
	case packets.Unsubscribe:
		return pk.UnsubscribeEncode(b)
	case packets.Pingreq:
		return pk.PingreqEncode(b)
	case packets.Disconnect:
		return pk.DisconnectEncode(b)
	}
	return fmt.Errorf("a client does not send packet type %d", pk.FixedHeader.Type)
}

// acknowledgement makes a PUBACK, PUBREC, PUBREL or PUBCOMP.
func acknowledgement(kind byte, id uint16, code byte, version byte) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id, ProtocolVersion: version}
	if kind == packets.Pubrel {
		pk.FixedHeader.Qos = 1 // the bits that its header must have (MQTT 5, 3.6.1)
	}
	if version == 5 {
		pk.ReasonCode = code
	}
	return pk
}
