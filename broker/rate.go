package broker

import "time"

// rateBurst is how far ahead of its rate a client may be: a second's worth of
// messages may come at once.
const rateBurst = time.Second

// mostRate bounds max_rate, so that a message has a share of a second.
const mostRate = 1_000_000

// leastHold is the shortest time that a client is not read from. It is well
// below rateBurst, and long enough not to set a timer for each message.
const leastHold = 5 * time.Millisecond

// A rate is how many messages a connection may still send.
type rate struct {
	due time.Time // when the next message would be due at an even pace
}

// take counts one message, at perSecond of them, and returns how long no other
// may be read; 0 is no time.
func (r *rate) take(now time.Time, perSecond int) time.Duration {
	if earliest := now.Add(-rateBurst); r.due.Before(earliest) {
		r.due = earliest
	}
	r.due = r.due.Add(time.Second / time.Duration(perSecond))
	if ahead := r.due.Sub(now); ahead >= leastHold {
		return ahead
	}
	return 0
}

// slow keeps the reader of c waiting where its client sends more than
// max_rate. Nobody else waits for it.
func (b *Broker) slow(c *conn) {
	if b.cfg.MaxRate == 0 || c.listener.bridge {
		return
	}
	hold := c.rate.take(time.Now(), b.cfg.MaxRate)
	if hold == 0 {
		return
	}
	b.count.slowedByRate.Add(1)
	b.seldom[rateExceeded].log(func(count int) {
		b.log.Warn("client slowed, it sends too fast", "client", c.name(), "remote", c.RemoteAddr().String(), "max_rate", b.cfg.MaxRate, "count", count)
	})
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}
