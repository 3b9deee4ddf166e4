package bus

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"checkbus/checks"
	"checkbus/internal/spool"
)

// untold is how many words of sources may wait to be published. Then the
// sources wait.
const untold = 4096

// States is the way from what the sources say to subscribers: one goroutine
// takes one word after the other, so that the events of an object keep their
// order, and no source waits for a subscriber.
type states struct {
	*tracker
	queue *spool.Queue
	send  func(topic string, payload []byte, retain bool)
	words chan func()
	ended chan struct{} // closed when nothing is published any more
	saver *saver

	// missed are results that were accepted and not yet published when the
	// gateway ended. They are of the gateway's own judgement only.
	missed []checks.Result

	events atomic.Uint64 // published
}

// newStates makes the way, which publishes by send.
func newStates(o Options, send func(topic string, payload []byte, retain bool)) *states {
	s := &states{
		queue: o.Queue,
		send:  send,
		words: make(chan func(), untold),
		ended: make(chan struct{}),
		saver: newSaver(o.Queue, o.Log),
	}
	var sources []string
	for _, c := range o.feeds() {
		sources = append(sources, c.Name)
	}
	if len(sources) == 0 {
		sources = []string{gateway}
	}
	s.tracker = newTracker(sources, o.EveryAttempt, s.announce)
	return s
}

// judges reports whether the gateway itself says what objects are.
func (s *states) judges() bool { return s.sources[0].name == gateway }

// load takes up the states of before the start. Where a core judges they are
// published as they were, until it says otherwise; where the gateway does, by
// restore.
func (s *states) load() error {
	seq, err := s.queue.EachState(func(c checks.Change) error {
		s.tracker.restore(c, !s.judges())
		if !s.judges() {
			s.send(c.Topic(stateRoot), c.JSON(), true)
		}
		return nil
	})
	s.seq, s.saver.seq = seq, seq
	return err
}

// restore takes up the newest result of an object. What it changes is told
// later, to those who can connect by then.
func (s *states) restore(r checks.Result) {
	status := judge(r)
	if len(s.changes(status)) > 0 {
		s.missed = append(s.missed, r)
	} else {
		s.update(0, status)
	}
}

// catchUp tells what changed while the gateway was not there, in the order in
// which it was accepted. Objects that no result is kept of are gone.
func (s *states) catchUp() {
	slices.SortFunc(s.missed, func(a, b checks.Result) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, r := range s.missed {
		s.update(0, judge(r))
	}
	s.missed = nil
	s.sources[0].complete = true
	s.dropWhere(func(_ checks.Object, e tracked) bool { return e.text == 0 })
}

// judge is what the gateway makes of a result: what it says, at once.
func judge(r checks.Result) checks.Status {
	return checks.Status{Object: r.Object, State: r.State, Attempt: 1, Reason: r.Reason, Perfdata: r.Perfdata, Time: r.Time}
}

// observe follows what results say of their objects, where no core does.
func (s *states) observe(results []checks.Result) {
	if !s.judges() {
		return
	}
	for _, r := range results {
		s.do(func() { s.saw(0, judge(r)) })
	}
}

// do runs word after those before it. Words that come after the end are lost,
// and made up for at the next start.
func (s *states) do(word func()) {
	select {
	case s.words <- word:
	case <-s.ended:
	}
}

// run publishes until ctx ends.
func (s *states) run(ctx context.Context) error {
	defer close(s.ended)
	if s.judges() {
		s.catchUp()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case word := <-s.words:
			word()
		}
	}
}

// A watcher hears what one core says.
type watcher struct {
	states *states
	source int
}

func (w watcher) Saw(s checks.Status) { w.states.do(func() { w.states.saw(w.source, s) }) }

func (w watcher) SawAll(all []checks.Status) {
	w.states.do(func() { w.states.sawAll(w.source, all) })
}

func (w watcher) Lost(o checks.Object) { w.states.do(func() { w.states.lost(w.source, o) }) }

// announce publishes what is new: first the state, so that whoever is told of
// an event finds it, then the events.
func (s *states) announce(n news) {
	now := n.now.JSON()
	if n.gone {
		s.send(n.now.Topic(stateRoot), nil, true)
	} else {
		s.send(n.now.Topic(stateRoot), now, true)
	}
	for i, c := range n.events {
		text := now // the last event is what the state says
		if i < len(n.events)-1 {
			text = c.JSON()
		}
		s.send(c.Topic(eventRoot), text, false)
		s.events.Add(1)
	}
	if n.keep {
		s.saver.add(n.now)
	}
}
