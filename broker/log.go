package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// libraryLog passes on what the library logs as debug messages: it warns about
// every malformed packet of a stranger, with all its bytes.
type libraryLog struct{ slog.Handler }

func (h libraryLog) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h libraryLog) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return h.Handler.Handle(ctx, r)
}

func (h libraryLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return libraryLog{h.Handler.WithAttrs(attrs)}
}

func (h libraryLog) WithGroup(name string) slog.Handler {
	return libraryLog{h.Handler.WithGroup(name)}
}

// seldom says when something that clients can cause may be logged: once a
// minute at most, and then how often it happened since the last time.
type seldom struct {
	mu    sync.Mutex
	last  time.Time
	times int
}

func (s *seldom) now() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times++
	if !s.last.IsZero() && time.Since(s.last) < time.Minute {
		return false
	}
	s.last = time.Now()
	return true
}

// count is how often it happened since the last count.
func (s *seldom) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.times
	s.times = 0
	return n
}
