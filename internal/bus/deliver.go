package bus

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/checks"
	"checkbus/internal/spool"
)

// maxBatch is how many results a sink is offered at once.
const maxBatch = 1000

// A delivery takes one core's results from the spool to its sink.
type delivery struct {
	bus    *Bus
	core   Core
	cursor *spool.Cursor
	count  *CoreCounters
	took   prometheus.Observer // seconds for a batch
}

// run hands over until ctx ends. A disk that fails is asked again, since the
// publishers and the other cores may still be served.
func (d *delivery) run(ctx context.Context) error {
	buf := make([]checks.Result, maxBatch)
	disk := outage{log: d.bus.Log, name: d.core.Name}
	for ctx.Err() == nil {
		n, err := d.cursor.Read(ctx, buf)
		if ctx.Err() != nil || disk.failed(ctx, err) {
			continue
		}
		batch := buf[:n]
		if !d.handOver(ctx, batch) {
			return nil
		}
		for disk.failed(ctx, d.cursor.Commit(batch[n-1].Seq)) {
			if ctx.Err() != nil {
				return nil
			}
		}
		clear(batch)
	}
	return nil
}

// An outage of the disk is one log line when it starts and one when it ends.
type outage struct {
	log  *slog.Logger
	name string
	wait backoff
	down bool
}

// failed reports whether err is one, having waited a while if so.
func (o *outage) failed(ctx context.Context, err error) bool {
	if err == nil {
		if o.down {
			o.log.Info("spool back", "core", o.name)
		}
		o.down, o.wait = false, backoff{}
		return false
	}
	if !o.down {
		o.log.Error("spool failed", "core", o.name, "err", err)
	}
	o.down = true
	o.wait.sleep(ctx)
	return true
}

// handOver offers batch until each of its results is taken or rejected, and
// reports false when ctx ended before. Order needs no care here: a sink that
// fails a result fails those of the same object behind it.
func (d *delivery) handOver(ctx context.Context, batch []checks.Result) bool {
	wait := backoff{}
	for {
		began := time.Now()
		verdicts := d.core.Sink.Submit(ctx, batch)
		d.took.Observe(time.Since(began).Seconds())
		again := batch[:0:0]
		for i, verdict := range verdicts {
			switch {
			case verdict == nil:
				d.count.Submitted.Add(1)
			case errors.Is(verdict, checks.ErrRejected):
				d.reject(batch[i], verdict)
			default:
				again = append(again, batch[i])
			}
		}
		if len(again) == 0 {
			return true
		}
		if len(again) < len(batch) {
			wait = backoff{}
		}
		batch = again
		d.count.Retried.Add(uint64(len(again)))
		if !wait.sleep(ctx) {
			return false
		}
	}
}

// reject tells the publisher's topic that the core will never take r.
func (d *delivery) reject(r checks.Result, verdict error) {
	d.count.Rejected.Add(1)
	d.bus.counters.refused[cause(verdict)].Add(1)
	refusal := newRefusal(r.Client, r.Topic(d.bus.Decoder.Root), payload(r), verdict)
	refusal.Core = d.core.Name
	d.bus.announce(refusal)
}

// payload writes r again as a publisher might have sent it.
func payload(r checks.Result) []byte {
	text, err := json.Marshal(struct {
		ExitCode int    `json:"exit_code"`
		Reason   string `json:"reason"`
		Perfdata string `json:"perfdata,omitempty"`
		Time     string `json:"time"`
		Source   string `json:"source"`
	}{r.State.ExitCode(), r.Reason, r.Perfdata, checks.Timestamp(r.Time), r.Source})
	if err != nil {
		return nil
	}
	return text
}

// A backoff waits between two tries: 20 ms, then twice as long each time, at
// most 5 s.
type backoff struct{ next time.Duration }

func (b *backoff) sleep(ctx context.Context) bool {
	b.next = min(max(2*b.next, 20*time.Millisecond), 5*time.Second)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.next):
		return true
	}
}
