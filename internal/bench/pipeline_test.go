package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"checkbus/internal/loadgen"
	"checkbus/internal/realtest"
)

// subscriber is what one writes to get results from an MQTT broker into
// Nagios: paho's client, and the command file.
const subscriber = `
import json, sys, time
import paho.mqtt.client as mqtt

pipe = open(sys.argv[3], "w", buffering=1)

def on_connect(client, *_):
    client.subscribe("nagios/#", qos=1)

def on_message(client, _, message):
    _, host, service = message.topic.split("/", 2)
    result = json.loads(message.payload)
    pipe.write("[%d] PROCESS_SERVICE_CHECK_RESULT;%s;%s;%d;%s|%s\n" % (
        time.time(), host, service, result["exit_code"], result["reason"], result["perfdata"]))

def on_subscribe(*_):
    pipe.write("[0] READY\n")

version = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*version, client_id="to-nagios", clean_session=False)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect(sys.argv[1], int(sys.argv[2]))
client.loop_forever()
`

// A pipeline takes results over MQTT and hands them to core.
type pipeline struct {
	addr string
	pids []int
}

func checkbusPipeline(b *testing.B, core *countingCore) *pipeline {
	g := startGateway(b, fmt.Sprintf("[nagios]\ncommand_file = %q\nbatch_dir = %q\n", core.commandFile, core.batchDir))
	return &pipeline{addr: g.addr, pids: []int{g.pid}}
}

// mosquittoPipeline has Mosquitto's persistence on, and its queue for the
// subscriber unlimited: by default it drops all but 1,000 messages.
func mosquittoPipeline(b *testing.B, core *countingCore) *pipeline {
	m := realtest.StartMosquitto(b, "persistence true", "persistence_location "+b.TempDir()+"/", "max_queued_messages 0")
	script := filepath.Join(b.TempDir(), "to_nagios.py")
	if err := os.WriteFile(script, []byte(subscriber), 0o644); err != nil {
		b.Fatal(err)
	}
	host, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		b.Fatal(err)
	}
	// Debian's own python3, for which python3-paho-mqtt is.
	p := start(b, realtest.Need(b, "/usr/bin/python3"), script, host, port, core.commandFile)
	await(b, "the subscriber", 5*time.Millisecond, func() bool {
		p.mustRun(b)
		return core.results.Load() > 0
	})
	return &pipeline{addr: m.Addr, pids: []int{m.PID, p.pid}}
}

// BenchmarkPipeline: from publishers to a core that only counts. The rate is
// until the last result has arrived there.
func BenchmarkPipeline(b *testing.B) {
	loads := []loadgen.Load{
		{Connections: 100, Window: 20, Count: 200_000},
		{Connections: 1, Window: 100, Count: 200_000},
	}
	pipelines := []struct {
		name  string
		start func(*testing.B, *countingCore) *pipeline
	}{
		{"checkbus", checkbusPipeline},
		{"mosquitto", mosquittoPipeline},
	}
	for _, load := range loads {
		for _, p := range pipelines {
			name := fmt.Sprintf("publishers=%d/window=%d/pipeline=%s", load.Connections, load.Window, p.name)
			b.Run(name, func(b *testing.B) {
				core := startCountingCore(b)
				runPipeline(b, load, core, p.start(b, core))
			})
		}
	}
}

func runPipeline(b *testing.B, load loadgen.Load, core *countingCore, p *pipeline) {
	load.Addr, load.QoS, load.Hosts, load.Services = p.addr, 1, 100, 40
	before := core.results.Load()
	meter := newMeter(p.pids...)
	begin := time.Now()
	published, err := load.Run(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	await(b, "the last result", time.Millisecond, func() bool {
		return core.results.Load()-before >= int64(load.Count)
	})
	report(b, load.Count, time.Since(begin))
	meter.report(b, load.Count, "cpu-us/result")
	b.ReportMetric(published.Rate(), "acks/s")
	b.ReportMetric(float64(published.Latency.Quantile(0.99).Microseconds())/1000, "p99-ack-ms")
	peak := 0.0
	for _, pid := range p.pids {
		peak += memory(b, pid, "VmHWM")
	}
	b.ReportMetric(peak, "MB-peak")
	if extra := core.results.Load() - before - int64(load.Count); extra > 0 {
		b.ReportMetric(float64(extra), "twice")
	}
}
