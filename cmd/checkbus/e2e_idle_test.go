package main

import (
	"fmt"
	"testing"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
)

// idleBound is how much memory an idle connection may take, in bytes. The race
// detector takes several times as much.
func idleBound() int64 {
	if underRace() {
		return 256 << 10
	}
	return 48 << 10
}

func TestFiveThousandIdleConnections(t *testing.T) {
	t.Parallel()
	const n = 5000
	g := startGateway(t, "")
	before := g.memory()
	idle := make([]*mqtttest.Client, n)
	for i := range idle {
		idle[i] = mqtttest.Dial(t, g.addr, mqtttest.Options{ID: fmt.Sprint("idle", i), V5: i%2 == 0})
	}
	each := (g.memory() - before) / n
	t.Logf("%d bytes for each connection", each)
	if each > idleBound() {
		t.Errorf("a connection takes %d bytes, more than %d", each, idleBound())
	}

	neighbours := startStream(t, g.addr, numberedObjects(5, 19), make(map[checks.Object]int))
	neighbours.more(2000)
	neighbours.finish()
	if neighbours.resent > 0 {
		t.Error("a publisher beside them lost its connection")
	}
	for _, c := range idle {
		c.Ping()
	}
}
