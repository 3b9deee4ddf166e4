package bus

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestAFloodOfRefusalsIsOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		b := &Bus{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
		var running sync.WaitGroup
		running.Go(func() { _ = b.summarise(t.Context()) })
		time.Sleep(500 * time.Millisecond) // not when a minute ends
		for range 150 {                    // two and a half minutes
			b.counters.refused[Invalid].Add(10)
			b.counters.refused[Stale].Add(1)
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		text := log.String()
		if n := strings.Count(text, "\n"); n != 3 || strings.Count(text, "invalid=600 stale=60") < 1 {
			t.Errorf("%d lines:\n%s", n, text)
		}
		t.Cleanup(running.Wait)
	})
}

func TestTopicsThatCannotBeAreOneLineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		b := &Bus{Options: Options{
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
			Publish: func(string, []byte, bool) error { return errors.New("no topic") },
		}}
		var running sync.WaitGroup
		running.Go(func() { _ = b.summarise(t.Context()) })
		for range 1000 {
			b.publish(strings.Repeat("x", 70_000), 1, false)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "count=1000") {
			t.Errorf("logged:\n%.1000s", text)
		}
		t.Cleanup(running.Wait)
	})
}
