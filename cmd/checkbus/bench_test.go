package main

import (
	"fmt"
	"testing"

	"checkbus/internal/mqtttest"
)

// BenchmarkScrape asks for /metrics while 1,000 clients are connected.
func BenchmarkScrape(b *testing.B) {
	g := startGateway(b, "")
	for i := range 1000 {
		mqtttest.Dial(b, g.addr, mqtttest.Options{ID: fmt.Sprint("client", i)}).Subscribe("checkbus/#", 1)
	}
	g.get("/metrics")
	for b.Loop() {
		if status, _ := g.get("/metrics"); status != 200 {
			b.Fatalf("status %d", status)
		}
	}
}
