package broker

import (
	"fmt"
	"testing"

	"checkbus/internal/mqtttest"
)

// BenchmarkPublish measures QoS 1 messages of 100 bytes from publish to
// acknowledgement, 100 of them under way, by who subscribes to them, and whether
// sessions are on disk.
func BenchmarkPublish(b *testing.B) {
	for _, where := range []string{"memory", "disk"} {
		for _, who := range []string{"nobody", "clean", "persistent", "away"} {
			b.Run(fmt.Sprintf("%s/%s", where, who), func(b *testing.B) {
				g := start(b, func(c *Config) {
					if where == "memory" {
						c.Dir = ""
					}
				})
				g.subscribeAs(b, who)
				c := g.dial(mqtttest.Options{ID: "p"})
				message := mqtttest.Message{Topic: "bench", Payload: string(make([]byte, 100)), QoS: 1, ID: 1}
				b.ResetTimer()
				exchange(b, c, message, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			})
		}
	}
}

// subscribeAs adds a subscriber that reads and acknowledges until the end, or is
// away.
func (g *gateway) subscribeAs(b *testing.B, who string) {
	o := persistent("sub", false)
	switch who {
	case "nobody":
		return
	case "clean":
		o.Persistent = false
	}
	sub := g.dial(o)
	sub.Subscribe("bench", 1)
	if who == "away" {
		sub.Disconnect()
		g.allAway()
		return
	}
	go func() {
		for {
			p, err := sub.Read()
			if err != nil {
				return
			}
			if _, err := sub.Write([]byte{mqtttest.PUBACK << 4, 2, byte(p.ID() >> 8), byte(p.ID())}); err != nil {
				return
			}
		}
	}()
}
