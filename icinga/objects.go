package icinga

import (
	"sync"
	"time"

	"checkbus/checks"
)

const (
	// absentFor is how long an object that Icinga has said not to have is
	// not asked for again.
	absentFor = 10 * time.Second
	// maxAbsent bounds how many such objects are remembered.
	maxAbsent = 10_000
)

// objects is what is known of Icinga's objects: which there are, and how far
// the results of each have come. All methods may be used by many goroutines.
type objects struct {
	mu      sync.RWMutex
	marks   map[checks.Object]mark
	listed  uint32 // the number of the newest complete list; 0: none yet
	listing uint32 // the number of the newest list, complete or not
	absent  map[checks.Object]time.Time
	ignored map[checks.Object]struct{} // their last result waits to be offered again
	overdue map[checks.Object]struct{} // Icinga lost their last result, and a newer one is on its way
}

// A mark is how far the results of one object have come.
type mark struct {
	seq      uint64 // newest result that Icinga acknowledged; 0: none
	executed int64  // execution of the newest result that Icinga holds, Unix microseconds
	listed   uint32 // the list that has the object
}

func newObjects() *objects {
	return &objects{
		marks:   make(map[checks.Object]mark),
		absent:  make(map[checks.Object]time.Time),
		ignored: make(map[checks.Object]struct{}),
		overdue: make(map[checks.Object]struct{}),
	}
}

// has reports whether o is in the list, or comes in the one being read; true
// before there is one.
func (s *objects) has(o checks.Object) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.listed == 0 || s.marks[o].listed >= s.listed
}

// isAbsent reports whether Icinga has just said that it does not have o.
func (s *objects) isAbsent(o checks.Object, now time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	until, ok := s.absent[o]
	return ok && now.Before(until)
}

// setGone notes that Icinga has o no longer. It may be there again by now: its
// next result asks.
func (s *objects) setGone(o checks.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.marks[o]; ok {
		m.listed = 0
		s.marks[o] = m
	}
}

// setAbsent notes that Icinga has said not to have o.
func (s *objects) setAbsent(o checks.Object, now time.Time) {
	s.setGone(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.absent) >= maxAbsent {
		for o, until := range s.absent {
			if !now.Before(until) {
				delete(s.absent, o)
			}
		}
	}
	if len(s.absent) < maxAbsent {
		s.absent[o] = now.Add(absentFor)
	}
}

// setPresent notes that Icinga has o, by its own word.
func (s *objects) setPresent(o checks.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[o]
	m.listed = s.listing
	s.marks[o] = m
	delete(s.absent, o)
}

// acknowledge notes that Icinga has r.
func (s *objects) acknowledge(r *checks.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[r.Object]
	m.seq, m.executed = r.Seq, max(m.executed, r.Executed.UnixMicro())
	s.marks[r.Object] = m
	delete(s.ignored, r.Object)
	delete(s.overdue, r.Object)
}

// ignore notes that Icinga does not store results for r's object now, and that
// r is to be offered again unless a newer one comes.
func (s *objects) ignore(r *checks.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[r.Object]
	m.seq = r.Seq
	s.marks[r.Object] = m
	s.ignored[r.Object] = struct{}{}
	delete(s.overdue, r.Object)
}

// forget notes that Icinga will never take the result behind o's mark.
func (s *objects) forget(o checks.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[o]
	m.seq = 0
	s.marks[o] = m
	delete(s.ignored, o)
}

// seq is the newest result of o that Icinga acknowledged.
func (s *objects) seq(o checks.Object) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.marks[o].seq
}

// holds reports whether Icinga holds r or a newer result of its object.
func (s *objects) holds(r *checks.Result) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return r.Executed.UnixMicro() <= s.marks[r.Object].executed
}

// isIgnored reports whether Icinga stored nothing for o when it was last
// offered something.
func (s *objects) isIgnored(o checks.Object) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.ignored[o]
	return ok
}

// setHeld notes the execution of the result that Icinga holds for o, which may
// be another's. A time in the future is no bound: Icinga takes earlier results
// after it (lib/icinga/checkable-check.cpp, ProcessCheckResult).
func (s *objects) setHeld(o checks.Object, held int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held <= now.UnixMicro() {
		m := s.marks[o]
		m.executed = held
		s.marks[o] = m
	}
}

// setOverdue notes that Icinga lost o's last result, and that a newer one is on
// its way.
func (s *objects) setOverdue(o checks.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overdue[o] = struct{}{}
}

// isOverdue reports whether there is such an object.
func (s *objects) isOverdue() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.overdue) > 0
}

// ignoredObjects are the objects that Icinga stored no result for when it was
// last offered one, at most limit of them, in no order.
func (s *objects) ignoredObjects(limit int) []checks.Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []checks.Object
	for o := range s.ignored {
		if len(list) == limit {
			break
		}
		list = append(list, o)
	}
	return list
}

// A loss is an object for which Icinga holds less than it acknowledged.
type loss struct {
	checks.Object
	held int64 // execution of what it holds, Unix microseconds
}

// beginList starts a new list. Objects created meanwhile count as listed.
func (s *objects) beginList() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing++
	clear(s.overdue)
}

// add notes an object of the list, and returns what was lost of it.
func (s *objects) add(o checks.Object, held int64, now time.Time) (l loss, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[o]
	m.listed = s.listing
	if m.seq > 0 && held < m.executed {
		l, lost = loss{o, held}, true
	} else if held <= now.UnixMicro() {
		m.executed = held
	}
	s.marks[o] = m
	return l, lost
}

// endList forgets the objects that are not in the list. What was acknowledged
// for them stays: they may come back.
func (s *objects) endList() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = s.listing
	for o, m := range s.marks {
		if m.listed < s.listed && m.seq == 0 {
			delete(s.marks, o)
		}
	}
	clear(s.absent)
}

// size is the number of objects in the list.
func (s *objects) size() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, m := range s.marks {
		if s.listed > 0 && m.listed >= s.listed {
			n++
		}
	}
	return n
}
