package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"checkbus/internal/realtest"

	"github.com/gorilla/websocket"
)

// overWebSocket opens a port for a client that speaks no WebSocket, as
// Mosquitto's before 2.1, and carries what it says to a WebSocket at url.
func overWebSocket(t *testing.T, url string, cfg *tls.Config) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var carriers sync.WaitGroup
	carriers.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			carriers.Go(func() { carry(t, nc, url, cfg) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		carriers.Wait()
	})
	return ln.Addr().String()
}

// carry returns when either side has closed.
func carry(t *testing.T, nc net.Conn, url string, cfg *tls.Config) {
	defer nc.Close()
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: cfg}
	ws, _, err := dialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer ws.Close()
	var back sync.WaitGroup
	back.Go(func() {
		defer nc.Close()
		for {
			_, message, err := ws.NextReader()
			if err != nil {
				return
			}
			if _, err := io.Copy(nc, message); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 1000)
	for {
		n, err := nc.Read(buffer)
		if err != nil {
			break
		}
		if ws.WriteMessage(websocket.BinaryMessage, buffer[:n]) != nil {
			break
		}
	}
	_ = ws.Close()
	back.Wait()
}

// mosquitto_pub and mosquitto_sub talk to every kind of listener, in both
// versions of MQTT and with every QoS.
func TestMosquittosClientsOverEveryListener(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	cert, key := ca.Issue(t, dir, "server")
	hostCert, hostKey := ca.Issue(t, dir, "web1")
	var tables strings.Builder
	listen := func(lines string, args ...any) (address string) {
		address = realtest.FreeAddr(t)
		fmt.Fprintf(&tables, "[[listener]]\naddress = %q\nallow_anonymous = true\n"+lines+"\n", append([]any{address}, args...)...)
		return address
	}
	inTLS := fmt.Sprintf("tls_cert = %q\ntls_key = %q\n", cert, key)
	secured, certified := listen(inTLS), listen(inTLS+"client_ca = %q\nrequire_client_cert = true", ca.File)
	ws, wss := listen(`protocol = "websocket"`), listen(inTLS+`protocol = "websocket"`)
	path := filepath.Join(dir, "mqtt.sock")
	fmt.Fprintf(&tables, "[[listener]]\naddress = %q\n", "unix:"+path)
	v6 := strings.Replace(realtest.FreeAddr(t), "127.0.0.1", "[::1]", 1)
	fmt.Fprintf(&tables, "[[listener]]\naddress = %q\n", v6)
	g := startGateway(t, tables.String())

	at := func(address string, more ...string) []string {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return append([]string{"-h", host, "-p", port}, more...)
	}
	for name, server := range map[string][]string{
		"TCP":                    at(g.addr),
		"IPv6":                   at(v6),
		"Unix socket":            {"--unix", path},
		"TLS":                    at(secured, "--cafile", ca.File),
		"TLS with a certificate": at(certified, "--cafile", ca.File, "--cert", hostCert, "--key", hostKey),
		"WebSocket":              at(overWebSocket(t, "ws://"+ws+"/mqtt", nil)),
		"secure WebSocket":       at(overWebSocket(t, "wss://"+wss+"/mqtt", trusting(t, ca))),
	} {
		for _, version := range []string{"311", "5"} {
			t.Run(name+" "+version, func(t *testing.T) { converse(t, server, version) })
		}
	}
}

// converse publishes with every QoS, the last with much in it, and expects all
// of it back.
func converse(t *testing.T, server []string, version string) {
	run := func(program string, args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), realtest.Need(t, program), append(append([]string{"-V", version}, server...), args...)...)
	}
	publish := func(topic, qos, payload string, more ...string) {
		t.Helper()
		pub := run("mosquitto_pub", append([]string{"-q", qos, "-t", topic, "-s"}, more...)...)
		pub.Stdin = strings.NewReader(payload)
		if out, err := pub.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", pub.Args, err, out)
		}
	}
	publish("t/ready", "1", "ready", "-r")
	sub := run("mosquitto_sub", "-q", "2", "-t", "t/#", "-F", "%t %q %p", "-C", "5", "-W", "60")
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); line != want+"\n" {
			t.Errorf("received %.100q, %v; want %.100q", line, err, want)
		}
	}
	expect("t/ready 1 ready") // it is subscribed
	for qos, payload := range []string{"zero", "one", "two", strings.Repeat("x", 100_000)} {
		topic, level := fmt.Sprint("t/", qos), fmt.Sprint(min(qos, 2))
		publish(topic, level, payload)
		expect(topic + " " + level + " " + payload)
	}
	if err := sub.Wait(); err != nil {
		t.Errorf("mosquitto_sub: %v", err)
	}
}
