package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"checkbus/internal/loadgen"
	"checkbus/internal/realtest"
)

const hosts, services = 100, 40 // of the Nagios here

func nagiosSettings(n *realtest.Nagios) string {
	return fmt.Sprintf("[spool]\nmax_size = \"4GiB\"\n[nagios]\ncommand_file = %q\nbatch_dir = %q\nobject_cache = %q\nlog_file = %q\nstatus_file = %q\n",
		n.CommandFile, n.BatchDir, n.ObjectCache, n.LogFile, n.StatusFile)
}

// A resultLog counts the results that a Nagios has processed, by the line
// that it logs for each.
type resultLog struct {
	file    *os.File
	partial []byte // of the last line
	results int
}

// followLog counts from now on.
func followLog(b *testing.B, path string) *resultLog {
	b.Helper()
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		b.Fatal(err)
	}
	return &resultLog{file: file}
}

// count returns how many results there are so far.
func (l *resultLog) count(b *testing.B) int {
	buf := make([]byte, 1<<20)
	for {
		n, err := l.file.Read(buf)
		if n == 0 {
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
			return l.results
		}
		text := append(l.partial, buf[:n]...)
		end := bytes.LastIndexByte(text, '\n') + 1
		l.results += bytes.Count(text[:end], []byte("] PASSIVE SERVICE CHECK: "))
		l.partial = append([]byte(nil), text[end:]...)
	}
}

// BenchmarkNagios: as fast as it goes, until Nagios has processed the last.
func BenchmarkNagios(b *testing.B) {
	nagios := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services})
	g := startGateway(b, nagiosSettings(nagios))
	log := followLog(b, nagios.LogFile)
	load := loadgen.Load{Addr: g.addr, QoS: 1, Connections: 10, Window: 100, Hosts: hosts, Services: services, Count: 200_000}
	own, core := newMeter(g.pid), newMeter(nagios.PID())
	begin := time.Now()
	if _, err := load.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	await(b, "Nagios", time.Millisecond, func() bool { return log.count(b) >= load.Count })
	report(b, load.Count, time.Since(begin))
	own.report(b, load.Count, "gateway-cpu-us/result")
	core.report(b, load.Count, "nagios-cpu-us/result")
}

// BenchmarkNagiosDrain: a million results wait while Nagios is down; the rate
// is from its start to the last result. The queue's memory and disk are
// measured before, with 1,000 clients connected.
func BenchmarkNagiosDrain(b *testing.B) {
	nagios := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services})
	g := startGateway(b, nagiosSettings(nagios))
	for i := range 1000 {
		conn, err := loadgen.Dial(b.Context(), g.addr, loadgen.Options{Client: fmt.Sprintf("idle%d", i), Version: 5})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
	}
	idle := memory(b, g.pid, "VmRSS")
	nagios.Stop()
	load := loadgen.Load{Addr: g.addr, QoS: 1, Connections: 10, Window: 100, Hosts: hosts, Services: services, Count: 1_000_000}
	published, err := load.Run(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(published.Rate(), "queued/s")
	b.ReportMetric(idle, "MB-1000-clients")
	b.ReportMetric(memory(b, g.pid, "VmHWM"), "MB-peak-queueing")
	b.ReportMetric(float64(diskUse(b, g.data))/1e6, "MB-on-disk")

	log := followLog(b, nagios.LogFile)
	own := newMeter(g.pid)
	begin := time.Now()
	nagios.Start()
	core := newMeter(nagios.PID())
	await(b, "Nagios", time.Millisecond, func() bool { return log.count(b) >= load.Count })
	report(b, load.Count, time.Since(begin))
	own.report(b, load.Count, "gateway-cpu-us/result")
	core.report(b, load.Count, "nagios-cpu-us/result")
	b.ReportMetric(memory(b, g.pid, "VmHWM"), "MB-peak")
}

// BenchmarkNagiosLatency: from the publish to Nagios's log, ten times a second.
func BenchmarkNagiosLatency(b *testing.B) {
	nagios := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services})
	g := startGateway(b, nagiosSettings(nagios))
	log := followLog(b, nagios.LogFile)
	seen := 0
	measureLatency(b, g.addr, func(topic, reason string) bool {
		if log.count(b) == seen {
			return false
		}
		seen++
		return true
	})
}

// measureLatency publishes 200 results, ten a second, and asks processed of
// each until the core has it.
func measureLatency(b *testing.B, addr string, processed func(service, reason string) bool) {
	b.Helper()
	conn, err := loadgen.Dial(b.Context(), addr, loadgen.Options{Client: "latency", Version: 4})
	if err != nil {
		b.Fatal(err)
	}
	var acks, whole loadgen.Histogram
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for i := range 200 {
		<-ticks.C
		service, reason := fmt.Sprintf("s%03d", i%10), fmt.Sprintf("number %d", i)
		payload := fmt.Appendf(nil, `{"exit_code":0,"reason":%q}`, reason)
		acked := make(chan error, 1)
		begin := time.Now()
		go func() {
			err := conn.Publish("nagios/h0000/"+service, payload)
			acks.Add(time.Since(begin))
			acked <- err
		}()
		await(b, "the result in the core", 100*time.Microsecond, func() bool { return processed(service, reason) })
		whole.Add(time.Since(begin))
		if err := <-acked; err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.Disconnect(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	ms := func(h *loadgen.Histogram, q float64) float64 { return float64(h.Quantile(q).Microseconds()) / 1000 }
	b.ReportMetric(ms(&acks, 0.5), "p50-ack-ms")
	b.ReportMetric(ms(&acks, 0.99), "p99-ack-ms")
	b.ReportMetric(ms(&whole, 0.5), "p50-processed-ms")
	b.ReportMetric(ms(&whole, 0.99), "p99-processed-ms")
}
