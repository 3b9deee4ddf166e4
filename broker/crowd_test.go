package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

func TestDeafSubscribersTogetherAreBoundedAndTheWorstGoFirst(t *testing.T) {
	g := start(t)
	var deaf []*conn
	for i := range 40 {
		g.dial(mqtttest.Options{ID: fmt.Sprint("deaf", i)}).Subscribe("checkbus/event/#", 0)
		cl, _ := g.server.Clients.Get(fmt.Sprint("deaf", i))
		deaf = append(deaf, cl.Net.Conn.(*conn))
	}
	sub := g.dial(mqtttest.Options{ID: "sub"})
	sub.Subscribe("checkbus/status", 0)
	message := strings.Repeat("x", 500_000)
	most := int64(0)
	closed := func() (n int) {
		for _, c := range deaf {
			if c.hasEnded() {
				n++
			}
		}
		return n
	}
	for closed() == 0 {
		g.tell("checkbus/event/web1", message)
		most = max(most, g.count.waiting.Load())
	}
	if limit := int64(crowdedOut + 2*len(message)); most > limit {
		t.Errorf("%d bytes waited to be written, want at most %d", most, limit)
	}
	g.tell("checkbus/status", "online")
	if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "online" {
		t.Errorf("got %v", p)
	}
	if n := g.Stats().SlowConsumers; n == 0 || n == int64(len(deaf)) {
		t.Errorf("%d of %d deaf subscribers were closed", n, len(deaf))
	}
	g.stop()
	if n := g.count.waiting.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}
