package bench

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"checkbus/internal/loadgen"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// eventCores start cores with 4,000 services, and return the settings of a gateway
// that has them; "none" is the gateway itself.
var eventCores = map[string]func(*testing.B) string{
	"none": func(*testing.B) string { return "" },
	"nagios": func(b *testing.B) string {
		return nagiosSettings(realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services}))
	},
	"icinga": func(b *testing.B) string { return icingaSettings(startIcinga(b, hosts, services)) },
}

// An eventWay is a gateway, a client that publishes results, and one that gets
// the events.
type eventWay struct {
	publisher, subscriber *mqtttest.Client
}

// startEvents returns when the first events are there.
func startEvents(b *testing.B, settings string) eventWay {
	b.Helper()
	g := startGateway(b, settings)
	w := eventWay{
		publisher:  mqtttest.Connect(b, g.addr, mqtttest.Options{ID: "publisher"}),
		subscriber: mqtttest.Connect(b, g.addr, mqtttest.Options{ID: "subscriber"}),
	}
	w.subscriber.Subscribe("checkbus/event/#", 0)
	for _, code := range []int{1, 0} { // a Nagios that has just started takes up to a second
		w.publisher.Publish(mqtttest.Message{Topic: "nagios/h0000", Payload: fmt.Sprintf(`{"exit_code":%d,"reason":"begin"}`, code), QoS: 1, ID: uint16(65000 + code)})
		w.subscriber.Next(mqtttest.PUBLISH)
	}
	return w
}

// result is the i-th result, which is another state than the one of its object
// before, and says when it was published.
func (w eventWay) result(i int) mqtttest.Message {
	const all = hosts * services
	return mqtttest.Message{
		Topic:   fmt.Sprintf("nagios/h%04d/s%03d", i%all/services, i%services),
		Payload: fmt.Sprintf(`{"exit_code":%d,"reason":"at %d"}`, 2*((i/all+1)%2), time.Now().UnixNano()),
		QoS:     1,
		ID:      uint16(1 + i%60000),
	}
}

// latencies measures n events.
func (w eventWay) latencies(b *testing.B, n int) *loadgen.Histogram {
	b.Helper()
	h := &loadgen.Histogram{}
	for h.Count() < int64(n) {
		p := w.subscriber.Next(mqtttest.PUBLISH)
		var e struct{ Change, Reason string }
		if err := json.Unmarshal([]byte(p.Payload()), &e); err != nil {
			b.Fatal(err)
		}
		var at int64
		if _, err := fmt.Sscanf(e.Reason, "at %d", &at); err == nil && e.Change == "state" {
			h.Add(time.Duration(time.Now().UnixNano() - at))
		}
	}
	return h
}

// BenchmarkEventLatency: from the publish of a result to the event at a
// subscriber, at an even pace.
func BenchmarkEventLatency(b *testing.B) {
	for _, core := range []string{"none", "nagios", "icinga"} {
		for rate, n := range map[int]int{10: 100, 1000: 5000} {
			b.Run(fmt.Sprintf("core=%s/rate=%d", core, rate), func(b *testing.B) {
				w := startEvents(b, eventCores[core](b))
				done := make(chan struct{})
				go func() {
					defer close(done)
					ticks := time.NewTicker(time.Second / time.Duration(rate))
					defer ticks.Stop()
					for i := range n {
						<-ticks.C
						w.publisher.Publish(w.result(i))
					}
				}()
				h := w.latencies(b, n)
				<-done
				b.ReportMetric(0, "ns/op")
				reportQuantiles(b, h)
			})
		}
	}
}

// BenchmarkEventsAtOnce: 4,000 services change in one moment. The figures are
// times until their events are out.
func BenchmarkEventsAtOnce(b *testing.B) {
	for _, core := range []string{"none", "nagios", "icinga"} {
		b.Run("core="+core, func(b *testing.B) {
			w := startEvents(b, eventCores[core](b))
			const n = hosts * services
			var messages []mqtttest.Message
			for i := range n {
				messages = append(messages, w.result(i))
			}
			begin := time.Now()
			go w.publisher.Publish(messages...)
			h := w.latencies(b, n)
			report(b, n, time.Since(begin))
			b.ReportMetric(float64(h.Max().Microseconds())/1000, "last-ms")
		})
	}
}

// followTime is how long BenchmarkFollow looks at a core.
const followTime = 10 * time.Second

// BenchmarkFollow: what it costs a core with 4,000 services that a gateway follows
// it while nothing happens, in hundredths of a processor. Nagios has to write its
// status file each second for that, which it is compared without.
func BenchmarkFollow(b *testing.B) {
	share := func(pid int) float64 {
		m := newMeter(pid)
		time.Sleep(followTime)
		return 100 * m.spent().Seconds() / followTime.Seconds()
	}
	b.Run("core=nagios", func(b *testing.B) {
		alone := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services, Config: []string{"status_update_interval=3600"}})
		before := share(alone.PID())
		alone.Stop()
		n := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: hosts, Services: services})
		startEvents(b, nagiosSettings(n))
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(share(n.PID())-before, "%core")
	})
	b.Run("core=icinga", func(b *testing.B) {
		ic := startIcinga(b, hosts, services)
		before := share(ic.PID())
		startEvents(b, icingaSettings(ic))
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(share(ic.PID())-before, "%core")
	})
}

func reportQuantiles(b *testing.B, h *loadgen.Histogram) {
	for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99} {
		b.ReportMetric(float64(h.Quantile(q).Microseconds())/1000, name)
	}
}
