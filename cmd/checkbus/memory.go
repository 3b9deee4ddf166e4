package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// While the Go heap is below smallHeap bytes it is collected seldom, which
// saves up to a seventh of the CPU. A larger one is collected as often as Go
// does by itself: when it is twice what is live.
const (
	smallHeap     = 104 << 20
	seldomPercent = 300
)

// collectSeldom steers the garbage collector until ctx ends, unless GOGC or
// GOMEMLIMIT in the environment do.
func collectSeldom(ctx context.Context) error {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	defer debug.SetGCPercent(debug.SetGCPercent(seldomPercent))
	defer debug.SetMemoryLimit(math.MaxInt64)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		metrics.Read(live)
		debug.SetMemoryLimit(max(smallHeap, 2*int64(live[0].Value.Uint64())))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
