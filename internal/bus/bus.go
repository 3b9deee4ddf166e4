// Package bus is the path of one message: Accept takes it from the broker,
// decodes it and appends it to the spool; once it is on disk it is
// acknowledged; one goroutine a core hands it over. What the cores then make of
// their objects, or the gateway itself where none says so, is published.
package bus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"checkbus/checks"
	"checkbus/internal/spool"
)

// A Sink hands results to a monitoring core.
type Sink interface {
	// Submit offers batch, keeping each object's order, and returns one
	// verdict a result: nil when the core took it, an error wrapping
	// checks.ErrRejected when it never will, any other when it is worth
	// another try. It returns early when ctx ends.
	Submit(ctx context.Context, batch []checks.Result) []error
	// Knows reports whether the core has the object. It is true as long as
	// the core's objects are not known.
	Knows(o checks.Object) bool
	// Up reports whether the core can be reached and takes results, as far as
	// is known. It does not wait for the core.
	Up() bool
	// Run follows the core until ctx ends.
	Run(ctx context.Context) error
}

// A Feed tells what a core makes of its objects.
type Feed interface {
	// Follow tells w what the core says, from a first SawAll on, until ctx
	// ends. It sees to outages of the core by itself: after each comes another
	// SawAll.
	Follow(ctx context.Context, w checks.Watcher) error
	// Follows reports whether what the core says can be heard now, as far as is
	// known. It does not wait for the core.
	Follows() bool
}

// A Core is a Sink by the name of its cursor in the spool.
type Core struct {
	Name string
	Sink Sink
	Feed Feed // nil: nothing is heard of what the core makes of the results
}

// Options are what a Bus is made of.
type Options struct {
	Decoder  checks.Decoder
	Queue    *spool.Queue
	Cores    []Core // of those with a Feed the first that has an object says what it is
	Refusals *Refusals
	// MaxObjects bounds the objects of which results are taken; those of others
	// are refused. 0 is no bound.
	MaxObjects int
	// EveryAttempt makes an event of each attempt of a soft problem.
	EveryAttempt bool
	// Publish sends a message to the subscribers and waits at most a little.
	Publish func(topic string, payload []byte, retain bool) error
	// SysInterval is how often figures are published below $SYS/gateway; 0 is
	// never.
	SysInterval time.Duration
	Log         *slog.Logger
}

// feeds are the cores that say what they make of their objects.
func (o Options) feeds() []Core {
	return slices.DeleteFunc(slices.Clone(o.Cores), func(c Core) bool { return c.Feed == nil })
}

// A Bus carries results from the broker to the cores, and what becomes of them
// to subscribers.
type Bus struct {
	Options
	counters   Counters
	submitTime *prometheus.HistogramVec // by core

	unpublished atomic.Uint64 // messages of the gateway's own

	// recent are the fingerprints of the messages accepted last before the
	// start: they may be redelivered, since a crash can come between the disk
	// and the acknowledgement. Redeliveries from then on are the broker's to know.
	recent map[uint64]struct{}

	states *states

	mu    sync.Mutex // held from the order to the spool, so that both agree
	order order
}

// New builds a Bus and reads from the spool what it needs to know of the
// results before.
func New(o Options) (*Bus, error) {
	b := &Bus{Options: o, submitTime: newSubmitTime(), order: order{newest: make(map[checks.Object]mark), max: o.MaxObjects}}
	b.states = newStates(o, b.send)
	if err := b.states.load(); err != nil {
		return nil, fmt.Errorf("read the last states: %w", err)
	}
	if err := o.Queue.EachLast(b.restore); err != nil {
		return nil, fmt.Errorf("read the last results: %w", err)
	}
	if err := b.readRecent(); err != nil {
		return nil, fmt.Errorf("read the recent results: %w", err)
	}
	for range o.Cores {
		b.counters.Cores = append(b.counters.Cores, &CoreCounters{})
	}
	return b, nil
}

// restore takes up the newest result of an object.
func (b *Bus) restore(r checks.Result) error {
	b.order.note(r)
	if b.states.judges() {
		b.states.restore(r)
	}
	return nil
}

// inFlight is how long a message may have been on disk and its acknowledgement
// not yet with the publisher.
const inFlight = 10 * time.Second

// readRecent reads the fingerprints of what was accepted in the last moments
// before the gateway ended.
func (b *Bus) readRecent() error {
	arrived := make(map[uint64]time.Time)
	var end time.Time
	err := b.Queue.Recent(func(r checks.Result) error {
		arrived[r.Message], end = r.Arrived, r.Arrived
		return nil
	})
	b.recent = make(map[uint64]struct{})
	for message, at := range arrived {
		if message != 0 && end.Sub(at) < inFlight {
			b.recent[message] = struct{}{}
		}
	}
	return err
}

// Run hands results over, and publishes what becomes of them, until ctx ends.
func (b *Bus) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, core := range b.Cores {
		cursor, err := b.Queue.Cursor(core.Name)
		if err != nil {
			return err
		}
		d := delivery{bus: b, core: core, cursor: cursor, count: b.counters.Cores[i], took: b.submitTime.WithLabelValues(core.Name)}
		g.Go(func() error { return core.Sink.Run(ctx) })
		g.Go(func() error { return d.run(ctx) })
	}
	for i, core := range b.Options.feeds() {
		g.Go(func() error { return core.Feed.Follow(ctx, watcher{b.states, i}) })
	}
	g.Go(func() error { return b.states.run(ctx) })
	g.Go(func() error { return b.states.saver.run(ctx, b.states.ended) })
	g.Go(func() error { return b.summarise(ctx) })
	g.Go(func() error { return b.publishSys(ctx) })
	return g.Wait()
}

// summarise logs, at most once a minute, how much was refused since, and how many
// of the gateway's own messages have no topic that could be published on: the
// names of clients are in some.
func (b *Bus) summarise(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var before [causes]uint64
	var unpublished uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			var since []any
			for c := range before {
				now := b.counters.refused[c].Load()
				if now > before[c] {
					since = append(since, slog.Uint64(Cause(c).String(), now-before[c]))
				}
				before[c] = now
			}
			if len(since) > 0 {
				b.Log.Warn("results refused in the last minute", since...)
			}
			if now := b.unpublished.Load(); now > unpublished {
				b.Log.Warn("messages not published in the last minute", "count", now-unpublished)
				unpublished = now
			}
		}
	}
}
