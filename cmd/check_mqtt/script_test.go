package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/realtest"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this very program under each of its names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"check_mqtt":    main,
		"check-mqtt":    main,
		"check-mqtt.py": main,
	})
}

// TestScripts runs testdata/*.txtar. Beside the commands of testscript they
// have:
//
//	mosquitto FILE   run a real Mosquitto until the script ends
//	mochi PORT [FILE]
//	                 run a real mochi-mqtt broker, where FILE is given without
//	                 its own $SYS but with the retained messages, "TOPIC TEXT"
//	                 a line, that FILE has
//	peer KIND        listen on $PEER as a broken broker, see peers_test.go
//	gatewayd PORT    answer results on a broker as the gateway does
//	publish PORT MS TOPIC TEXT
//	                 publish every MS milliseconds until the script ends
//
// $PORT1 to $PORT4 are free ports, and $CERTS is a folder of certificates.
func TestScripts(t *testing.T) {
	realtest.Need(t, "mosquitto")
	certs := t.TempDir()
	makeCerts(t, certs)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CERTS", certs)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector's second at every exit
			for i := 1; i <= 4; i++ {
				_, port, _ := net.SplitHostPort(realtest.FreeAddr(t))
				env.Setenv(fmt.Sprintf("PORT%d", i), port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mosquitto": startMosquitto,
			"mochi":     startMochi,
			"peer":      startPeer,
			"gatewayd":  startGatewayd,
			"publish":   startPublisher,
		},
	})
}

// startMosquitto runs Mosquitto on a configuration in which $NAME stands for
// the script's variables, and waits until every listener answers.
func startMosquitto(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mosquitto FILE")
	}
	conf := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	var ports []string
	for line := range strings.Lines(conf) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "listener" {
			ports = append(ports, f[1])
		}
	}
	if os.Geteuid() == 0 {
		conf = "user root\n" + conf
	}
	file := ts.MkAbs(args[0] + ".expanded")
	ts.Check(os.WriteFile(file, []byte(conf), 0o600))
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	log, err := os.Create(file + ".log")
	ts.Check(err)
	cmd := exec.Command(program, "-c", file)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(file), log, log
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
	})
	for _, port := range ports {
		waitForPort(ts, "127.0.0.1:"+port)
	}
}

// allowAll lets everyone do everything on a mochi-mqtt broker.
type allowAll struct{ mochi.HookBase }

func (*allowAll) ID() string { return "allow-all" }
func (*allowAll) Provides(event byte) bool {
	return event == mochi.OnConnectAuthenticate || event == mochi.OnACLCheck
}
func (*allowAll) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*allowAll) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

// startMochi runs the broker library that checkbus stands on.
func startMochi(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: mochi PORT [FILE]")
	}
	options := &mochi.Options{InlineClient: true, SysTopicResendInterval: 1, Logger: slog.New(slog.DiscardHandler)}
	if len(args) > 1 {
		options.SysTopicResendInterval = 3600
	}
	server := mochi.New(options)
	ts.Check(server.AddHook(new(allowAll), nil))
	ts.Check(server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:" + args[0]})))
	ts.Check(server.Serve())
	ts.Defer(func() { server.Close() })
	if len(args) == 1 {
		return
	}
	for topic := range server.Topics.Retained.GetAll() {
		server.Topics.Retained.Delete(topic)
	}
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		topic, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		ts.Check(server.Publish(topic, []byte(text), true, 0))
	}
}

func waitForPort(ts *testscript.TestScript, addr string) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not answer: %v", addr, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
