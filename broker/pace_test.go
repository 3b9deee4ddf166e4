package broker

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A hundred publishers wait together, for a subscriber that has too much to
// acknowledge for a second.
func TestManyPublishersWaitForASubscriberThatReads(t *testing.T) {
	tests := map[string]struct {
		acks int // a millisecond, until reading ends
		want time.Duration
	}{
		"deaf":                      {0, mostCredit},
		"slow":                      {10, 2 * mostCredit}, // it earns half of what it is waited for
		"keeps up":                  {20, time.Second},
		"reads more than is waited": {50, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Broker{}
				c := &conn{session: newSession(b, "sub"), credit: mostCredit}
				c.moved.L = &c.mu
				c.session.out.memory = outboxBytes
				begin := time.Now()
				var publishing sync.WaitGroup
				for range 100 {
					publishing.Go(func() { b.pace(c) })
				}
				publishing.Go(func() {
					for time.Since(begin) < time.Second {
						for range tt.acks {
							c.nudge()
						}
						time.Sleep(time.Millisecond)
					}
					c.session.out.mu.Lock()
					c.session.out.memory = 0
					c.session.out.mu.Unlock()
				})
				waited := make(chan time.Duration, 1)
				publishing.Go(func() {
					b.pace(c)
					waited <- time.Since(begin)
				})
				publishing.Wait()
				if got := <-waited; got < tt.want-5*pacePause || got > tt.want+5*pacePause {
					t.Errorf("publishers waited %v, want %v", got, tt.want)
				}
			})
		})
	}
}
