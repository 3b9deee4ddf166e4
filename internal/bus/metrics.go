package bus

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/checks"
)

// Metrics are named by the conventions of Prometheus
// (https://prometheus.io/docs/practices/naming/). No host or service is ever a
// label: their number has no bound.
var (
	receivedDesc = desc("results_received_total", "Results in all messages taken from clients, good and bad.")
	resultsDesc  = desc("results_total", "Results answered: accepted, refused, or a duplicate that was acknowledged and not taken again.", "outcome")
	rejectedDesc = desc("results_rejected_total", "Results refused, by cause; core is one refused by a core after it was accepted.", "cause")
	clampedDesc  = desc("results_clamped_total", "Results whose time was over a minute in the future, taken as now.")

	eventsDesc = desc("events_total", "Events published: changes of states and what else is one.")
	statesDesc = desc("states", "Hosts and services with a published state.", "state")

	spoolRecordsDesc = desc("spool_records", "Results that some core has not taken.")
	spoolBytesDesc   = desc("spool_bytes", "Bytes of the results that some core has not taken.")
	spoolLimitDesc   = desc("spool_limit_bytes", "Bytes that the spool may hold, spool.max_size.")
	spoolOldestDesc  = desc("spool_oldest_seconds", "Time since the oldest result that waits arrived; 0 when none waits.")
	spoolUpDesc      = desc("spool_up", "Whether results can be stored.")

	coreUpDesc      = desc("core_up", "Whether the core can be reached and takes results.", "core")
	coreFollowsDesc = desc("core_follows", "Whether the core's states can be read.", "core")
	coreResultsDesc = desc("core_results_total", "Results that the core has taken (submitted), or never will (rejected).", "core", "outcome")
	coreRetriesDesc = desc("core_retries_total", "Results offered to the core again.", "core")
	coreWaitingDesc = desc("core_waiting_records", "Results that the core has not taken.", "core")
	coreLagDesc     = desc("core_lag_seconds", "Time since the arrival of the oldest result that the core has not taken; 0 when none waits.", "core")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("checkbus_"+name, help, labels, nil)
}

// newSubmitTime measures how long each core takes for a batch.
func newSubmitTime() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "checkbus_core_submit_seconds",
		Help:    "How long the core took to answer for a batch of up to 1000 results.",
		Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
	}, []string{"core"})
}

// Describe and Collect make a Bus a prometheus.Collector.
func (b *Bus) Describe(to chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(b, to)
}

// Collect costs one call of Stats.
func (b *Bus) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st, now := b.Stats(), time.Now()
	counter(receivedDesc, st.Received)
	counter(resultsDesc, st.Accepted, "accepted")
	counter(resultsDesc, st.Duplicate, "duplicate")
	counter(resultsDesc, st.RejectedInAll()-st.Rejected[ByCore], "rejected")
	for c, n := range st.Rejected {
		counter(rejectedDesc, n, Cause(c).String())
	}
	counter(clampedDesc, st.Clamped)
	counter(eventsDesc, st.Events)
	for state, n := range st.States {
		gauge(statesDesc, float64(n), strings.ToLower(checks.State(state).String()))
	}

	gauge(spoolRecordsDesc, float64(st.Spool.Records))
	gauge(spoolBytesDesc, float64(st.Spool.Bytes))
	gauge(spoolLimitDesc, float64(st.SpoolLimit))
	gauge(spoolOldestDesc, waited(st.Spool.Oldest, now))
	gauge(spoolUpDesc, flag(st.SpoolErr == nil))
	for _, core := range st.Cores {
		gauge(coreUpDesc, flag(core.Up), core.Name)
		if core.Feed {
			gauge(coreFollowsDesc, flag(core.Follows), core.Name)
		}
		counter(coreResultsDesc, core.Submitted, core.Name, "submitted")
		counter(coreResultsDesc, core.Rejected, core.Name, "rejected")
		counter(coreRetriesDesc, core.Retried, core.Name)
		gauge(coreWaitingDesc, float64(core.Waiting.Records), core.Name)
		gauge(coreLagDesc, waited(core.Waiting.Oldest, now), core.Name)
	}
	b.submitTime.Collect(to)
}

// waited is how long ago t was, in seconds; 0 when t is zero.
func waited(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Seconds())
}

func flag(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
