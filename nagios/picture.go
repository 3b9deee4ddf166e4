package nagios

import (
	"bufio"
	"strings"
	"time"

	"checkbus/checks"
)

// A picture is what the core's objects are, put together from the lines of its
// log, its status file and the results that it was handed. Of these the log is
// the first to know of a state, and the status file knows everything, but as of
// the moment when it was written.
//
// That moment decides. The core is one thread: what it logged before it wrote
// the file is in the file, so the file has the last word on every object of
// which nothing was heard since. "Since" is when a line was read, which is never
// before it was written: an object of which something was heard about that time
// waits for the next file.
type picture struct {
	format    format
	objects   map[checks.Object]*object
	watcher   checks.Watcher
	told      bool       // the watcher has had a first SawAll; nothing is told before
	program   program    // as the last status file said
	reception *reception // the same; nil before there was one
	files     int        // status files read

	// first are objects as the first status file has them, those of which a
	// line of the same second tells; nil when the watcher was told.
	first map[checks.Object]object

	scratch []byte
}

// An object is what the core says of one host or service.
type object struct {
	checks.Status
	checked int64  // the core's time of the newest result, Unix seconds
	sticky  bool   // the acknowledgement lasts until recovery
	file    int    // the last status file that lists it
	seq     uint64 // the newest result of this gateway that is told of it

	judged time.Time // when a line or a result last told its state
	marked time.Time // when a line last told the rest: acknowledged, in downtime, flapping
}

func newPicture(f format, w checks.Watcher) *picture {
	return &picture{format: f, objects: make(map[checks.Object]*object), first: make(map[checks.Object]object), watcher: w}
}

func (p *picture) tell(o *object) {
	if p.told {
		p.watcher.Saw(o.Status)
	}
}

// line takes up a line of the log that was read at at. The result is the one
// that the line is about, where that is known.
func (p *picture) line(l logLine, r *checks.Result, at time.Time) {
	o := p.objects[l.Object]
	if o == nil {
		if l.kind != alert {
			return // the status file will say what it is, if it is one
		}
		o = &object{Status: checks.Status{Object: l.Object, State: checks.Pending}, file: p.files}
		p.objects[l.Object] = o
	}
	if !p.told && p.rewind(o, l) {
		return
	}
	before := o.Status
	switch l.kind {
	case alert:
		p.alert(o, l, r, at)
	case standing:
		if o.State != l.state { // else it is known better
			p.alert(o, l, nil, at)
		}
	case downtime:
		o.InDowntime, o.marked = l.on, at
	case flapping:
		o.Flapping, o.marked = l.on, at
	case acknowledgement:
		if !l.on || problem(o.State) { // else the core refuses it
			o.Acknowledged, o.sticky, o.marked = l.on, l.sticky, at
		}
	}
	if o.Status != before {
		p.tell(o)
	}
}

// rewind makes o what the first status file says of it, when l is an alert that
// is in that file, and with it everything that the log says before l: the file
// does not say when in its second it was written. It reports whether it did.
func (p *picture) rewind(o *object, l logLine) bool {
	if l.at.Unix() > p.program.created {
		return false
	}
	first, ok := p.first[o.Object]
	if !ok {
		first = *o
		p.first[o.Object] = first
	}
	if l.kind != alert || !first.is(l) {
		return false
	}
	*o = first
	return true
}

// is reports whether o is what l says.
func (o *object) is(l logLine) bool {
	first, _, _ := strings.Cut(o.Reason, "\n")
	return o.State == l.state && o.Soft == l.soft && o.Attempt == l.attempt && first == l.output
}

// alert takes up the outcome of a check.
func (p *picture) alert(o *object, l logLine, r *checks.Result, at time.Time) {
	began := l.at
	if r != nil {
		began = r.Executed
	}
	o.enter(l.state, began, at)
	o.Soft, o.Attempt, o.judged = l.soft, l.attempt, at
	if r != nil {
		p.report(o, *r)
		return
	}
	o.Reason, o.Perfdata, o.Time, o.checked = l.output, "", l.at, l.at.Unix()
}

// enter makes state the state. Nagios ends an acknowledgement on recovery, and
// any but a sticky one on every change (Nagios Core 4.4.6, checks.c).
func (o *object) enter(state checks.State, began, at time.Time) {
	if o.Acknowledged && (!problem(state) || state != o.State && !o.sticky) {
		o.Acknowledged, o.marked = false, at
	}
	if state != o.State {
		o.State, o.Since = state, began
	}
}

func problem(s checks.State) bool {
	return s != checks.OK && s != checks.Up && s != checks.Pending
}

// report takes up what a result says besides the state, as the core stored it.
func (p *picture) report(o *object, r checks.Result) {
	o.Reason, o.Perfdata = p.format.stored(r)
	o.Time, o.checked, o.seq = r.Time, r.Executed.Unix(), r.Seq
}

// processed takes up a result that the core has processed, at the latest at at,
// with all that it logged about it known. Where the core sees another state
// than the result, it has not taken it, or has made something else of it, which
// the status file will tell.
func (p *picture) processed(r checks.Result, at time.Time) {
	o := p.objects[r.Object]
	if o == nil || p.reception.check(r.Object) != nil || r.Seq < o.seq || !o.agrees(r.State) {
		return
	}
	if o.State == checks.Pending { // of which the core logs nothing
		o.enter(r.State, r.Executed, at)
		o.Soft, o.Attempt = false, 1
	}
	p.report(o, r)
	o.judged = at
	p.tell(o)
}

// agrees reports whether a result with this state changes nothing in the core.
// Whether a host is down or out of reach is the core's own judgement.
func (o *object) agrees(state checks.State) bool {
	if o.IsHost() || o.State == checks.Pending {
		return problem(o.State) == problem(state)
	}
	return o.State == state
}

// snapshot takes up a status file that was written at the time written, and
// tells what it changes, unless it is the first since a start or reload of the
// core: then all is to be told. All lines that are in the log by now must be
// known already, but before the watcher was told of anything, when the file
// comes first.
func (p *picture) snapshot(lines *bufio.Reader, written time.Time) (isFirst bool, err error) {
	p.files++
	var changed []*object
	closed := make(map[checks.Object]struct{})
	now, err := readStatus(lines, func(core program, e *entry) {
		o, isNews := p.entry(core, e, written)
		if isNews {
			changed = append(changed, o)
		}
		if !e.passive {
			closed[o.Object] = struct{}{}
		}
	})
	isFirst = err == nil && p.isRestart(now)
	if err == nil {
		p.program, p.reception = now, newReception(now, p.format, closed)
	}
	if isFirst {
		p.forget(written, func(checks.Object) {})
		return true, nil
	}
	for _, o := range changed {
		p.tell(o)
	}
	if err == nil {
		p.forget(written, p.lose)
	}
	return false, err
}

// held are the objects that the last status file lists, and when they were
// checked, as far as is known by now.
func (p *picture) held() []holding {
	list := make([]holding, 0, len(p.objects))
	for _, o := range p.objects {
		if o.file == p.files {
			list = append(list, holding{o.Object, o.checked})
		}
	}
	return list
}

// isRestart reports whether a status file with this about the core is the first
// since a start or reload. Nagios writes that before it comes to the downtimes
// that it was in (Nagios Core 4.4.6, base/nagios.c, main), so it does not say
// that one ended.
func (p *picture) isRestart(core program) bool {
	return core.started != p.program.started || core.pid != p.program.pid
}

func (p *picture) lose(o checks.Object) {
	if p.told {
		p.watcher.Lost(o)
	}
}

// entry takes up an entry, and returns its object and whether that changes it.
func (p *picture) entry(core program, e *entry, written time.Time) (o *object, changed bool) {
	o = p.objects[checks.Object{Host: string(e.host), Service: string(e.service)}]
	if o == nil {
		name := checks.Object{Host: text(e.host), Service: text(e.service)}
		if o = p.objects[name]; o == nil {
			o = &object{Status: checks.Status{Object: name, State: checks.Pending}}
			p.objects[name] = o
		}
	}
	isNew := o.file == 0
	before := o.Status
	o.file = p.files
	if !o.judged.After(written) {
		p.judge(o, e)
	}
	if !o.marked.After(written) {
		o.Acknowledged, o.sticky = e.acknowledged && problem(o.State), e.sticky
		o.InDowntime = e.downtimeDepth > 0 || o.InDowntime && p.isRestart(core)
		o.Flapping = e.flapping
	}
	return o, isNew || o.Status != before
}

// judge makes o what e says of its newest result. Where that is one that is
// known already, its time is known better than to the second. Nagios counts a
// hard state as a change of its own; Since stays with the state.
func (p *picture) judge(o *object, e *entry) {
	state := e.verdict()
	if state == checks.Pending {
		o.Status = checks.Status{
			Object: o.Object, State: state,
			Acknowledged: o.Acknowledged, InDowntime: o.InDowntime, Flapping: o.Flapping,
		}
		o.checked = 0
		return
	}
	if state != o.State || o.Since.IsZero() {
		o.State, o.Since = state, unixTime(e.lastChange)
	}
	o.Soft, o.Attempt = !e.hard, int(max(e.attempt, 1))
	if e.lastCheck != o.checked {
		o.Time, o.checked = unixTime(e.lastCheck), e.lastCheck
	}
	p.scratch = e.appendReason(p.scratch[:0])
	setText(&o.Reason, p.scratch)
	setText(&o.Perfdata, e.perfdata)
}

// setText makes *to the text that raw is, which mostly it is already.
func setText(to *string, raw []byte) {
	if *to == string(raw) {
		return
	}
	if now := text(raw); now != *to {
		*to = now
	}
}

func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// forget removes the objects that the last status file does not list, unless
// something was heard of them after it was written.
func (p *picture) forget(written time.Time, lost func(checks.Object)) {
	for name, o := range p.objects {
		if o.file != p.files && !o.judged.After(written) && !o.marked.After(written) {
			delete(p.objects, name)
			lost(name)
		}
	}
}

func (p *picture) tellAll() {
	all := make([]checks.Status, 0, len(p.objects))
	for _, o := range p.objects {
		all = append(all, o.Status)
	}
	p.told, p.first = true, nil
	p.watcher.SawAll(all)
}

// stored is the output and the performance data of r as the core keeps them:
// Nagios writes ":" for ";" in the first line and trims (Nagios Core 4.4.6,
// checks.c and utils.c); Naemon keeps long output in the first line.
func (f format) stored(r checks.Result) (reason, perfdata string) {
	const blanks = " \t\r\n"
	first, long, _ := strings.Cut(r.Reason, "\n")
	long = strings.TrimRight(long, blanks)
	if f.naemon && long != "" {
		first, long = first+`\n`+strings.ReplaceAll(long, "\n", `\n`), ""
	}
	reason = strings.Trim(strings.ReplaceAll(first, ";", ":"), blanks)
	if long != "" {
		reason += "\n" + long
	}
	return reason, strings.Trim(r.Perfdata, blanks)
}
