package broker

import (
	"sync"
	"sync/atomic"
)

// A finisher does what follows accept's verdicts, apart from the goroutine that
// brings them: it acknowledges, all verdicts of one client that came together
// in one write, and then delivers to subscribers.
type finisher struct {
	pending atomic.Int64  // given to accept and not finished
	idle    chan struct{} // has an element when pending came down to 0

	mu      sync.Mutex
	arrived sync.Cond
	items   []verdict
	stopped bool
}

type verdict struct {
	in  *inbound
	err error
}

func newFinisher() *finisher {
	f := &finisher{idle: make(chan struct{}, 1)}
	f.arrived.L = &f.mu
	return f
}

// add takes accept's verdict on in. It does not block.
func (f *finisher) add(in *inbound, err error) {
	f.mu.Lock()
	f.items = append(f.items, verdict{in, err})
	f.mu.Unlock()
	f.arrived.Signal()
}

// next returns the verdicts that came since the last call, at least one, or
// false after stop. It uses spare for what comes next.
func (f *finisher) next(spare []verdict) ([]verdict, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.items) == 0 && !f.stopped {
		f.arrived.Wait()
	}
	items := f.items
	f.items = spare[:0]
	return items, len(items) > 0
}

// stop makes next return false once all verdicts are handed out.
func (f *finisher) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.arrived.Signal()
}

// done counts n verdicts as finished.
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
	var spare []verdict
	var touched []*session
	for {
		batch, ok := b.finisher.next(spare)
		if !ok {
			return
		}
		touched = touched[:0]
		for _, v := range batch {
			v.in.answer = answerTo(v.err, v.in.version)
			if s := v.in.session; s != nil {
				b.hangUp(s.settle(v.in, v.in.answer))
				if v.in.packet.FixedHeader.Qos > 0 {
					touched = append(touched, s)
				}
			}
		}
		for _, s := range touched {
			s.mu.Lock()
			s.flush()
			s.mu.Unlock()
		}
		b.ackTime.observe(batch)
		for _, v := range batch {
			if v.in.answer.taken {
				_ = b.deliver(&v.in.packet, v.in.client, v.in.version) // it was answered: the result is taken
			}
		}
		b.finisher.done(len(batch))
		clear(batch)
		spare = batch
	}
}
