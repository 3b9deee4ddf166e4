package main

import (
	"errors"
	"sync"
	"time"

	"checkbus/broker"
	"checkbus/internal/bus"
	"checkbus/internal/spool"
	"checkbus/internal/web"
)

const (
	// storeTimeout is how long the spool may take to store nothing.
	storeTimeout = 2 * time.Second
	// freshness is how long one answer is good for all who ask.
	freshness = time.Second
)

// A readiness tells whether the gateway can do its work. It looks once a second
// at most, however many ask.
type readiness struct {
	queue   *spool.Queue
	broker  *broker.Broker
	bus     *bus.Bus
	largest int64 // bytes of a message, results.max_payload

	mu     sync.Mutex
	seen   time.Time
	checks []web.Check
}

// Checks takes at most storeTimeout. What it returns is not to be changed.
func (r *readiness) Checks() []web.Check {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.seen) < freshness {
		return r.checks
	}
	r.checks = []web.Check{check("spool", r.stores()), check("listeners", r.broker.Ready())}
	for _, core := range r.bus.Stats().Cores {
		var err error
		if !core.Up {
			err = errors.New("cannot be reached, or takes no results; they wait in the spool")
		}
		if core.Up && core.Feed && !core.Follows {
			err = errors.New("its states cannot be read, the log says why")
		}
		r.checks = append(r.checks, check("core "+core.Name, err))
	}
	for _, b := range r.broker.Bridges() {
		r.checks = append(r.checks, web.Check{Name: "bridge " + b.Name, OK: b.Up, Optional: true, Reason: b.Reason})
	}
	if outside := r.broker.Stats().Subscribe; outside != nil {
		r.checks = append(r.checks, web.Check{Name: "outside broker", OK: outside.Up, Optional: true, Reason: outside.Reason})
	}
	r.seen = time.Now()
	return r.checks
}

func check(name string, err error) web.Check {
	if err != nil {
		return web.Check{Name: name, Reason: err.Error()}
	}
	return web.Check{Name: name, OK: true}
}

// stores tells why results cannot be stored.
func (r *readiness) stores() error {
	answered := make(chan error, 1)
	r.queue.Append(nil, func(err error) { answered <- err })
	select {
	case err := <-answered:
		if err != nil {
			return err
		}
	case <-time.After(storeTimeout):
		return errors.New("the disk does not answer")
	}
	if st := r.queue.Stats(); st.Bytes+min(r.largest, st.MaxBytes/8) > st.MaxBytes {
		return errors.New("full: there is hardly room for a message; see spool.max_size")
	}
	return nil
}
