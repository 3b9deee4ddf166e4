package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

// The roundtrip that a plugin in Python makes, with the library that the known
// ones use.
const pahoRoundtrip = `
import sys
import paho.mqtt.client as mqtt
try:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1)
except AttributeError:
    client = mqtt.Client()
client.on_connect = lambda c, u, f, rc: c.subscribe("bench/paho")
client.on_subscribe = lambda c, u, mid, qos: c.publish("bench/paho", "ping")
client.on_message = lambda c, u, m: c.disconnect()
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
`

// rounds is how often each program runs.
const rounds = 50

// BenchmarkRoundtrip runs whole processes that send a message through
// Mosquitto on loopback and wait for it, in turn: this plugin, mosquitto_rr,
// and Python with paho. It reports medians of wall and CPU time, and the ratio
// of this plugin's to them.
//
//	go test -run '^$' -bench Roundtrip ./cmd/check_mqtt
func BenchmarkRoundtrip(b *testing.B) {
	plugin := filepath.Join(b.TempDir(), "check_mqtt")
	buildPlugin(b, plugin)
	_, port, _ := net.SplitHostPort(realtest.StartMosquitto(b).Addr)
	own := &program{name: "check_mqtt", args: []string{plugin, "-H", "127.0.0.1", "-p", port}}
	programs := []*program{
		own,
		{name: "mosquitto_rr", args: []string{realtest.Need(b, "mosquitto_rr"), "-h", "127.0.0.1", "-p", port, "-t", "bench/rr", "-e", "bench/rr", "-m", "ping"}},
		{name: "paho", args: []string{realtest.Need(b, "/usr/bin/python3"), "-c", pahoRoundtrip, port}},
	}
	for _, p := range programs {
		p.run(b) // once for the page cache
	}
	for range rounds {
		for _, p := range programs {
			wall, cpu := p.run(b)
			p.wall, p.cpu = append(p.wall, wall), append(p.cpu, cpu)
		}
	}
	info, err := os.Stat(plugin)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range programs {
		b.Run("program="+p.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op") // it was measured above
			b.ReportMetric(milliseconds(median(p.wall)), "wall-ms")
			b.ReportMetric(milliseconds(median(p.cpu)), "cpu-ms")
			if p == own {
				b.ReportMetric(float64(info.Size())/1e6, "binary-MB")
				return
			}
			b.ReportMetric(float64(median(own.wall))/float64(median(p.wall)), "wall-ratio")
			b.ReportMetric(float64(median(own.cpu))/float64(median(p.cpu)), "cpu-ratio")
		})
	}
}

// A program is one that makes a roundtrip, and how long its runs took.
type program struct {
	name      string
	args      []string
	wall, cpu []time.Duration
}

func (p *program) run(b *testing.B) (wall, cpu time.Duration) {
	b.Helper()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	wall = time.Since(began)
	if err != nil {
		b.Fatal(fmt.Errorf("%s: %w\n%s", p.name, err, out))
	}
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func median(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
