package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"checkbus/internal/mqtttest"
)

var consoleTime = flag.Duration("console", 20*time.Second, "how long BenchmarkConsole sends events to the page")

// watchProbe notes how long after its publication, in ms, each result of the
// host "probe" is drawn.
const watchProbe = `
	window.delays = []
	let seen = ''
	new MutationObserver(() => {
		for (const row of document.querySelectorAll('#objects .row')) {
			const sent = row.host.textContent === 'probe' && row.reason.textContent
			if (!sent || sent === seen) continue
			seen = sent
			requestAnimationFrame(() => delays.push(Date.now() - Number(sent)))
		}
	}).observe(document.getElementById('objects'), { subtree: true, childList: true, characterData: true })`

// BenchmarkConsole shows the page 10,000 objects and 500 events a second, and
// reports how long it takes to load and to draw what was published, and what it
// costs the browser: its main thread's share of a core, and its heap.
func BenchmarkConsole(b *testing.B) {
	g, base := startWithConsole(b)
	client := mqtttest.Dial(b, g.addr, mqtttest.Options{ID: "publisher"})
	publish := func(topic, payload string) {
		client.Publish(mqtttest.Message{Topic: topic, Payload: payload})
	}
	service := func(i, exitCode int) string {
		return fmt.Sprintf(`{"host":"host%03d","service":"service%02d","exit_code":%d,"reason":"SERVICE - value is %d|value=%d"}`, i/20, i%20, exitCode, i, i)
	}
	for i := 0; i < 10_000; i += 500 {
		var lines []string
		for k := range 500 {
			lines = append(lines, service(i+k, 0))
		}
		publish("nagios", strings.Join(lines, "\n"))
	}
	g.publish("nagios/probe", `{"exit_code":2,"reason":""}`)

	p := openConsole(b, base, "/?state=all")
	all := `document.querySelector('#counts a[data-state=all] .count').textContent.replace(/\D/g, '') === '10001'`
	p.until(all)
	for b.Loop() {
		p.visit("/?state=all")
		b.ReportMetric(valueOf[float64](p, `performance.getEntriesByType('navigation')[0].loadEventEnd`), "ms-to-load")
		p.until(all)
		b.ReportMetric(valueOf[float64](p, `performance.now()`), "ms-to-10000-objects")
		p.run(watchProbe)
		before := p.metrics()
		begin := time.Now()
		tick := time.NewTicker(20 * time.Millisecond)
		exitCodes := [10_000]int{}
		for n := 0; time.Since(begin) < *consoleTime; n++ {
			for k := range 10 {
				i := (n*10 + k) * 7919 % 10_000
				exitCodes[i] = (exitCodes[i] + 1) % 4
				publish("nagios", service(i, exitCodes[i]))
			}
			if n%10 == 0 {
				publish("nagios/probe", fmt.Sprintf(`{"exit_code":2,"reason":"%d"}`, time.Now().UnixMilli()))
			}
			<-tick.C
		}
		tick.Stop()
		after := p.metrics()
		delays := valueOf[[]float64](p, `delays`)
		slices.Sort(delays)
		if len(delays) < 10 {
			b.Fatalf("only %d results were drawn", len(delays))
		}
		b.ReportMetric(delays[len(delays)/2], "ms-to-pixel-p50")
		b.ReportMetric(delays[len(delays)*99/100], "ms-to-pixel-p99")
		b.ReportMetric(100*(after["TaskDuration"]-before["TaskDuration"])/time.Since(begin).Seconds(), "%core")
		b.ReportMetric(after["JSHeapUsedSize"]/(1<<20), "MiB-heap")
	}
}

// metrics are what the browser measures of the page.
func (p *consolePage) metrics() map[string]float64 {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, performance.Enable, performance.EnableParams{}); err != nil {
		p.t.Fatal(err)
	}
	result, err := chromedp.Call(p.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		p.t.Fatal(err)
	}
	all := map[string]float64{}
	for _, m := range result.Metrics {
		all[m.Name] = m.Value
	}
	return all
}
