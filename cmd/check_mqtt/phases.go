package main

import (
	"sync"
	"time"
)

// A phase is one step of a check: lookup, tcp, tls, websocket, connect,
// subscribe, publish, echo, message, will.
type phase struct {
	name  string
	began time.Time
	took  time.Duration // 0 while it runs
}

// Phases times the steps of a check and knows the one that runs. It may be
// asked while the check goes on elsewhere.
type phases struct {
	mu   sync.Mutex
	list []phase
}

// enter ends the phase that runs and begins another.
func (p *phases) enter(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.finish(now)
	p.list = append(p.list, phase{name: name, began: now})
}

// end ends the phase that runs.
func (p *phases) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(time.Now())
}

func (p *phases) finish(now time.Time) {
	if n := len(p.list); n > 0 && p.list[n-1].took == 0 {
		p.list[n-1].took = max(now.Sub(p.list[n-1].began), 1)
	}
}

// current is the name of the phase that runs, or ran last.
func (p *phases) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return "start"
	}
	return p.list[len(p.list)-1].name
}

// finished is every phase that has ended, in order.
func (p *phases) finished() []phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	var done []phase
	for _, ph := range p.list {
		if ph.took > 0 {
			done = append(done, ph)
		}
	}
	return done
}
