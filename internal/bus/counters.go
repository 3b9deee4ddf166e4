package bus

import (
	"errors"
	"sync/atomic"

	"checkbus/checks"
)

// A Cause is why a result was refused, as counters and metrics name it.
type Cause int

// The causes of refusal.
const (
	Invalid Cause = iota
	Unknown
	Stale
	Denied
	Full
	Disk
	ByCore
	causes
)

func (c Cause) String() string {
	return [causes]string{"invalid", "unknown_object", "stale", "denied", "full", "disk", "core"}[c]
}

func cause(err error) Cause {
	switch {
	case errors.Is(err, checks.ErrInvalid):
		return Invalid
	case errors.Is(err, checks.ErrUnknownObject):
		return Unknown
	case errors.Is(err, checks.ErrStale):
		return Stale
	case errors.Is(err, checks.ErrDenied):
		return Denied
	case errors.Is(err, checks.ErrFull):
		return Full
	case errors.Is(err, checks.ErrRejected):
		return ByCore
	}
	return Disk
}

// Counters count results since the start.
type Counters struct {
	Received  atomic.Uint64 // items in all messages
	Accepted  atomic.Uint64 // on disk and acknowledged
	Duplicate atomic.Uint64 // redelivered after a crash, acknowledged again
	Clamped   atomic.Uint64 // told a time over a minute in the future
	refused   [causes]atomic.Uint64
	Cores     []*CoreCounters
}

// CoreCounters count what one core was handed.
type CoreCounters struct {
	Submitted atomic.Uint64 // taken by the core
	Retried   atomic.Uint64 // offered again
	Rejected  atomic.Uint64 // never to be taken
}

// Refused counts the results refused for c.
func (c *Counters) Refused(why Cause) uint64 { return c.refused[why].Load() }

// Counters returns the live counters.
func (b *Bus) Counters() *Counters { return &b.counters }
