package bus

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"checkbus/checks"
)

// gateway is the origin of what no core has judged.
const gateway = "gateway"

// A tracker compares what its sources say of their objects with what was
// published last, and tells what is new. Each object is that of one source, the
// first that has it; what others say of it is only remembered, for when it is no
// longer there.
type tracker struct {
	sources      []source
	everyAttempt bool // an attempt of a soft problem is an event, too
	tell         func(news)

	objects map[checks.Object]tracked
	counts  [checks.Pending + 1]atomic.Int64 // objects by state
	seq     uint64                           // of the newest event
}

// A source is a core with a feed, or the gateway itself where there is none.
type source struct {
	name     string
	complete bool // has said once what all its objects are
	// said has what the source says of its objects. The first source does
	// without: its word is always the one that is published.
	said map[checks.Object]checks.Status
}

// News is what became of an object.
type news struct {
	now    checks.Change   // what the state topic is to say
	events []checks.Change // in order; the last one is now, where there are any
	gone   bool            // the state topic is to say nothing any more
	keep   bool            // a restart must not forget it
}

// A tracked is what was published last of an object.
type tracked struct {
	since           int64 // milliseconds since 1970, as published; 0 is not known
	seq             uint64
	kind            string
	text            uint64 // a fingerprint of what is not here; 0: not published yet
	attempt         int32
	state, previous checks.State
	flags           flags
	owner           uint8 // index of its source, or unowned
}

// unowned is the owner of an object that any source may claim.
const unowned = 255

// Flags are the parts of a status that are true or false.
type flags struct{ soft, acknowledged, inDowntime, flapping bool }

// lasting is the part of e that a restart must not forget.
func (e tracked) lasting() tracked {
	e.text, e.attempt = 0, 0
	return e
}

func newTracker(sources []string, everyAttempt bool, tell func(news)) *tracker {
	t := &tracker{everyAttempt: everyAttempt, tell: tell, objects: make(map[checks.Object]tracked)}
	for i, name := range sources {
		s := source{name: name}
		if i > 0 {
			s.said = make(map[checks.Object]checks.Status)
		}
		t.sources = append(t.sources, s)
	}
	return t
}

// restore takes up what was published before the start. published says whether
// it is again.
func (t *tracker) restore(c checks.Change, published bool) {
	e := tracked{state: c.State, previous: c.Previous, kind: c.Kind, seq: c.Seq, owner: unowned}
	e.note(c.Status)
	if !published {
		e.text = 0
	}
	for i, s := range t.sources {
		if s.name == c.Origin {
			e.owner = uint8(i)
		}
	}
	t.put(c.Object, e)
}

// put makes o what e is, and counts it.
func (t *tracker) put(o checks.Object, e tracked) {
	if before, ok := t.objects[o]; ok {
		t.counts[before.state].Add(-1)
	}
	t.objects[o] = e
	t.counts[e.state].Add(1)
}

func (t *tracker) remove(o checks.Object) {
	if e, ok := t.objects[o]; ok {
		t.counts[e.state].Add(-1)
		delete(t.objects, o)
	}
}

// saw takes what a source says of an object.
func (t *tracker) saw(from int, s checks.Status) {
	if said := t.sources[from].said; said != nil {
		said[s.Object] = s
	}
	if t.heeds(from, s.Object) {
		t.update(from, s)
	}
}

// heeds reports whether it is for a source to say what o is.
func (t *tracker) heeds(from int, o checks.Object) bool {
	e, ok := t.objects[o]
	return !ok || from <= int(e.owner)
}

// sawAll takes what a source says of all its objects. Events are told in the
// order of the results.
func (t *tracker) sawAll(from int, all []checks.Status) {
	src := &t.sources[from]
	has := make(map[checks.Object]struct{}, len(all))
	if src.said != nil {
		clear(src.said)
	}
	var changed []checks.Status
	for _, s := range all {
		has[s.Object] = struct{}{}
		if src.said != nil {
			src.said[s.Object] = s
		}
		switch {
		case !t.heeds(from, s.Object):
		case len(t.changes(s)) > 0:
			changed = append(changed, s)
		default:
			t.update(from, s)
		}
	}
	slices.SortStableFunc(changed, func(a, b checks.Status) int { return a.Time.Compare(b.Time) })
	for _, s := range changed {
		t.update(from, s)
	}
	src.complete = true
	t.dropWhere(func(o checks.Object, e tracked) bool {
		_, there := has[o]
		return e.owner == unowned || int(e.owner) == from && !there
	})
}

// dropWhere takes the objects that fit from their sources, in order of their
// names.
func (t *tracker) dropWhere(fits func(checks.Object, tracked) bool) {
	var gone []checks.Object
	for o, e := range t.objects {
		if fits(o, e) {
			gone = append(gone, o)
		}
	}
	slices.SortFunc(gone, func(a, b checks.Object) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Service, b.Service))
	})
	for _, o := range gone {
		t.drop(o)
	}
}

// lost takes the word of a source that it has an object no longer.
func (t *tracker) lost(from int, o checks.Object) {
	delete(t.sources[from].said, o)
	if e, ok := t.objects[o]; ok && int(e.owner) == from {
		t.drop(o)
	}
}

// drop gives o to the next source that has it. When there is none it is gone,
// unless a source that has not spoken yet may have it.
func (t *tracker) drop(o checks.Object) {
	e := t.objects[o]
	for i := range t.sources {
		if s, ok := t.sources[i].said[o]; ok {
			t.update(i, s)
			return
		}
	}
	origin := gateway
	if e.owner != unowned {
		origin = t.sources[e.owner].name
	}
	for _, s := range t.sources {
		if !s.complete {
			e.owner = unowned
			t.put(o, e)
			return
		}
	}
	t.remove(o)
	t.seq++
	c := e.change(checks.Status{Object: o, Time: time.Now()}, origin)
	c.Kind, c.Seq = checks.KindRemoved, t.seq
	t.tell(news{now: c, events: []checks.Change{c}, gone: true, keep: true})
}

// update makes o what its source says.
func (t *tracker) update(owner int, s checks.Status) {
	before, seen := t.objects[s.Object]
	if !seen {
		before = tracked{state: checks.Pending, previous: checks.Pending, kind: checks.KindState}
	}
	e := before
	e.owner = uint8(owner)
	if s.State != before.state {
		e.previous, e.since = before.state, millis(s.Time)
	}
	e.note(s)
	origin := t.sources[owner].name
	var events []checks.Change
	for _, kind := range t.changes(s) {
		t.seq++
		e.kind, e.seq = kind, t.seq
		events = append(events, e.change(s, origin))
	}
	if e == before {
		return
	}
	t.put(s.Object, e)
	t.tell(news{now: e.change(s, origin), events: events, keep: !seen || e.lasting() != before.lasting()})
}

// changes are the kinds of events that s is, against what was published last.
// What is neither known nor a problem becomes neither by its first result; and
// what a new object is already has not just begun.
func (t *tracker) changes(s checks.Status) (kinds []string) {
	e, seen := t.objects[s.Object]
	if !seen {
		e.state = checks.Pending
	}
	add := func(kind string, fits bool) {
		if fits {
			kinds = append(kinds, kind)
		}
	}
	same := s.State == e.state
	add(checks.KindState, !same && (problem(s.State) || problem(e.state)))
	add(checks.KindHard, same && e.flags.soft && !s.Soft && problem(s.State))
	add(checks.KindAttempt, same && s.Soft && int32(s.Attempt) != e.attempt && problem(s.State) && t.everyAttempt)
	add(checks.KindAcknowledged, seen && s.Acknowledged != e.flags.acknowledged)
	add(checks.KindDowntime, seen && s.InDowntime != e.flags.inDowntime)
	add(checks.KindFlapping, seen && s.Flapping != e.flags.flapping)
	return kinds
}

func problem(s checks.State) bool { return s.ExitCode() != 0 }

// note takes over what s says, but for what depends on what was before.
func (e *tracked) note(s checks.Status) {
	e.state, e.attempt = s.State, int32(s.Attempt)
	e.flags = flags{s.Soft, s.Acknowledged, s.InDowntime, s.Flapping}
	if !s.Since.IsZero() {
		e.since = millis(s.Since)
	}
	var h xxhash.Digest
	h.Reset()
	_, _ = h.WriteString(s.Reason)
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte{0}, uint64(millis(s.Time))))
	_, _ = h.WriteString(s.Perfdata)
	e.text = h.Sum64() | 1
}

// change is e as it is published; s has what e does not.
func (e tracked) change(s checks.Status, origin string) checks.Change {
	s.State, s.Attempt = e.state, int(e.attempt)
	s.Soft, s.Acknowledged, s.InDowntime, s.Flapping = e.flags.soft, e.flags.acknowledged, e.flags.inDowntime, e.flags.flapping
	s.Since = time.Time{}
	if e.since != 0 {
		s.Since = time.UnixMilli(e.since)
	}
	return checks.Change{Status: s, Previous: e.previous, Origin: origin, Kind: e.kind, Seq: e.seq}
}

// millis is t in milliseconds since 1970; 0 when t is zero.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
