package checks

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// maxClockSkew is how far in the future a result may be and keep its time.
	maxClockSkew = time.Minute
	// maxSource bounds Result.Source, in bytes.
	maxSource = 255
)

// A fault is why an item is refused. Its text is put together only when asked
// for: a payload can hold very many bad items.
type fault struct {
	item int // counted from 1 in a batch; 0 for a single result
	err  error
}

func (f *fault) Error() string {
	if f.item == 0 {
		return ErrInvalid.Error() + ": " + f.err.Error()
	}
	return fmt.Sprintf("%v: item %d: %v", ErrInvalid, f.item, f.err)
}

func (f *fault) Unwrap() error { return ErrInvalid }

var (
	errNoExitCode = errors.New("exit_code: missing")
	errNoReason   = errors.New("reason: missing")
	errNoHost     = errors.New("host: missing, and the topic names none")
)

// blank is an item with what is certain of every one of the message.
func (m *message) blank(raw []byte) Item {
	return Item{Result: Result{Object: m.object, Arrived: m.now, Client: m.client}, Raw: raw}
}

func (m *message) refused(n int, raw []byte, err error) Item {
	item := m.blank(raw)
	item.Err = &fault{n, err}
	return item
}

// item makes a result of f, or says why it is none.
func (m *message) item(n int, raw []byte, f *fields) Item {
	item := m.blank(raw)
	if err := m.fill(&item, f); err != nil {
		item.Err = &fault{n, err}
	}
	return item
}

func (m *message) fill(item *Item, f *fields) error {
	if f.err != nil {
		return f.err
	}
	r := &item.Result
	if err := m.fillObject(r, f); err != nil {
		return err
	}
	note, err := m.fillState(r, f)
	if err != nil {
		return err
	}
	if err := m.fillOutput(r, f, note); err != nil {
		return err
	}
	if err := m.fillTimes(item, f); err != nil {
		return err
	}
	return m.fillSource(r, f)
}

// fillObject completes the object that the topic names, or agrees with it.
func (m *message) fillObject(r *Result, f *fields) error {
	host, err := f.agree(fieldHost, m.object.Host)
	if err != nil {
		return err
	}
	if host == "" {
		return errNoHost
	}
	service, err := f.agree(fieldService, m.object.Service)
	if err != nil {
		return err
	}
	r.Object = Object{Host: host, Service: service}
	return nil
}

func (m *message) fillState(r *Result, f *fields) (note string, err error) {
	g, ok := f.get(fieldExitCode)
	if !ok {
		return "", errNoExitCode
	}
	if r.State, note, err = g.state(r.IsHost()); err != nil {
		return "", g.wrap(err)
	}
	return note, nil
}

// fillOutput sets the reason, with the note in its first line, and the
// performance data.
func (m *message) fillOutput(r *Result, f *fields, note string) error {
	g, ok := f.get(fieldReason)
	if !ok {
		return errNoReason
	}
	if g.kind != kindString {
		return g.wrap(g.notString())
	}
	out := g.raw
	if !g.plain {
		m.reason = clean(g.appendText(m.reason[:0]), true)
		out = m.reason
	}
	first, long, perf, morePerf := splitOutput(out)
	r.Reason = joinReason(first, long, note, m.maxReason)

	m.perf = m.perf[:0]
	if g, ok := f.get(fieldPerfdata); ok {
		if err := m.givenPerfdata(g); err != nil {
			return g.wrap(err)
		}
	}
	if len(m.perf) == 0 {
		m.addPerfdata(value{kindString, true, perf})
		m.addPerfdata(value{kindString, true, morePerf})
	}
	r.Perfdata = fitPerfdata(string(m.perf), m.maxReason)
	return nil
}

// givenPerfdata adds those of the field: a string, or an array of strings.
func (m *message) givenPerfdata(g given) error {
	switch g.kind {
	case kindString:
		m.addPerfdata(g.value)
		return nil
	case kindArray:
	default:
		return fmt.Errorf("%s is neither a string nor an array of strings", g.value)
	}
	s := scanner{data: g.raw, pos: 1}
	for first := true; ; first = false {
		if more, err := s.more(']', first); err != nil || !more {
			return err
		}
		v, err := s.value(0)
		if err != nil {
			return err
		}
		if v.kind != kindString {
			return v.notString()
		}
		m.addPerfdata(v)
	}
}

// addPerfdata appends the text of v, without white space around it, after a
// space.
func (m *message) addPerfdata(v value) {
	begin := len(m.perf)
	if begin > 0 {
		m.perf = append(m.perf, ' ')
	}
	start := len(m.perf)
	m.perf = v.appendText(m.perf)
	added := bytes.Trim(clean(m.perf[start:], false), " ")
	if len(added) == 0 {
		m.perf = m.perf[:begin]
		return
	}
	m.perf = append(m.perf[:start], added...)
}

// fillTimes sets when the check ran, and how long its result holds.
func (m *message) fillTimes(item *Item, f *fields) error {
	r := &item.Result
	r.Time = m.now
	if g, ok := f.get(fieldTime); ok {
		t, err := g.time()
		if err != nil {
			return g.wrap(err)
		}
		if item.Clamped = t.After(m.now.Add(maxClockSkew)); !item.Clamped {
			r.Time = t
		}
	}
	r.Executed = r.Time
	if r.Executed.After(m.now) {
		r.Executed = m.now
	}
	r.Executed = r.Executed.Truncate(time.Microsecond)
	if g, ok := f.get(fieldTTL); ok {
		ttl, err := g.duration()
		if err != nil {
			return g.wrap(err)
		}
		r.TTL = ttl
	}
	return nil
}

func (m *message) fillSource(r *Result, f *fields) error {
	r.Source = m.client
	if g, ok := f.get(fieldSource); ok {
		source, err := g.text()
		if err != nil {
			return g.wrap(err)
		}
		if source = strings.TrimSpace(source); source != "" {
			r.Source = source
		}
	}
	r.Source = cut(cleanString(r.Source, false), maxSource, "")
	return nil
}
