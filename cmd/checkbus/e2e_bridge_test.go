package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// bridgeTable is a bridge to an address, with quick reconnects.
func bridgeTable(address string, topics ...string) string {
	return fmt.Sprintf("[[bridge]]\nname = \"peer\"\naddress = [\"mqtt://%s\"]\ntopics = [\"%s\"]\nrestart_min = \"100ms\"\nrestart_max = \"200ms\"\n",
		address, strings.Join(topics, `", "`))
}

// publishAll publishes numbered messages of QoS 1 or 2 on prefix, and sees all
// acknowledged.
func (g *gateway) publishAll(prefix, payload string, qos byte, from, to int) {
	g.t.Helper()
	c := mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: "pub", V5: true})
	defer c.Disconnect()
	for i := from; i < to; i += 50 {
		var batch []mqtttest.Message
		for j := i; j < min(i+50, to); j++ {
			batch = append(batch, mqtttest.Message{Topic: fmt.Sprintf("%s%d", prefix, j), Payload: payload, QoS: qos, ID: uint16(j + 1)})
		}
		c.Publish(batch...)
		for _, m := range batch {
			if qos == 1 {
				c.Acked(mqtttest.PUBACK, m.ID)
				continue
			}
			c.Acked(mqtttest.PUBREC, m.ID)
		}
		for _, m := range batch {
			if qos == 2 {
				c.Ack(mqtttest.PUBREL, m.ID)
				c.Acked(mqtttest.PUBCOMP, m.ID)
			}
		}
	}
}

// hasStates waits until a gateway without a core knows n objects.
func (g *gateway) hasStates(n int) {
	g.t.Helper()
	c := mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: "states"})
	defer c.Close()
	c.Subscribe("checkbus/state/#", 0)
	seen := map[string]bool{}
	for len(seen) < n {
		p, err := c.Read()
		if err != nil {
			g.t.Fatalf("%d of %d objects arrived: %v", len(seen), n, err)
		}
		seen[p.Topic()] = true
	}
}

func TestResultsForABridgeThatIsDownSurviveAKill(t *testing.T) {
	central := prepareGateway(t, filepath.Join(t.TempDir(), "data"), "")
	edge := startGateway(t, bridgeTable(central.addr, "nagios/# out 1"))
	edge.publishAll("nagios/web1/s", fine, 1, 0, 400)
	edge.kill()
	edge.start()
	edge.publishAll("nagios/web1/s", fine, 1, 400, 500)
	central.start()
	central.hasStates(500)
}

func TestNoResultIsLostOverABridgeWhoseEndsAreKilled(t *testing.T) {
	for way, line := range map[string]string{"out": "nagios/# out 1", "in": "nagios/# in 1"} {
		t.Run(way, func(t *testing.T) {
			from := prepareGateway(t, filepath.Join(t.TempDir(), "data"), "")
			to := prepareGateway(t, filepath.Join(t.TempDir(), "data"), "")
			if way == "out" {
				from = prepareGateway(t, from.dataDir, bridgeTable(to.addr, line))
			} else {
				to = prepareGateway(t, to.dataDir, bridgeTable(from.addr, line))
			}
			from.start()
			to.start()
			waitFor(t, "the bridge to be subscribed", func() bool { // which it does not say
				from.publishAll("nagios/web1/s", fine, 1, 0, 1)
				return to.knows(checks.Object{Host: "web1", Service: "s0"})
			})
			for round := range 6 {
				from.publishAll("nagios/web1/s", fine, 1, 1+round*150, 1+(round+1)*150)
				killed := from
				if round%2 == 0 {
					killed = to
				}
				killed.kill()
				killed.start()
			}
			to.hasStates(901)
		})
	}
}

func TestMessagesOfQoS2CrossABridgeOnceThoughTheGatewayIsKilled(t *testing.T) {
	m := realtest.StartMosquitto(t, "max_queued_messages 0")
	g := startGateway(t, bridgeTable(m.Addr, "load/# out 2"))
	sub := mqtttest.Dial(t, m.Addr, mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("load/#", 2)
	for round := range 5 {
		g.publishAll("load/", "x", 2, round*200, (round+1)*200)
		g.kill()
		g.start()
	}
	for next := 0; next < 1000; {
		p, err := sub.Read()
		if err != nil {
			t.Fatalf("message %d: %v", next, err)
		}
		switch p.Type() {
		case mqtttest.PUBLISH:
			if want := fmt.Sprint("load/", next); p.Topic() != want {
				t.Fatalf("got %s, want %s", p.Topic(), want)
			}
			next++
			sub.Ack(mqtttest.PUBREC, p.ID())
		case mqtttest.PUBREL:
			sub.Ack(mqtttest.PUBCOMP, p.ID())
		}
	}
}

func TestCheckConfigShowsBridgesAndReadsTheirFiles(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "checkbus.toml")
	write := func(secret string) {
		text := fmt.Sprintf("data_dir = %q\n[[bridge]]\nname = \"hq\"\naddress = [\"mqtts://hq.example.org\"]\ntopics = [\"nagios/# out 1\"]\nclient_id = \"dc1\"\nusername = \"dc1\"\npassword_file = %q\n", dir, secret)
		if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(settings)
	out, err := exec.Command(program, "check-config", "-config", settings).CombinedOutput()
	if want := "bridge    hq, mqtts://hq.example.org as dc1: nagios/# out 1\n"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
	write(filepath.Join(dir, "nothing"))
	out, err = exec.Command(program, "check-config", "-config", settings).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "bridge[0].password_file: open ") {
		t.Errorf("%v\n%s", err, out)
	}
}
