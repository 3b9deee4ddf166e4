package nagios

import (
	"context"
	"testing"
)

func TestUpIsACoreThatReadsAndTakes(t *testing.T) {
	core := newFakeCore(t)
	s := core.newSink(nil)
	if s.Up() {
		t.Error("up without a command file")
	}
	core.start()
	if !s.Up() {
		t.Error("down with a reader, before anything was handed over")
	}
	core.stop()
	if s.Up() {
		t.Error("up without a reader")
	}
	core.process = func(string) bool { return false }
	core.start()
	ctx, cancel := context.WithCancel(t.Context())
	handed := make(chan []error, 1)
	go func() { handed <- s.Submit(ctx, numbered(1, 1)) }()
	waitFor(t, "a core that takes nothing to count as down", func() bool { return !s.Up() })
	cancel()
	<-handed
}
