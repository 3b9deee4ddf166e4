package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
//	checkbus FILE    run the gateway
//	mochi NAME [FILE]
//	                 run a real mochi-mqtt broker on port $NAME, where FILE is given without
//	                 its own $SYS but with the retained messages, "TOPIC TEXT"
//	                 a line, that FILE has
//	peer KIND        listen on $PEER as a broken broker, see peers_test.go
//	gatewayd PORT    answer results on a broker as the gateway does
//	publish PORT MS TOPIC TEXT
//	                 publish every MS milliseconds until the script ends
//
// $PORT1 to $PORT5 are free ports, and $CERTS is a folder of certificates.
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
			for i := 1; i <= 5; i++ {
				_, port, _ := net.SplitHostPort(realtest.FreeAddr(t))
				env.Setenv(fmt.Sprintf("PORT%d", i), port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mosquitto": startMosquitto,
			"checkbus":  startCheckbus,
			"mochi":     startMochi,
			"peer":      startPeer,
			"gatewayd":  startGatewayd,
			"publish":   startPublisher,
		},
	})
}

// startMosquitto runs Mosquitto on a configuration in which $NAME stands for
// the script's variables, and waits until it listens.
func startMosquitto(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mosquitto FILE")
	}
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	text := ts.ReadFile(args[0])
	if os.Geteuid() == 0 {
		text = "user root\n" + text // else it becomes another, who cannot read here
	}
	startDaemon(ts, args[0], text, regexp.MustCompile(`mosquitto version \S+ running`), program, "-c")
}

// startCheckbus runs this module's gateway in the same way.
func startCheckbus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: checkbus FILE")
	}
	program := filepath.Join(ts.Getenv("WORK"), "checkbus")
	build := exec.Command("go", "build", "-o", program, "checkbus/cmd/checkbus")
	if out, err := build.CombinedOutput(); err != nil {
		ts.Fatalf("go build: %v\n%s", err, out)
	}
	text := ts.ReadFile(args[0])
	ports := len(portVariable.FindAllString(text, -1))
	ready := regexp.MustCompile(fmt.Sprintf(`(?s)(msg=listening.*){%d}`, ports))
	startDaemon(ts, args[0], text, ready, program, "serve", "-config")
}

var portVariable = regexp.MustCompile(`\$PORT[0-9]`)

// startDaemon runs program, with the configuration text in a file for its last
// argument, until the script ends. It waits until the daemon has its ports, and
// takes others when one was taken meanwhile.
func startDaemon(ts *testscript.TestScript, name, text string, ready *regexp.Regexp, program string, args ...string) {
	file, logged := ts.MkAbs(name+".expanded"), ts.MkAbs(name+".log")
	for range 5 {
		ts.Check(os.WriteFile(file, []byte(os.Expand(text, ts.Getenv)), 0o600))
		log, err := os.Create(logged)
		ts.Check(err)
		cmd := exec.Command(program, append(args, file)...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(file), log, log
		err = cmd.Start()
		log.Close()
		ts.Check(err)
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait() // how it ends says nothing: the script ends it
			close(exited)
		}()
		stop := func() {
			_ = cmd.Process.Kill() // it may have ended by itself
			<-exited
		}
		if saysReady(ts, logged, ready, exited) {
			ts.Defer(stop)
			return
		}
		stop()
		ts.Logf("%s", ts.ReadFile(logged))
		for _, p := range portVariable.FindAllString(text, -1) {
			ts.Setenv(p[1:], freePort(ts))
		}
	}
	ts.Fatalf("%s does not start", program)
}

// saysReady waits until a daemon's log says so; false when the daemon has
// ended, or does not say so. A port that answers proves nothing: it may be
// somebody else's.
func saysReady(ts *testscript.TestScript, log string, ready *regexp.Regexp, exited <-chan struct{}) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if ready.MatchString(ts.ReadFile(log)) {
			return true
		}
		if isDone(exited) {
			return false
		}
	}
	return false
}

func freePort(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
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
		ts.Fatalf("usage: mochi NAME [FILE]")
	}
	options := &mochi.Options{InlineClient: true, SysTopicResendInterval: 1, Logger: slog.New(slog.DiscardHandler)}
	if len(args) > 1 {
		options.SysTopicResendInterval = 3600
	}
	server := mochi.New(options)
	ts.Check(server.AddHook(new(allowAll), nil))
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	ts.Check(server.AddListener(tcp))
	_, port, _ := net.SplitHostPort(tcp.Address())
	ts.Setenv(args[0], port)
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
