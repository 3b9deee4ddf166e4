package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzReadPacket: whatever a broker sends is a packet or an error.
func FuzzReadPacket(f *testing.F) {
	for _, seed := range [][]byte{
		connack, suback,
		{0x20, 3, 0, 0x87, 0},
		{0x30, 4, 0, 1, 't', 'x'},
		{0x32, 7, 0, 1, 't', 0, 9, 0, 'x'},
		{0x40, 2, 0, 1}, {0x50, 2, 0, 1}, {0x62, 2, 0, 1}, {0x70, 2, 0, 1},
		{0xD0, 0}, {0xE0, 0}, {0xE0, 2, 0x8B, 0},
		{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, []byte("HTTP/1.1 400 Bad Request"),
	} {
		f.Add(seed, byte(4))
		f.Add(seed, byte(5))
	}
	f.Fuzz(func(t *testing.T, data []byte, version byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			pk, err := readPacket(in, version)
			if err != nil {
				return
			}
			describe(pk)
		}
	})
}

func TestReadPacketToldFromAClosedConnection(t *testing.T) {
	tests := map[string]struct {
		data []byte
		want error
	}{
		"nothing":              {nil, io.EOF},
		"half a header":        {[]byte{0x20}, io.EOF},
		"half a body":          {[]byte{0x20, 2, 0}, io.ErrUnexpectedEOF},
		"reserved flags":       {[]byte{0x2F, 0}, errMalformed},
		"endless length":       {[]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, errMalformed},
		"over the limit":       {[]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F}, errMalformed},
		"a client's packet":    {[]byte{0xC0, 0}, errMalformed},
		"no topic":             {[]byte{0x30, 3, 0, 0, 'x'}, errMalformed},
		"short acknowledgment": {[]byte{0x40, 1, 0}, errMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readPacket(bufio.NewReader(bytes.NewReader(tt.data)), 4)
			if !errors.Is(err, tt.want) {
				t.Errorf("readPacket(%x) = %v, want %v", tt.data, err, tt.want)
			}
		})
	}
}

// A broker's reason is told whether or not properties follow it.
func TestReasonCodeWithoutProperties(t *testing.T) {
	tests := map[string]struct {
		data []byte
		want byte
	}{
		"no reason":       {[]byte{0xE0, 0}, 0},
		"reason alone":    {[]byte{0xE0, 1, 0x95}, 0x95},
		"no properties":   {[]byte{0xE0, 2, 0x95, 0}, 0x95},
		"acknowledgement": {[]byte{0x40, 3, 0, 1, 0x87}, 0x87},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pk, err := readPacket(bufio.NewReader(bytes.NewReader(tt.data)), 5)
			if err != nil || pk.ReasonCode != tt.want {
				t.Errorf("readPacket(%x) has code 0x%02x, %v, want 0x%02x", tt.data, pk.ReasonCode, err, tt.want)
			}
		})
	}
}

func TestTraceIsBounded(t *testing.T) {
	tr := new(trace)
	for range maxTrace + 5 {
		tr.sent(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	}
	lines := tr.text()
	if len(lines) != maxTrace+1 || lines[maxTrace] != "... and 5 packets more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// A check ends within its time-out on the clock of whoever runs it.
func TestEndsWithinTheTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "check_mqtt")
	buildPlugin(t, file)
	const limit = 2 * time.Second
	for _, kind := range []string{"silent", "dribble", "only-connack", "floods", "never-echoes"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			port, stop, err := serve(peers[kind])
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			// A machine that is busy may start a process late, or not let it
			// run: one run in time of three shows what the check does.
			var took time.Duration
			for range 3 {
				began := time.Now()
				out, err := exec.Command(file, "-H", "127.0.0.1", "-p", port, "-t", limit.String()).CombinedOutput()
				took = time.Since(began)
				if !strings.Contains(string(out), "timed out after 2s") {
					t.Errorf("%v: %s", err, out)
				}
				if took <= limit {
					break
				}
			}
			if took > limit || took < limit/2 {
				t.Errorf("it took %v of %v", took, limit)
			}
		})
	}
}

// A machine that hangs just when a check's time ends makes no time-out of what
// the check found.
func TestAHangAtTheEndHidesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "check_mqtt")
	buildPlugin(t, file)
	listens := make(chan struct{}, 3)
	port, stop, err := serve(func(c net.Conn) {
		steps(c, connack, slices.Concat(suback, []byte("\x32\x06\x00\x01a\x00\x01x")))
		if _, err := c.Read(make([]byte, 4)); err == nil { // the PUBACK
			listens <- struct{}{}
		}
		wait(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	const want = "MQTT WARNING - no retained message on a within 2s\n"
	var out []byte
	for range 3 { // as above
		cmd := exec.Command(file, "read", "-H", "127.0.0.1", "-p", port, "-T", "a", "--qos", "1", "--retained", "require", "-t", "2s", "--missing-state", "warning")
		out = stopAtTheEnd(t, cmd, listens, 2*time.Second)
		if string(out) == want {
			return
		}
	}
	t.Errorf("it said %q, want %q", out, want)
}

// stopAtTheEnd runs a check that has a time-out, and stops its process from
// when it listens until that is over. It returns what the check said.
func stopAtTheEnd(t *testing.T, cmd *exec.Cmd, listens <-chan struct{}, timeout time.Duration) []byte {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	select {
	case <-listens:
	case <-over.Done():
	}
	_ = cmd.Process.Signal(syscall.SIGSTOP) // it may have ended
	<-over.Done()
	_ = cmd.Process.Signal(syscall.SIGCONT)
	_ = cmd.Wait() // the output says it
	return out.Bytes()
}

// A host that drops packets is a time-out of TCP. Such is a listener whose
// queue is full.
func TestTimesOutInTCPWhereNothingAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var shrink error
	if err := raw.Control(func(fd uintptr) { shrink = syscall.Listen(int(fd), 0) }); err != nil || shrink != nil {
		t.Fatal(err, shrink)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", l.Addr().String(), 500*time.Millisecond)
		if err != nil {
			break // it is full
		}
		defer conn.Close()
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var out strings.Builder
	code := plugin([]string{"check_mqtt", "-H", "127.0.0.1", "-p", port, "-t", "1s", "--timeout-state", "unknown"}, &out)
	if want := "MQTT UNKNOWN - tcp: timed out after 1s (127.0.0.1:" + port + ")\n"; code != 3 || out.String() != want {
		t.Errorf("it said %q, exit code %d, want %q", out.String(), code, want)
	}
}
