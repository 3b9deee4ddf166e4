package broker

import (
	command "flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

var storms = command.Uint64("storms", 2, "how many random exchanges TestNothingIsLostInAStorm tries")
var firstStorm = command.Uint64("first-storm", 2, "the seed of the first of them")

// A storm is a random exchange between publishers and subscribers that come and
// go, while the gateway restarts and its disk fails. Its seed decides what they
// try; how that falls together is up to the scheduler.
type storm struct {
	t       *testing.T
	seed    uint64
	disk    *realtest.BrokenDisk
	tight   bool // queues are short, so that messages are dropped
	calm    chan struct{}
	failed  atomic.Bool
	broke   atomic.Bool // the disk did
	mu      sync.Mutex
	gateway *gateway
	dropped int64
	streams []*stream
	readers []*reader
	senders []*publisher
}

// A stream is what one publisher sends on one topic: payloads are numbers in a row.
type stream struct {
	topic string
	qos   byte
	next  atomic.Int64 // not sent yet
	mu    sync.Mutex
	fate  map[int64]bool // what was answered: taken or refused
	// late has what an MQTT 5 publisher sent again: that may have been refused
	// before, and what came after it not.
	late map[int64]bool
	// again has what was sent to another gateway than at first: a subscriber for
	// which it was dropped before, or that began anew, may get it after all.
	again map[int64]bool
}

func TestNothingIsLostInAStorm(t *testing.T) {
	for seed := *firstStorm; seed < *firstStorm+*storms; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			before := runtime.NumGoroutine()
			s := &storm{t: t, seed: seed, disk: realtest.NewBrokenDisk(), tight: seed%3 == 0, calm: make(chan struct{})}
			s.rage(rand.New(rand.NewPCG(seed, 0)))
			eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
		})
	}
}

// errorf reports what is wrong, and ends the storm early.
func (s *storm) errorf(format string, args ...any) {
	s.t.Helper()
	s.failed.Store(true)
	s.t.Errorf(format, args...)
}

// adapt makes the settings of each gateway.
func (s *storm) adapt(c *Config) {
	c.disk = s.disk
	if s.tight {
		c.Queue = Queue{Messages: 40, Bytes: leastQueue}
	}
}

// at returns the gateway of now.
func (s *storm) at() *gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateway
}

func (s *storm) rage(r *rand.Rand) {
	s.gateway = start(s.t, s.adapt)
	var publishing, reading sync.WaitGroup
	for i := range 4 {
		s.senders = append(s.senders, newPublisher(s, i, rand.New(rand.NewPCG(s.seed, uint64(100+i)))))
	}
	over := make(chan struct{})
	for i := range 6 {
		sub := newReader(s, i, rand.New(rand.NewPCG(s.seed, uint64(200+i))))
		s.readers = append(s.readers, sub)
		reading.Go(func() { sub.run(over) })
	}
	for _, sub := range s.readers {
		<-sub.ready
	}
	for _, p := range s.senders {
		publishing.Go(p.run)
	}
	publishing.Go(s.squeeze)
	for range 3 + r.IntN(4) {
		time.Sleep(time.Duration(50+r.IntN(200)) * time.Millisecond)
		switch r.IntN(4) {
		case 0:
			s.restart()
		case 1:
			s.breakDisk(r) // as a crash at that write
			time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
			s.restart()
		case 2:
			s.breakDisk(r)
			time.Sleep(time.Duration(r.IntN(150)) * time.Millisecond)
			s.disk.Mend()
		}
	}
	close(s.calm)
	publishing.Wait()
	s.settle(over)
	reading.Wait()
	s.check()
	s.gateway.stop()
}

// squeeze shortens what is in memory for subscribers, as where memory is short.
func (s *storm) squeeze() {
	for !s.isCalm() {
		g := s.at()
		for _, sub := range s.readers {
			if o := g.outboxOf(sub.id); o != nil {
				o.mu.Lock()
				o.shorten(o.memory / 2)
				o.mu.Unlock()
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *storm) breakDisk(r *rand.Rand) {
	s.broke.Store(true)
	s.disk.BreakAfter(int64(r.IntN(20)))
}

// restart ends the gateway, and runs another on what is on the disk.
func (s *storm) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.stop()
	s.dropped += s.gateway.Stats().InflightDropped
	s.disk.Mend()
	s.gateway = start(s.t, s.adapt, onDisk(s.gateway.cfg.Dir))
}

// settle waits until nothing is on its way any more.
func (s *storm) settle(over chan struct{}) {
	g := s.at()
	deadline := time.Now().Add(mqtttest.Patience)
	for left := s.left(g); left != ""; left = s.left(g) {
		if time.Now().After(deadline) {
			s.errorf("when all is over, there is still%s", left)
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(over)
}

// unreleased counts the messages of QoS 2 that a gateway has from a client and waits
// for it to release. Those that it refused do not count: they may be on the disk
// all the same, where that failed just then, and come back with a restart.
func (s *storm) unreleased(from *session) (n, refused int64) {
	at := slices.IndexFunc(s.senders, func(p *publisher) bool { return p.options.ID == from.id })
	for id := range from.received {
		if at >= 0 && s.senders[at].refused[id] {
			refused++
		} else {
			n++
		}
	}
	return n, refused
}

// left tells what a gateway still has for clients, or of them; "" is nothing.
func (s *storm) left(g *gateway) string {
	var b strings.Builder
	note := func(n int64, what string, args ...any) {
		if n != 0 {
			fmt.Fprintf(&b, " %d "+what, append([]any{n}, args...)...)
		}
	}
	note(g.finisher.pending.Load(), "pending")
	note(g.outboxes.Load(), "bytes in outboxes")
	note(int64(g.storingOwn.Load()), "own being stored")
	g.Broker.mu.Lock()
	refused := int64(0)
	for _, c := range g.sessions {
		o := &c.out
		o.mu.Lock()
		note(o.load.Load(), "for %s", c.id)
		note(o.disk, "bytes on disk for %s", c.id)
		note(o.payloads, "bytes of payload for %s", c.id)
		note(int64(len(o.waiting)+len(o.byID)+o.flying+o.flown+o.memory), "in memory for %s", c.id)
		o.mu.Unlock()
		c.mu.Lock()
		note(int64(c.settling+c.bytes+len(c.queue)+len(c.open)), "of %s not settled", c.id)
		n, r := s.unreleased(c)
		note(n, "of %s not released", c.id)
		refused += r
		c.mu.Unlock()
		note(int64(c.storing.Load()), "of %s being stored", c.id)
	}
	g.Broker.mu.Unlock()
	if b.Len() > 0 {
		return b.String()
	}
	st := g.store
	if err := st.flush(nil); err != nil {
		return err.Error()
	}
	st.mu.Lock()
	note(st.bytes, "bytes of messages")
	note(int64(len(st.refs)), "pages of references")
	note(st.pending, "bytes to write")
	st.mu.Unlock()
	for _, prefix := range []byte{receivedPrefix, deliveryPrefix, messagePrefix} {
		n := int64(0)
		if prefix == receivedPrefix {
			n = -refused
		}
		if err := st.each(prefix, func(_, _ []byte) error { n++; return nil }); err != nil {
			return err.Error()
		}
		note(n, "records %q on disk", prefix)
	}
	return b.String()
}

// check compares what subscribers got with what publishers sent.
func (s *storm) check() {
	missing := int64(0)
	for _, sub := range s.readers {
		for _, st := range s.streams {
			if st.qos == 0 || sub.qos == 0 {
				continue
			}
			got := sub.got[st.topic]
			for n := sub.from[st.topic]; n < st.next.Load(); n++ {
				if got[n] > 0 || !st.fate[n] {
					continue
				}
				missing++
				if !s.tight {
					s.errorf("%s never got %s %d", sub.id, st.topic, n)
				}
			}
		}
	}
	s.dropped += s.gateway.Stats().InflightDropped
	if missing > s.dropped {
		s.errorf("%d are missing, %d were counted as dropped", missing, s.dropped)
	}
	for _, st := range s.streams {
		s.checkRetained(st)
	}
	if s.t.Failed() {
		s.t.Logf("log of the last gateway:\n%s", s.gateway.log)
	}
}

// checkRetained looks whether the newest message that was taken is kept.
func (s *storm) checkRetained(st *stream) {
	kept := s.gateway.retainedOn(st.topic)
	if !strings.HasPrefix(st.topic, "kept/") {
		return
	}
	newest := int64(-1)
	for n, taken := range st.fate {
		if taken {
			newest = max(newest, n)
		}
	}
	if got := number(string(kept.Payload)); got != newest && (got < newest || st.fate[got]) {
		s.errorf("%d is retained on %s, want %d", got, st.topic, newest)
	}
}
