package broker

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"checkbus/internal/mqtttest"
)

// A client that comes and goes reads from the disk what is just being dropped
// there. Each message is one or the other, and another session does not lose it.
func TestWhatIsDroppedIsNotDeliveredAtTheSameTime(t *testing.T) {
	const rounds, each = 40, 30
	g := start(t, func(c *Config) { c.Queue.Messages = 1000 })
	g.leave("reads", "a")
	g.leave("away", "a")
	pub := g.dial(mqtttest.Options{ID: "pub"})
	enough := make(chan struct{})
	var publishing sync.WaitGroup
	last := 0
	publishing.Go(func() {
		for !isClosed(enough) {
			var batch []string
			for range 100 {
				last++
				batch = append(batch, fmt.Sprint(last))
			}
			send(pub, "a", 1, batch...)
		}
	})
	// take reads messages, in their order, up to n of them or the last.
	take := func(id string, n, last int) {
		o := persistent(id, true)
		o.Properties = append(o.Properties, 0x21, 0, 20) // Receive Maximum: what is in flight is not dropped
		sub := g.dial(o)
		defer sub.Close()
		before, got := 0, 0
		for ; n > 0 && before != last; n-- {
			p := sub.Next(mqtttest.PUBLISH)
			if _, err := fmt.Sscan(p.Payload(), &got); err != nil || got <= before || id == "away" && before > 0 && got != before+1 {
				t.Fatalf("%s got %v after %d", id, p, before)
			}
			before = got
			sub.Ack(mqtttest.PUBACK, p.ID())
		}
		sub.Disconnect()
	}
	for range rounds {
		take("reads", each, -1)
	}
	close(enough)
	publishing.Wait()
	for _, id := range []string{"reads", "away"} {
		take(id, 1_000_000, last)
		eventually(t, "nothing waits for "+id, func() bool { return g.queuedFor(id) == 0 })
	}
	eventually(t, "nothing is stored", func() bool { return g.store.size() == 0 })
	if strings.Contains(g.log.String(), "cannot read") {
		t.Error(g.log)
	}
}
