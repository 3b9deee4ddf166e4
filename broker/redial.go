package broker

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// A redial connects to a remote again and again: it says which address is next,
// and waits before it. Only one goroutine may use it.
type redial struct {
	remote     Remote
	roundRobin bool          // all addresses are alike; else the first is preferred
	least      time.Duration // the pause after a first failure
	most       time.Duration // the longest pause; a connection that lasted as long was good

	next     int       // of remote.Address
	failures int       // since the last good connection
	opened   time.Time // the latest connection; zero for a failure
	begun    bool
}

// dial connects to the next address, once the pause before it is over; the
// first call does not wait. It tries one address, which it returns with the
// connection; on an error the caller calls again. Addresses are tried one after
// the other, with a pause when all of them have failed. A connection that ends
// before it was good counts as a failure; after one that was good the first
// address is next, or with roundRobin the one that follows. It returns ctx's
// error when ctx ends.
func (r *redial) dial(ctx context.Context) (nc net.Conn, address string, err error) {
	if r.begun {
		if err := r.wait(ctx); err != nil {
			return nil, "", err
		}
	}
	r.begun, r.opened = true, time.Time{}
	address = r.remote.Address[r.next]
	nc, err = r.remote.dial(ctx, address)
	if err == nil {
		r.opened = time.Now()
	} else if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nc, address, err
}

// restart has the next call try the first address, without a pause.
func (r *redial) restart() { r.next, r.begun = 0, false }

// wait moves on to the next address and waits as long as is due.
func (r *redial) wait(ctx context.Context) error {
	good := !r.opened.IsZero() && time.Since(r.opened) >= r.most
	r.next = (r.next + 1) % len(r.remote.Address)
	if good {
		r.failures = 0
		if !r.roundRobin {
			r.next = 0
		}
	} else {
		r.failures++
		if r.failures%len(r.remote.Address) != 0 {
			return ctx.Err()
		}
	}
	pause := time.NewTimer(jitter(r.least, r.most, r.failures/len(r.remote.Address)))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter is a random pause before another try, so that many who lost the same
// peer do not come back at once: from least to twice that, growing with each
// failure up to most.
func jitter(least, most time.Duration, failures int) time.Duration {
	upper := min(2*least, most)
	for ; failures > 1 && upper < most; failures-- {
		upper = min(2*upper, most)
	}
	return least + rand.N(upper-least+1)
}
