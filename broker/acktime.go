package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var ackDesc = prometheus.NewDesc("checkbus_publish_ack_seconds",
	"From the arrival of a result's message, QoS 1 or 2, to its acknowledgement.", nil, nil)

// ackBounds are the upper bounds of the histogram's buckets, in seconds.
var ackBounds = []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}

// An ackTime is how long publishers of results waited for the acknowledgement,
// which waits for the disk, as a histogram. It is counted in batches, since a
// prometheus.Histogram costs a noticeable part of a result's way.
type ackTime struct {
	mu     sync.Mutex
	counts [15]uint64 // by ackBounds, and beyond them
	sum    time.Duration
}

// observe notes how long the publishers of a batch waited.
func (a *ackTime) observe(batch []task) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range batch {
		v := &batch[i]
		if v.in == nil || v.in.packet.FixedHeader.Qos == 0 || v.in.session == nil {
			continue
		}
		took := now.Sub(v.in.arrived)
		at, _ := slices.BinarySearch(ackBounds, took.Seconds())
		a.counts[at]++
		a.sum += took
	}
}

// metric is the histogram as it is now.
func (a *ackTime) metric() prometheus.Metric {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all uint64
	buckets := make(map[float64]uint64, len(ackBounds))
	for i, bound := range ackBounds {
		all += a.counts[i]
		buckets[bound] = all
	}
	all += a.counts[len(ackBounds)]
	return prometheus.MustNewConstHistogram(ackDesc, all, a.sum.Seconds(), buckets)
}
