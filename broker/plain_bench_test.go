package broker

import (
	"fmt"
	"testing"

	"checkbus/internal/loadgen"
)

// BenchmarkPlain measures messages that are no results on their way to one
// subscriber, or to none.
func BenchmarkPlain(b *testing.B) {
	for _, filter := range []string{"", "#"} {
		for _, qos := range []byte{0, 1} {
			for _, publishers := range []int{1, 10, 100} {
				b.Run(fmt.Sprintf("filter=%s/qos=%d/publishers=%d", filter, qos, publishers), func(b *testing.B) {
					g := start(b)
					load := loadgen.Load{
						Addr: g.addr, QoS: qos, Root: "plain", Subscribe: filter,
						Connections: publishers, Window: 20, Hosts: 10, Services: 10, Count: max(b.N, publishers),
					}
					b.ResetTimer()
					report, err := load.Run(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if filter != "" && report.Received != report.Sent {
						b.Errorf("%d of %d arrived", report.Received, report.Sent)
					}
				})
			}
		}
	}
}
