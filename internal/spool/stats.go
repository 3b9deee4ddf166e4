package spool

import (
	"time"

	"checkbus/checks"
)

// Stats tell how a Queue fares.
type Stats struct {
	// Backlog is that of the slowest cursor; zero without cursors.
	Backlog
	MaxBytes int64              // as in Options
	Cursors  map[string]Backlog // of each
	Err      error              // why nothing can be stored; nil when it can
}

// A Backlog is what waits to be handed over.
type Backlog struct {
	Records int64
	Bytes   int64     // as Options.MaxBytes counts them
	Oldest  time.Time // arrival of the oldest; zero when nothing waits
}

// Stats may be called every second: it costs one read a cursor.
func (q *Queue) Stats() Stats {
	st := Stats{MaxBytes: q.opts.MaxBytes, Cursors: make(map[string]Backlog, len(q.cursors))}
	q.mu.Lock()
	st.Err = q.err
	end := q.durable
	places := make([]position, len(q.cursors))
	for i, c := range q.cursors {
		places[i] = c.committed
	}
	q.mu.Unlock()
	for i, c := range q.cursors {
		b := Backlog{Records: int64(end.seq - places[i].seq), Bytes: end.bytes - places[i].bytes}
		if b.Records > 0 {
			b.Oldest = q.arrival(places[i].seq + 1)
		}
		st.Cursors[c.name] = b
		if b.Records > st.Records {
			st.Backlog = b
		}
	}
	return st
}

// arrival is when the result with Seq seq came, or zero when it cannot be read,
// which is for Read to report.
func (q *Queue) arrival(seq uint64) time.Time {
	s, err := q.acquire()
	if err != nil {
		return time.Time{}
	}
	defer q.release()
	var one [1]checks.Result
	if _, err := s.read(one[:], seq-1, seq); err != nil {
		return time.Time{}
	}
	return one[0].Arrived
}
