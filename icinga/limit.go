package icinga

import (
	"sync"
	"time"
)

// A rate allows perSecond events a second, and burst at once.
type rate struct {
	perSecond, burst float64

	mu   sync.Mutex
	left float64
	at   time.Time
}

func (r *rate) take(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() {
		r.left = r.burst
	} else {
		r.left = min(r.burst, r.left+now.Sub(r.at).Seconds()*r.perSecond)
	}
	r.at = now
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}

// An alarm is due at most once a minute.
type alarm struct {
	mu   sync.Mutex
	last time.Time
}

func (a *alarm) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !a.last.IsZero() && now.Sub(a.last) < time.Minute {
		return false
	}
	a.last = now
	return true
}
