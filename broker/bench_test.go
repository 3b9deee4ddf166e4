package broker

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
)

// BenchmarkAck measures QoS 1 results from publish to acknowledgement, each
// publisher with 100 of them under way, with verdicts that come at once and
// with those of a group commit that takes 2 ms.
func BenchmarkAck(b *testing.B) {
	for _, commit := range []time.Duration{0, 2 * time.Millisecond} {
		for _, publishers := range []int{1, 100} {
			b.Run(fmt.Sprintf("commit=%v/publishers=%d", commit, publishers), func(b *testing.B) {
				g := start(b)
				log := newCommitLog(commit)
				defer log.stop()
				g.Broker.accept = log.accept
				var all sync.WaitGroup
				clients := make([]*mqtttest.Client, publishers)
				for i := range clients {
					clients[i] = g.dial(mqtttest.Options{ID: fmt.Sprint(i)})
				}
				message := result(1, 1, string(make([]byte, 100)))
				b.ResetTimer()
				for _, c := range clients {
					all.Go(func() { exchange(b, c, message, (b.N+publishers-1)/publishers) })
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			})
		}
	}
}

// exchange publishes a message n times and reads the acknowledgements.
func exchange(b *testing.B, c *mqtttest.Client, m mqtttest.Message, n int) {
	const window = 100
	message := m.Encode(false)
	batch := make([]byte, 0, window*len(message))
	acks := make([]byte, 4*window)
	for n > 0 {
		k := min(n, window)
		n -= k
		batch = batch[:0]
		for range k {
			batch = append(batch, message...)
		}
		if _, err := c.Conn.Write(batch); err != nil {
			b.Error(err)
			return
		}
		if _, err := io.ReadFull(c.Conn, acks[:4*k]); err != nil {
			b.Error(err)
			return
		}
	}
}

// A commitLog gives its verdicts in groups, as a spool does.
type commitLog struct {
	delay   time.Duration
	mu      sync.Mutex
	arrived sync.Cond
	waiting []func(error)
	stopped bool
	ended   sync.WaitGroup
}

func newCommitLog(delay time.Duration) *commitLog {
	l := &commitLog{delay: delay}
	l.arrived.L = &l.mu
	l.ended.Go(l.run)
	return l
}

func (l *commitLog) accept(_ Message, done func(error)) {
	if l.delay == 0 {
		done(nil)
		return
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.arrived.Signal()
}

func (l *commitLog) run() {
	for {
		l.mu.Lock()
		for len(l.waiting) == 0 && !l.stopped {
			l.arrived.Wait()
		}
		batch := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		time.Sleep(l.delay)
		for _, done := range batch {
			done(nil)
		}
	}
}

func (l *commitLog) stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.arrived.Signal()
	l.ended.Wait()
}
