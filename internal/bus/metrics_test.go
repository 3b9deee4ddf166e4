package bus

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/checks"
)

// scrape returns the values of all metrics of b, histograms as their count, by
// name and labels: checkbus_core_up{core="main"}.
func (b *bench) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(b.Bus); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// metricOf says which metric a topic below $SYS/gateway is for Prometheus.
func metricOf(figure string) string {
	if cause, ok := strings.CutPrefix(figure, "results/rejected/"); ok {
		return fmt.Sprintf("checkbus_results_rejected_total{cause=%q}", cause)
	}
	if state, ok := strings.CutPrefix(figure, "states/"); ok {
		return fmt.Sprintf("checkbus_states{state=%q}", state)
	}
	return map[string]string{
		"events/published":    `checkbus_events_total`,
		"results/received":    `checkbus_results_received_total`,
		"results/accepted":    `checkbus_results_total{outcome="accepted"}`,
		"results/duplicate":   `checkbus_results_total{outcome="duplicate"}`,
		"results/stale":       `checkbus_results_rejected_total{cause="stale"}`,
		"results/clamped":     `checkbus_results_clamped_total`,
		"spool/length":        `checkbus_spool_records`,
		"spool/bytes":         `checkbus_spool_bytes`,
		"spool/age":           `checkbus_spool_oldest_seconds`,
		"core/main/up":        `checkbus_core_up{core="main"}`,
		"core/main/follows":   `checkbus_core_follows{core="main"}`,
		"core/main/submitted": `checkbus_core_results_total{core="main",outcome="submitted"}`,
		"core/main/rejected":  `checkbus_core_results_total{core="main",outcome="rejected"}`,
		"core/main/retried":   `checkbus_core_retries_total{core="main"}`,
		"core/main/lag":       `checkbus_core_lag_seconds{core="main"}`,
	}[figure]
}

func TestEveryFigureIsAMetric(t *testing.T) {
	c := newCore()
	c.verdict = func(r checks.Result) error {
		if r.Host == "refused" {
			return fmt.Errorf("%w: no", checks.ErrRejected)
		}
		return nil
	}
	f := newFeed()
	b := start(t, t.TempDir(), Core{Name: "main", Sink: c, Feed: f})
	f.sawAll(is(checks.OK, 1, on("a")), is(checks.Critical, 1, on("b")))
	_ = b.offer(message("nagios/web1", `[{"exit_code":0,"reason":"","time":2000},{"exit_code":0,"reason":"","time":1000},{"reason":""}]`))
	_ = b.offer(message("nagios/refused", `{"exit_code":0,"reason":""}`))
	b.Denied(message("nagios/other", `{}`))
	b.says(t, map[string]string{"core/main/submitted": "1", "core/main/rejected": "1", "spool/length": "0", "states/count": "2", "events/published": "1"})
	values := b.scrape(t)
	for _, f := range figures(b.Stats(), time.Now()) {
		if f.name == "results/rejected" || f.name == "states/count" {
			continue // sums
		}
		got, ok := values[metricOf(f.name)]
		if !ok || strconv.FormatFloat(got, 'f', 0, 64) != strconv.FormatUint(f.value, 10) {
			t.Errorf("%s is %d, and its metric %q %v", f.name, f.value, metricOf(f.name), got)
		}
	}
	for name, want := range map[string]float64{
		`checkbus_results_total{outcome="rejected"}`: 3,
		`checkbus_spool_up`:                          1,
		`checkbus_spool_limit_bytes`:                 1 << 20,
	} {
		if values[name] != want {
			t.Errorf("%s = %v, want %v", name, values[name], want)
		}
	}
	if values[`checkbus_core_submit_seconds{core="main"}`] < 1 {
		t.Error("submitting was not measured")
	}
}
