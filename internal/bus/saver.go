package bus

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"checkbus/checks"
	"checkbus/internal/spool"
)

// saveBatch is how many states are saved at once, so that results do not wait
// long for the disk behind them.
const saveBatch = 1000

// A saver keeps on disk what was published, soon after it was. What a kill
// comes before is published again after the start, with the same seq.
type saver struct {
	queue *spool.Queue
	log   *slog.Logger
	wake  chan struct{} // has an element when something is unsaved

	mu      sync.Mutex
	unsaved map[checks.Object]checks.Change
	seq     uint64 // of the newest event that is saved
}

func newSaver(queue *spool.Queue, log *slog.Logger) *saver {
	return &saver{queue: queue, log: log, wake: make(chan struct{}, 1), unsaved: make(map[checks.Object]checks.Change)}
}

// add has c saved.
func (s *saver) add(c checks.Change) {
	s.mu.Lock()
	s.unsaved[c.Object] = c
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run saves until ended is closed, and what is left then. While the disk fails
// it tries again; the spool tells of that.
func (s *saver) run(ctx context.Context, ended <-chan struct{}) error {
	var wait backoff
	for {
		select {
		case <-s.wake:
			if s.save() == nil {
				wait = backoff{}
			} else {
				wait.sleep(ctx)
			}
		case <-ended:
			if err := s.save(); err != nil {
				s.log.Error("states not saved, their last events may be published again", "err", err)
			}
			return nil
		}
	}
}

// save saves in the order of the events, so that no seq is saved before the
// event that has it.
func (s *saver) save() error {
	s.mu.Lock()
	todo := s.unsaved
	s.unsaved = make(map[checks.Object]checks.Change)
	s.mu.Unlock()
	sorted := slices.SortedFunc(maps.Values(todo), func(a, b checks.Change) int { return cmp.Compare(a.Seq, b.Seq) })
	for len(sorted) > 0 {
		batch := sorted[:min(saveBatch, len(sorted))]
		seq := max(s.seq, batch[len(batch)-1].Seq)
		if err := s.queue.SaveStates(batch, seq); err != nil {
			s.putBack(sorted)
			return err
		}
		s.seq, sorted = seq, sorted[len(batch):]
	}
	return nil
}

// putBack has changes saved that were not, unless there are newer ones.
func (s *saver) putBack(changes []checks.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		if _, newer := s.unsaved[c.Object]; !newer {
			s.unsaved[c.Object] = c
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
