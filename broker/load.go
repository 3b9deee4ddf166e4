package broker

import (
	"math"
	"time"
)

// periods are those over which loads are averaged.
var periods = [...]struct {
	name   string
	length time.Duration
}{
	{"1min", time.Minute},
	{"5min", 5 * time.Minute},
	{"15min", 15 * time.Minute},
}

// A load is how often something happens a minute, as moving averages that
// Mosquitto 2 keeps in the same way (calc_load in its src/sys_tree.c).
type load struct {
	count   int64 // at the last update
	average [len(periods)]float64
}

// update takes the count of what has happened until now, since after the last
// update. The first call, with 0, is where averages begin.
func (l *load) update(count int64, since time.Duration) {
	happened := float64(count - l.count)
	l.count = count
	if since <= 0 {
		return
	}
	rate := happened / since.Minutes()
	for i, p := range periods {
		decay := math.Exp(-since.Seconds() / p.length.Seconds())
		l.average[i] = rate + decay*(l.average[i]-rate)
	}
}
