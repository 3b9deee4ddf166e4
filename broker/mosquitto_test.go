package broker

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/realtest"
)

// startMosquitto runs Mosquitto with conf on a Unix socket until the test
// ends. An empty socket says that it did not start; log says why.
func startMosquitto(t *testing.T, conf string) (socket, log string) {
	t.Helper()
	program := realtest.Need(t, "mosquitto")
	dir, err := os.MkdirTemp("", "mosquitto") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	// As root Mosquitto would become a user that cannot read the test's files.
	conf = "user root\nlistener 0 " + socket + "\n" + conf
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(program, "-c", filepath.Join(dir, "conf"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for running := false; !running && lines.Scan(); {
		log += lines.Text() + "\n"
		running = strings.Contains(lines.Text(), "running")
	}
	drained := make(chan struct{})
	go func() { io.Copy(io.Discard, stderr); close(drained) }()
	stop := func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
	}
	if !strings.Contains(log, "running") {
		stop()
		return "", log
	}
	t.Cleanup(stop)
	return socket, log
}

// A rawClient speaks just enough MQTT 5 to see what a broker decides.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	// topics received, each with its last payload
	received map[string]string
}

// connectRaw connects with a user name and password where they are not nil,
// and returns the reason code of the CONNACK.
func connectRaw(t *testing.T, socket, client string, user, password *string) (*rawClient, byte) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawClient{t: t, conn: conn, in: bufio.NewReader(conn), received: map[string]string{}}

	flags := byte(0x02) // clean start
	var credentials []byte
	if user != nil {
		flags |= 0x80
		credentials = appendString(credentials, *user)
	}
	if password != nil {
		flags |= 0x40
		credentials = appendString(credentials, *password)
	}
	body := append(appendString(nil, "MQTT"), 5, flags, 0, 60, 0)
	body = append(appendString(body, client), credentials...)
	c.send(0x10, body)
	return c, c.await(0x20)[1]
}

func (c *rawClient) subscribe(filter string) (reason byte) {
	c.t.Helper()
	c.send(0x82, append(appendString([]byte{0, 1, 0}, filter), 0))
	ack := c.await(0x90)
	return ack[len(ack)-1]
}

// publish sends a message with QoS 1 and returns the reason code of its PUBACK.
func (c *rawClient) publish(topic, payload string) (reason byte) {
	c.t.Helper()
	c.send(0x32, append(append(appendString(nil, topic), 0, 1, 0), payload...))
	if ack := c.await(0x40); len(ack) > 2 {
		return ack[2]
	}
	return 0
}

// catchUp returns when all that the broker sent before has been received.
func (c *rawClient) catchUp() {
	c.t.Helper()
	c.send(0xC0, nil)
	c.await(0xD0)
}

func (c *rawClient) send(header byte, body []byte) {
	c.t.Helper()
	packet := append(binary.AppendUvarint([]byte{header}, uint64(len(body))), body...)
	if _, err := c.conn.Write(packet); err != nil {
		c.t.Fatal(err)
	}
}

// await reads up to the next packet with header, and notes messages on the way.
func (c *rawClient) await(header byte) []byte {
	c.t.Helper()
	for {
		got, body, err := c.packet()
		switch {
		case err != nil:
			c.t.Fatalf("waiting for packet %#x: %v", header, err)
		case got == header:
			return body
		case got&0xF0 == 0x30:
			n := 2 + int(binary.BigEndian.Uint16(body))
			props, size := binary.Uvarint(body[n:])
			c.received[string(body[2:n])] = string(body[n+size+int(props):])
		default:
			c.t.Fatalf("got packet %#x %x, waiting for %#x", got, body, header)
		}
	}
}

func (c *rawClient) packet() (header byte, body []byte, err error) {
	if header, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	if size > 1<<20 {
		return 0, nil, fmt.Errorf("packet of %d bytes", size)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(c.in, body)
	return header, body, err
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
