package broker

import (
	"math"
	"testing"
	"time"
)

func TestLoadsAreMovingAveragesAMinute(t *testing.T) {
	tests := map[string]struct {
		counts []int64 // every 10 s, from the first update on
		want   [3]float64
	}{
		"nothing":                 {[]int64{0, 0, 0}, [3]float64{}},
		"before the first update": {[]int64{1000, 1000}, [3]float64{}},
		"10 in the first 10 s":    {[]int64{0, 10}, [3]float64{9.211, 1.967, 0.663}},
		"and 50 s of silence":     {[]int64{0, 10, 10, 10, 10, 10, 10}, [3]float64{4.003, 1.665, 0.627}},
		"60 a minute for a minute": {[]int64{5, 15, 25, 35, 45, 55, 65},
			[3]float64{60 * (1 - math.Exp(-1)), 60 * (1 - math.Exp(-1./5)), 60 * (1 - math.Exp(-1./15))}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var l load
			for i, n := range tt.counts {
				since := 10 * time.Second
				if i == 0 {
					since = 0
				}
				l.update(n, since)
			}
			for i, want := range tt.want {
				if math.Abs(l.average[i]-want) > 0.001 {
					t.Errorf("%s: %.3f, want %.3f", periods[i].name, l.average[i], want)
				}
			}
		})
	}
}
