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

// What clients can cause is logged now and then only: of each kind a line, and
// what comes within a minute after it with the next.
const (
	acceptFailed = iota
	handshakeFailed
	proxyRefused
	connectionRefused
	addressRefused
	connectLate
	loginRefused
	packetRefused
	partialRefused
	keepRefused
	tooManyUnacknowledged
	topicRefused
	retainRefused
	rateExceeded
	clientSlow
	queueFull
	sessionsFull
	pathEnded
	readFailed
	panicked
	kindsOfLines
)

// lines are those of each kind.
type lines [kindsOfLines]seldom

// flushLines logs what is not logged yet of kinds whose last line is a minute old,
// or all.
func (b *Broker) flushLines(all bool) {
	for i := range b.seldom {
		b.seldom[i].flush(all)
	}
	for _, br := range b.bridges {
		br.refused.flush(all)
	}
}

// A seldom logs something that may happen often: the first time at once, and then
// once a minute at most.
type seldom struct {
	mu    sync.Mutex
	last  time.Time       // of the last line; zero is none
	times int             // since then
	line  func(count int) // logs the latest time; nil when there was none since
}

// log has line log what happened just now, at once or later, and how often it
// happened since the line before. It is not called where more of the same comes
// meanwhile.
func (s *seldom) log(line func(count int)) {
	s.mu.Lock()
	s.times++
	s.line = line
	s.mu.Unlock()
	s.flush(false)
}

// flush logs what is not logged yet, if it is due or must.
func (s *seldom) flush(must bool) {
	s.mu.Lock()
	line, count := s.line, s.times
	due := line != nil && (must || s.last.IsZero() || time.Since(s.last) >= time.Minute)
	if due {
		s.last, s.times, s.line = time.Now(), 0, nil
	}
	s.mu.Unlock()
	if due {
		line(count)
	}
}
