package nagios

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"checkbus/checks"
)

// A Sink hands results to one Nagios or Naemon. It logs when the core goes and
// when it comes back.
type Sink struct {
	cfg      Config
	log      *slog.Logger
	format   format
	patience time.Duration
	objects  *objects
	history  History
	resent   atomic.Uint64 // results handed over again, as the core had lost them

	handovers *handovers                // what Follow learns of the batches
	reception atomic.Pointer[reception] // what Follow has learned; nil before

	mu      sync.Mutex // one Submit at a time
	outbox  *outbox    // nil: plain lines
	isDown  atomic.Bool
	follows atomic.Bool
	isStuck bool
}

// New returns a sink for valid settings. It touches nothing before the first
// Submit or Run; Close frees what those opened.
func New(cfg Config, history History, log *slog.Logger) *Sink {
	s := &Sink{
		cfg:      cfg,
		history:  history,
		log:      log.With("sink", "nagios"),
		format:   format{naemon: cfg.Core == coreNaemon},
		patience: firstPatience,

		handovers: newHandovers(),
	}
	s.objects = newObjects(cfg.ObjectCache, s.log)
	if cfg.BatchDir != "" {
		s.outbox = &outbox{dir: cfg.BatchDir}
	}
	return s
}

// Submit offers results, whose Seq must grow, and returns one verdict each:
// nil when the core has processed it (without a batch folder: when it is
// written), an error wrapping checks.ErrRejected when the core never will or has
// dropped it, any other when it is worth another try. With a batch folder it
// returns when all is processed, however long the core is away, or when ctx ends;
// a result whose processing is not confirmed then is not processed twice when it
// is submitted again, by this process or the next.
func (s *Sink) Submit(ctx context.Context, results []checks.Result) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects.await(ctx)
	verdicts := make([]error, len(results))
	s.submit(ctx, results, verdicts, once)
	s.reception.Load().judge(results, verdicts)
	return verdicts
}

// submit sets the verdicts on results. The caller holds mu.
func (s *Sink) submit(ctx context.Context, results []checks.Result, verdicts []error, kind kind) {
	switch {
	case len(results) == 0:
	case ctx.Err() != nil:
		fail(verdicts, ctx.Err())
	case s.outbox != nil:
		s.submitBatches(ctx, results, verdicts, kind)
	default:
		s.submitLines(ctx, results, verdicts)
	}
}

// Knows reports whether the core has o, by its object cache; true before that
// was read.
func (s *Sink) Knows(o checks.Object) bool { return s.objects.knows(o) }

// Up reports whether the core reads its command file, and has taken what it was
// last told.
func (s *Sink) Up() bool {
	if s.isDown.Load() {
		return false
	}
	p, err := openPipe(s.cfg.CommandFile)
	if err != nil {
		return false
	}
	p.close()
	return true
}

// Run follows the core's object cache until ctx ends.
func (s *Sink) Run(ctx context.Context) error { return s.objects.follow(ctx) }

// Close frees the batch folder for another gateway. Nothing may be submitted
// after it.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbox == nil {
		return nil
	}
	return s.outbox.close()
}

// down notes that the core cannot be reached, and logs the first of a series.
func (s *Sink) down(err error) {
	if !s.isDown.Swap(true) {
		s.log.Warn("core unreachable", "err", err)
	}
}

// slow notes that the core has not processed a batch within patience.
func (s *Sink) slow(err error, patience time.Duration) {
	if patience >= slow*s.patience {
		s.down(err)
	}
	if patience >= stuck*s.patience && !s.isStuck {
		s.isStuck = true
		s.log.Error("batch not processed", "dir", s.cfg.BatchDir, "err", err)
	}
}

// up notes that the core has taken something, and logs it after an outage.
func (s *Sink) up() {
	if s.isDown.Swap(false) {
		s.isStuck = false
		s.log.Info("core back")
	}
}
