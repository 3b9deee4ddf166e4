package broker

import "time"

const (
	// pacedBytes is how much may be on its way to a client before whoever
	// publishes waits for it; half of what an outbox may have is too much, too.
	pacedBytes = outLimit / 2
	// pacePause is how long one waits before looking again.
	pacePause = time.Millisecond
	// mostCredit is how long, in all, a client that does not read is waited for.
	mostCredit = 100 * time.Millisecond
	// creditPerByte is what a client earns by reading. One that reads 20 MB/s
	// or more is waited for as often as need be.
	creditPerByte = 50 * time.Nanosecond
	// creditPerAck is what it earns by acknowledging a message: small ones are
	// worth little by their bytes. One that acknowledges 20,000/s or more is
	// waited for as often as need be.
	creditPerAck = 50 * time.Microsecond
)

// pace holds up whoever publishes to a client that reads, but has fallen behind:
// on a busy machine one that publishes may be given more time than all who have
// to write and to read. The wait is limited by the client's credit, so that one
// that does not read soon delays nobody.
func (b *Broker) pace(c *conn) {
	for c.spend(c.session.out.long()) {
		time.Sleep(pacePause)
	}
}

// spend takes a pause off the client's credit, if it should be waited for,
// because of its outbox or what is still to be written. Those who wait at the same
// time take it off once.
func (c *conn) spend(long bool) bool {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.credit < pacePause || !long && c.queued <= pacedBytes {
		return false
	}
	if now.Sub(c.spent) >= pacePause {
		c.credit, c.spent = c.credit-pacePause, now
	}
	return true
}

// earn credits the client for what it has read; c.mu is held.
func (c *conn) earn(credit time.Duration) { c.credit = min(mostCredit, c.credit+credit) }
