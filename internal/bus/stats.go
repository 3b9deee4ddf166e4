package bus

import (
	"time"

	"checkbus/checks"
	"checkbus/internal/spool"
)

// Stats are the gateway's figures at one moment. Those without another word
// count since the start.
type Stats struct {
	Received  uint64         // results in all messages
	Accepted  uint64         // on disk and acknowledged
	Duplicate uint64         // redelivered, acknowledged and not taken again
	Clamped   uint64         // told a time over a minute in the future
	Rejected  [causes]uint64 // by Cause
	Events    uint64         // published
	States    States         // of hosts and services, now
	Spool     spool.Backlog  // what the slowest core has not taken, now
	Cores     []CoreStats

	SpoolLimit int64 // bytes
	SpoolErr   error // why nothing can be stored now; nil when it can
}

// States are numbers of hosts and services by checks.State.
type States [checks.Pending + 1]int64

// Count is how many there are in all.
func (s States) Count() int64 {
	var sum int64
	for _, n := range s {
		sum += n
	}
	return sum
}

// CoreStats are the figures of one core.
type CoreStats struct {
	Name      string
	Up        bool          // now, see Sink
	Feed      bool          // what it makes of its objects is followed, when it can be
	Follows   bool          // now, see Feed
	Submitted uint64        // taken by the core
	Retried   uint64        // offered again
	Rejected  uint64        // never to be taken
	Waiting   spool.Backlog // not taken yet, now
}

// Stats returns the figures as they are now. It may be called at any time, and
// every second.
func (b *Bus) Stats() Stats {
	st := Stats{
		Received:  b.counters.Received.Load(),
		Accepted:  b.counters.Accepted.Load(),
		Duplicate: b.counters.Duplicate.Load(),
		Clamped:   b.counters.Clamped.Load(),
	}
	for c := range st.Rejected {
		st.Rejected[c] = b.counters.Refused(Cause(c))
	}
	st.Events = b.states.events.Load()
	for state := range st.States {
		st.States[state] = b.states.counts[state].Load()
	}
	queue := b.Queue.Stats()
	st.Spool, st.SpoolLimit, st.SpoolErr = queue.Backlog, queue.MaxBytes, queue.Err
	for i, core := range b.Cores {
		n := b.counters.Cores[i]
		st.Cores = append(st.Cores, CoreStats{
			Name:      core.Name,
			Feed:      core.Feed != nil,
			Follows:   core.Feed != nil && core.Feed.Follows(),
			Up:        core.Sink.Up(),
			Submitted: n.Submitted.Load(),
			Retried:   n.Retried.Load(),
			Rejected:  n.Rejected.Load(),
			Waiting:   queue.Cursors[core.Name],
		})
	}
	return st
}

// RejectedInAll is the sum over all causes.
func (s Stats) RejectedInAll() uint64 {
	var sum uint64
	for _, n := range s.Rejected {
		sum += n
	}
	return sum
}

// age is how long ago t was, in whole seconds; 0 when t is zero.
func age(t, now time.Time) uint64 {
	if t.IsZero() || now.Before(t) {
		return 0
	}
	return uint64(now.Sub(t) / time.Second)
}
