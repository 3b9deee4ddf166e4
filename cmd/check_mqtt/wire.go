package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxPacket is the largest packet that is read, in bytes.
const maxPacket = 16 << 20

// errMalformed: what came from the broker is no MQTT packet that a client
// can be sent.
var errMalformed = errors.New("the broker sent no valid MQTT")

// readPacket reads one packet that a broker sends to a client. Memory grows
// with what was really sent, not with the length that was announced.
func readPacket(in *bufio.Reader, version byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: version}
	first, err := in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, fmt.Errorf("%w: first byte 0x%02x: %w", errMalformed, first, err)
	}
	length, _, err := packets.DecodeLength(in)
	if err != nil {
		return pk, unlessClosed(err)
	}
	if length > maxPacket {
		return pk, fmt.Errorf("%w: a packet of %d bytes", errMalformed, length)
	}
	pk.FixedHeader.Remaining = length
	body, err := io.ReadAll(io.LimitReader(in, int64(length)))
	if err != nil {
		return pk, err
	}
	if len(body) < length {
		return pk, io.ErrUnexpectedEOF
	}
	return pk, decodeBody(&pk, body)
}

// unlessClosed marks a decoder's error as malformed, and leaves those of the
// connection as they are.
func unlessClosed(err error) error {
	var code packets.Code
	if errors.As(err, &code) {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return err
}

// decodeBody reads what follows the fixed header.
func decodeBody(pk *packets.Packet, body []byte) error {
	// A broker that does not know MQTT 5 refuses it in its own version (MQTT
	// 3.1.1, section 3.2.2.3): without properties, by a code that 5 has not.
	if pk.FixedHeader.Type == packets.Connack && len(body) == 2 && 0 < body[1] && body[1] < 0x80 {
		pk.ProtocolVersion = 4
	}
	decode := decoder(pk)
	name := packets.PacketNames[pk.FixedHeader.Type]
	if decode == nil {
		return fmt.Errorf("%w: an unexpected %s packet", errMalformed, name)
	}
	if err := decode(body); err != nil {
		return fmt.Errorf("%w: %s: %w", errMalformed, name, err)
	}
	// No topic is empty (MQTT 3.1.1, section 4.7.3), and aliases in the place of
	// one were not asked for.
	if pk.FixedHeader.Type == packets.Publish && pk.TopicName == "" {
		return fmt.Errorf("%w: a PUBLISH without a topic", errMalformed)
	}
	// A DISCONNECT may end behind its reason code (MQTT 5, section 3.14.2.2.1),
	// as Mosquitto's does; the library takes that for none.
	if pk.FixedHeader.Type == packets.Disconnect && pk.ProtocolVersion == 5 && len(body) == 1 {
		pk.ReasonCode = body[0]
	}
	return nil
}

// decoder is what reads a packet that a broker may send; nil for the others.
func decoder(pk *packets.Packet) func([]byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return pk.ConnackDecode
	case packets.Publish:
		return pk.PublishDecode
	case packets.Puback:
		return pk.PubackDecode
	case packets.Pubrec:
		return pk.PubrecDecode
	case packets.Pubrel:
		return pk.PubrelDecode
	case packets.Pubcomp:
		return pk.PubcompDecode
	case packets.Suback:
		return pk.SubackDecode
	case packets.Pingresp:
		return pk.PingrespDecode
	case packets.Disconnect:
		return pk.DisconnectDecode
	}
	return nil
}

// encode is the bytes of a packet that a client sends.
func encode(pk *packets.Packet) ([]byte, error) {
	var buf bytes.Buffer
	err := map[byte]func(*bytes.Buffer) error{
		packets.Connect:    pk.ConnectEncode,
		packets.Publish:    pk.PublishEncode,
		packets.Puback:     pk.PubackEncode,
		packets.Pubrec:     pk.PubrecEncode,
		packets.Pubrel:     pk.PubrelEncode,
		packets.Pubcomp:    pk.PubcompEncode,
		packets.Subscribe:  pk.SubscribeEncode,
		packets.Pingreq:    pk.PingreqEncode,
		packets.Disconnect: pk.DisconnectEncode,
	}[pk.FixedHeader.Type](&buf)
	return buf.Bytes(), err
}
