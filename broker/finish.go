package broker

import (
	"sync"
	"sync/atomic"
)

// A finisher does what follows accept's verdicts and the commits of the store,
// apart from the goroutines that bring them: it acknowledges, all that came
// together for one client in one write, and then delivers to subscribers.
type finisher struct {
	pending atomic.Int64  // publishes given to accept or the store, and not finished
	idle    chan struct{} // has an element when pending came down to 0

	mu      sync.Mutex
	arrived sync.Cond
	items   []task
	stopped bool
}

// A task is one of three: accept's verdict on a publish, a publication whose
// commit is over, or something else to do after a commit.
type task struct {
	in          *inbound
	err         error
	publication *publication
	run         func()

	fanout *fanout // what is to be sent now of a publish that accept took; or nil
}

func newFinisher() *finisher {
	f := &finisher{idle: make(chan struct{}, 1)}
	f.arrived.L = &f.mu
	return f
}

// add takes a task. It does not block.
func (f *finisher) add(t task) {
	f.mu.Lock()
	f.items = append(f.items, t)
	f.mu.Unlock()
	f.arrived.Signal()
}

// next returns the tasks that came since the last call, at least one, or false
// after stop. It uses spare for what comes next.
func (f *finisher) next(spare []task) ([]task, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.items) == 0 && !f.stopped {
		f.arrived.Wait()
	}
	items := f.items
	f.items = spare[:0]
	return items, len(items) > 0
}

// stop makes next return false once all tasks are handed out.
func (f *finisher) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.arrived.Signal()
}

// done counts n publishes as finished.
func (f *finisher) done(n int) {
	if f.pending.Add(int64(-n)) == 0 {
		select {
		case f.idle <- struct{}{}:
		default:
		}
	}
}

// finish works until the finisher is stopped.
func (b *Broker) finish() {
	var spare []task
	var touched []*session
	for {
		batch, ok := b.finisher.next(spare)
		if !ok {
			return
		}
		touched = touched[:0]
		for i := range batch {
			if s := b.answer(&batch[i]); s != nil {
				touched = append(touched, s)
			}
		}
		for _, s := range touched {
			s.mu.Lock()
			s.flush()
			s.mu.Unlock()
		}
		b.ackTime.observe(batch)
		finished := 0
		for i := range batch {
			finished += b.complete(&batch[i])
		}
		b.finisher.done(finished)
		clear(batch)
		spare = batch
	}
}

// answer settles the publish that t is about, unless it goes to disk first. It
// returns the session with an acknowledgement to flush, if any.
func (b *Broker) answer(t *task) *session {
	in, err := t.in, t.err
	switch {
	case t.publication != nil:
		in, err = t.publication.in, t.publication.answer()
		if t.publication.accepted {
			t.in = in // its acknowledgement is due now: see ackTime
		}
	case in == nil:
		return nil
	case answerTo(err, in.version).taken:
		f := fanout{partial: err, accepted: true}
		if !b.fanOut(in, &f) {
			t.in = nil
			return nil
		}
		if err = f.partial; len(f.to) > 0 {
			send := f
			t.fanout = &send
		}
	}
	s := in.session
	if s == nil {
		return nil
	}
	b.hangUp(s.settle(in, answerTo(err, in.version)))
	if in.packet.FixedHeader.Qos == 0 {
		return nil
	}
	return s
}

// complete does what follows the answers, and returns how many publishes that
// finishes.
func (b *Broker) complete(t *task) int {
	switch {
	case t.run != nil:
		t.run()
		return 0
	case t.publication != nil:
		b.arrive(t.publication)
	case t.fanout != nil:
		b.sendAll(t.fanout)
	}
	return 1
}

// follow hands what follows up on something stored to the store, and has run done
// when it is on disk.
func (b *Broker) follow(w *edit, run func()) {
	w.done = func(err error) {
		if err == nil {
			b.finisher.add(task{run: run})
		}
	}
	b.store.submit(w, false)
}
