package icinga

import (
	"sync"
	"time"

	"checkbus/checks"
)

// maxPassed bounds how many states that their objects have left behind wait to
// be told. Beyond it only the newest of an object is.
const maxPassed = 10_000

// A reading is what Icinga said of an object.
type reading struct {
	checks.Status
	checked int64 // last_check, Unix microseconds; 0: not asked for, but derived from a result
}

// isGood reports whether another good result changes nothing but what the
// object's last check said.
func (r *reading) isGood() bool {
	return (r.State == checks.OK || r.State == checks.Up) && !r.Soft && !r.Flapping
}

// A ledger has what the watcher was told of each object, and what there is to
// tell. All methods may be used by many goroutines; nothing is noted while
// nobody follows.
type ledger struct {
	wake chan struct{} // has one element when there is something to tell

	mu     sync.Mutex
	open   bool // somebody follows
	told   map[checks.Object]*told
	news   map[checks.Object]news
	asking map[checks.Object]struct{}  // in a question that is not answered yet
	passed map[checks.Object][]reading // read between two results that came close together
	passes int                         // how many those are
	glance uint32                      // the number of the newest glance
}

// told is a reading that was told, without its texts.
type told struct {
	reading
	glance uint32 // the newest glance when it was told, or that had the object
}

// news is why an object is to be looked at.
type news struct {
	removed bool
	ask     bool
	// A good result of an object that was good, which need not be asked for;
	// executed is 0 for none.
	executed         int64
	reason, perfdata string
}

func newLedger() *ledger {
	l := &ledger{wake: make(chan struct{}, 1)}
	l.end()
	return l
}

// begin makes the ledger note what happens.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
}

// end forgets everything.
func (l *ledger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = false
	l.told = make(map[checks.Object]*told)
	l.news = make(map[checks.Object]news)
	l.asking = make(map[checks.Object]struct{})
	l.passed = make(map[checks.Object][]reading)
	l.passes = 0
}

// add notes that there is news of o. The caller holds mu.
func (l *ledger) add(o checks.Object, n news) {
	if !l.open || o.Host == "" {
		return
	}
	l.news[o] = n
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// ask notes that something may have become of o.
func (l *ledger) ask(o checks.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(o, news{removed: l.news[o].removed, ask: true})
}

// checked notes that Icinga has checked o, unless that is known.
func (l *ledger) checked(o checks.Object, executed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.told[o]; t == nil || t.Time.UnixMicro() < executed {
		l.add(o, news{removed: l.news[o].removed, ask: true})
	}
}

// remove notes that Icinga has o no longer.
func (l *ledger) remove(o checks.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(o, news{removed: true})
}

// took notes that Icinga has taken r.
func (l *ledger) took(r *checks.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.news[r.Object]
	if t := l.told[r.Object]; t != nil && t.isGood() && r.State == t.State && !l.isUnreadLocked(r.Object) {
		n.executed, n.reason, n.perfdata = r.Executed.UnixMicro(), r.Reason, r.Perfdata
	} else {
		n.ask = true
	}
	l.add(r.Object, n)
}

// isUnread reports whether what a result made of o is not yet read.
func (l *ledger) isUnread(o checks.Object) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isUnreadLocked(o)
}

func (l *ledger) isUnreadLocked(o checks.Object) bool {
	_, asking := l.asking[o]
	return asking || l.news[o].ask
}

// pass notes what an unread object is before another result changes it.
func (l *ledger) pass(r reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open && l.passes < maxPassed {
		l.passed[r.Object] = append(l.passed[r.Object], r)
		l.passes++
	}
}

// takePassed returns what o has been since it was told last.
func (l *ledger) takePassed(o checks.Object) []reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.passed[o]
	delete(l.passed, o)
	l.passes -= len(list)
	for len(list) > 0 && l.told[o] != nil && !list[0].Time.After(l.told[o].Time) {
		list = list[1:]
	}
	return list
}

// A share of the news is what can be told at once, and what is to be asked for.
type share struct {
	removed []checks.Object
	states  []checks.Status
	unread  []checks.Object
}

// take returns all news. What can be told at once is noted as told, the rest
// as being asked for until it is answered.
func (l *ledger) take() share {
	l.mu.Lock()
	defer l.mu.Unlock()
	var s share
	for o, n := range l.news {
		t := l.told[o]
		if n.removed && t != nil {
			delete(l.told, o)
			s.removed, t = append(s.removed, o), nil
		}
		switch {
		case !n.ask && (n.executed == 0 || t != nil && n.executed <= t.Time.UnixMicro()):
		case n.ask || t == nil || !t.isGood():
			l.asking[o] = struct{}{}
			s.unread = append(s.unread, o)
		default:
			t.Time, t.checked = time.UnixMicro(n.executed).UTC(), 0
			status := t.Status
			status.Reason, status.Perfdata = n.reason, joinPerfdata(itemsOf(n.perfdata))
			s.states = append(s.states, status)
		}
	}
	l.news = make(map[checks.Object]news) // not cleared: it may have been large
	return s
}

// note notes that r is told, and reports whether it is news.
func (l *ledger) note(r reading) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Reason, r.Perfdata = "", ""
	t := l.told[r.Object]
	if t == nil {
		t = &told{}
		l.told[r.Object] = t
	} else {
		r.Object = t.Object // so that the name is kept once
	}
	isNews := t.Status != r.Status
	*t = told{r, l.glance}
	if n, ok := l.news[r.Object]; ok && n.removed {
		n.removed = false // it is there
		l.news[r.Object] = n
	}
	return isNews
}

// answered notes that the question for these objects is answered. What they
// passed waits for the next answer, where there is to be one.
func (l *ledger) answered(list []checks.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range list {
		delete(l.asking, o)
		if !l.news[o].ask {
			l.passes -= len(l.passed[o])
			delete(l.passed, o)
		}
	}
}

// beginGlance numbers a glance at all objects.
func (l *ledger) beginGlance() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.glance++
	return l.glance
}

// compare looks whether an object of glance n, with its glanceAttrs, is what
// the watcher was told.
func (l *ledger) compare(e *entry, n uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := objectOf(e.Name)
	t := l.told[o]
	if t != nil {
		t.glance = n
	}
	if e.isStopping() {
		return
	}
	if t != nil {
		sameFlags := t.Acknowledged == e.isAcknowledged() && t.InDowntime == e.isInDowntime() && t.Flapping == e.isFlapping()
		if sameFlags && l.isSameCheck(t, e) {
			return
		}
	}
	l.add(o, news{removed: l.news[o].removed, ask: true})
}

// isSameCheck reports whether e has the check that was told. A good result that
// is not asked for may be newer than e, and its last_check is not known until e
// has it. The caller holds mu.
func (l *ledger) isSameCheck(t *told, e *entry) bool {
	checked := micros(e.Attrs.LastCheck)
	coming := l.news[t.Object].executed
	if t.checked != 0 && coming == 0 {
		return t.checked == checked
	}
	newest := t.Time.UnixMicro()
	if e.Attrs.State == 0 && e.lastGood() == newest {
		t.checked = checked
	}
	return t.isGood() && e.Attrs.State == 0 && e.lastGood() <= max(newest, coming)
}

// endGlance notes that the objects that glance n did not have are gone, but
// those that were told meanwhile.
func (l *ledger) endGlance(n uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for o, t := range l.told {
		if t.glance < n {
			l.add(o, news{removed: true})
		}
	}
}
