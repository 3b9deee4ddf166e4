package loadgen

import (
	"testing"
	"time"
)

func TestQuantilesAreWithinOneThirtySecond(t *testing.T) {
	var h, other Histogram
	for us := 1; us <= 100_000; us++ {
		part := &h
		if us%3 == 0 {
			part = &other
		}
		part.Add(time.Duration(us) * time.Microsecond)
	}
	h.Merge(&other)
	tests := map[string]struct {
		q    float64
		want time.Duration
	}{
		"lowest":  {0, time.Microsecond},
		"median":  {0.5, 50 * time.Millisecond},
		"p99":     {0.99, 99 * time.Millisecond},
		"highest": {1, 100 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := h.Quantile(tt.q)
			if got < tt.want || got > tt.want+tt.want/steps {
				t.Errorf("Quantile(%v) = %v, want %v", tt.q, got, tt.want)
			}
		})
	}
	if h.Count() != 100_000 || h.Max() != 100*time.Millisecond {
		t.Errorf("Count, Max = %d, %v", h.Count(), h.Max())
	}
}

func TestEmptyHistogramHasNoQuantile(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("Quantile = %v", got)
	}
	h.Add(-1)
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("Quantile after a negative duration = %v", got)
	}
}

func TestEveryDurationHasItsBucket(t *testing.T) {
	for d := time.Duration(1); d > 0; d = d*33/32 + 1 {
		if i := bucket(uint64(d)); upper(i) < d || i > 0 && upper(i-1) >= d {
			t.Errorf("%d falls into bucket %d, which ends at %d", d, i, upper(i))
		}
	}
}
