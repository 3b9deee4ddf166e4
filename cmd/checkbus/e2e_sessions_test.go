package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
)

// subscribeOnce makes a session of mosquitto_sub that is subscribed to topic, and
// away.
func (g *gateway) subscribeOnce(id, version, qos, topic string) {
	g.t.Helper()
	if out, err := g.session(id, version, qos, topic, "-E").CombinedOutput(); err != nil {
		g.t.Fatalf("mosquitto_sub: %v\n%s", err, out)
	}
}

// session is mosquitto_sub with a session that outlives it.
func (g *gateway) session(id, version, qos, topic string, args ...string) *exec.Cmd {
	g.t.Helper()
	args = append([]string{"-c", "-i", id, "-V", version, "-q", qos, "-t", topic, "-k", "60"}, args...)
	if version == "5" {
		args = append(args, "-x", "3600")
	}
	return g.mosquitto("mosquitto_sub", args...)
}

// A crash of the gateway under load loses nothing that was acknowledged: what
// waits for clients that are away arrives, in order, once they come back.
func TestSessionsSurviveKill(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "")
	clients := []struct{ id, version, qos string }{
		{"one", "311", "1"}, {"two", "311", "2"}, {"three", "5", "1"}, {"four", "5", "2"},
	}
	for _, c := range clients {
		g.subscribeOnce(c.id, c.version, c.qos, "plant/#")
	}
	acked := 0
	for round := range 3 {
		acked = g.publishUntilKilled(acked, 400*(round+1))
		g.start()
	}
	retained := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "retained"})
	retained.Subscribe("plant/last", 0)
	p := retained.Next(mqtttest.PUBLISH)
	var last int
	if _, err := fmt.Sscan(p.Payload(), &last); err != nil || last < acked {
		t.Errorf("retained is %v, want message %d or later", p, acked)
	}
	for _, c := range clients {
		t.Run(c.id, func(t *testing.T) { g.wantInOrder(c.id, c.version, c.qos, acked) })
	}
}

// publishUntilKilled publishes retained messages with QoS 1, numbered from
// after on, and kills the gateway when so many more are acknowledged. It
// returns the number of the last one that was.
func (g *gateway) publishUntilKilled(after, more int) int {
	g.t.Helper()
	c := mqtttest.Dial(g.t, g.addr, mqtttest.Options{ID: "publisher"})
	var sending sync.WaitGroup
	defer sending.Wait()
	defer c.Close()
	sending.Go(func() {
		for i := after + 1; ; i++ {
			m := mqtttest.Message{Topic: "plant/last", Payload: fmt.Sprint(i), QoS: 1, ID: uint16(i%60000 + 1), Retain: true}
			if _, err := c.Write(m.Encode(false)); err != nil {
				return
			}
		}
	})
	for i := after + 1; ; i++ {
		if i == after+more {
			g.kill()
		}
		p, err := c.Read()
		if err != nil {
			return i - 1
		}
		if p.Type() != mqtttest.PUBACK || p.ID() != uint16(i%60000+1) {
			g.t.Fatalf("got %v, want the acknowledgement of %d", p, i)
		}
	}
}

// wantInOrder reads with mosquitto_sub what waits for a client: all up to last,
// in order. What the publisher got no answer about may be there as well, and
// twice.
func (g *gateway) wantInOrder(id, version, qos string, last int) {
	g.t.Helper()
	end := "end of " + id
	g.publish("plant/end", end)
	cmd := g.session(id, version, qos, "plant/#", "-R")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	newest := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var i int
		if line := lines.Text(); line == end {
			if newest < last {
				g.t.Errorf("%s: the last is %d, want %d", id, newest, last)
			}
			return
		} else if _, err := fmt.Sscan(line, &i); err != nil {
			continue // the end of another
		}
		if i > newest+1 {
			g.t.Fatalf("%s: message %d follows %d", id, i, newest)
		}
		newest = max(newest, i)
	}
	g.t.Errorf("%s: mosquitto_sub ended after message %d", id, newest)
}
