package nagios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// BenchmarkDrain hands results for 4,000 services to a real Nagios, which logs
// none of them, in batches of the given size.
func BenchmarkDrain(b *testing.B) {
	for mode, change := range sinkModes {
		for _, size := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) {
				n := realtest.StartNagios(b, realtest.NagiosOptions{Hosts: 100, Services: 40, Config: []string{"log_passive_checks=0"}})
				s := sinkFor(b, n, change)
				settle(b, s)
				var seq uint64
				batch := make([]checks.Result, size)
				for b.Loop() {
					for i := range batch {
						seq++
						batch[i] = checks.Result{
							Object:   checks.Object{Host: fmt.Sprintf("h%04d", seq%4000/40), Service: fmt.Sprintf("s%03d", seq%40)},
							State:    checks.State(seq / 4000 % 3),
							Reason:   "DISK OK - free space: / 3326 MB (56% inode=97%)",
							Perfdata: "/=2643MB;5948;5958;0;5968",
							Executed: time.Unix(1795294573, 0),
							Seq:      seq,
						}
					}
					for _, err := range s.Submit(context.Background(), batch) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "results/s")
			})
		}
	}
}
