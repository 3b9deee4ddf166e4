package loadgen

import (
	"math/bits"
	"time"
)

// A Histogram counts durations, to within 1/32 of each. The zero Histogram is
// empty.
type Histogram struct {
	counts [64 * steps]int64
	n      int64
	max    time.Duration
}

const (
	stepBits = 5
	steps    = 1 << stepBits // of equal width between one power of two and the next
)

// Add counts d; a negative one as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.max = max(h.max, d)
}

// Merge adds what other counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.n += other.n
	h.max = max(h.max, other.max)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() int64 { return h.n }

// Max returns the longest one.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the fraction q (0 to 1) of all do not
// exceed; 0 where there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(int64(q*float64(h.n)+0.5), 1)
	for i, n := range h.counts {
		if rank -= n; rank <= 0 && h.n > 0 {
			return min(upper(i), h.max)
		}
	}
	return 0
}

// bucket numbers below steps are durations in nanoseconds; from there on each
// power of two has steps buckets.
func bucket(v uint64) int {
	if v < steps {
		return int(v)
	}
	shift := bits.Len64(v) - stepBits - 1
	return (shift+1)*steps + int(v>>shift) - steps
}

// upper returns the longest duration of bucket i.
func upper(i int) time.Duration {
	if i < steps {
		return time.Duration(i)
	}
	shift := i/steps - 1
	return time.Duration((uint64(i%steps+steps)+1)<<shift - 1)
}
