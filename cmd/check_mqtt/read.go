package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"checkbus/checks"
)

// read takes one message and judges its text, its numbers and its age.
func read(ctx context.Context, p *probe) (finding, error) {
	m, err := p.receive(ctx)
	if err != nil {
		return finding{}, err
	}
	if m == nil {
		return p.missing("no %smessage on %s within %v", p.kind(), p.topic, p.listening()), nil
	}
	return p.judge(*m), nil
}

// receive is the first message on --topic that --retained asks for; nil when
// none came within the window.
func (p *probe) receive(ctx context.Context) (*message, error) {
	var got *message
	take := func(m message) {
		if got == nil && p.wants(m) {
			got = &m
		}
	}
	err := p.hear(ctx, take, func() bool { return got != nil }, p.topic)
	return got, err
}

// judge makes a finding of a message.
func (p *probe) judge(m message) finding {
	f := found("").with("payload", string(m.payload)).with("topic", m.topic)
	path := &p.jsonPath
	if p.json == "" {
		path = nil
	}
	var errs []error
	if value, err := valueText(m.payload, path); err != nil {
		errs = append(errs, err)
	} else {
		f.Text = fmt.Sprintf("%s is %s", m.topic, shorten(value, maxExcerpt))
		f.fill["value"] = value
		errs = append(errs, p.judgeValue(&f, m, value, path)...)
	}
	if p.timePath != "" {
		errs = append(errs, p.judgeAge(&f, m))
	}
	return p.faulty(f, m, errs)
}

// faulty adds what is wrong with a payload, which hides nothing of what else
// was found: a fault is CRITICAL, and data that is not there --missing-state.
func (p *probe) faulty(f finding, m message, errs []error) finding {
	about := m.topic
	var texts []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		if !errors.Is(err, errNoValue) {
			about = "wrong payload on " + m.topic
		}
		f.State = checks.Worst(f.State, p.stateOf(err))
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	if texts != nil {
		f.Text = about + ": " + strings.Join(texts, ", ")
	}
	return f
}

// stateOf is what a fault of a payload means.
func (p *probe) stateOf(err error) checks.State {
	if errors.Is(err, errNoValue) {
		return p.missingState
	}
	return checks.Critical
}

// judgeValue compares the value, and takes numbers from it.
func (p *probe) judgeValue(f *finding, m message, value string, path *jsonPath) (errs []error) {
	if p.given["expect"] {
		if problem := p.compare.mismatch(m.payload, path); problem != "" {
			errs = append(errs, errors.New(problem))
		}
	}
	if len(p.metrics) > 0 {
		return append(errs, p.judgeMetrics(f, m)...)
	}
	n, err := numberAt(value, path)
	if err == nil {
		f.Perfdata = append(f.Perfdata, p.limited(checks.Perfdata{Label: "value", Value: n}))
		return errs
	}
	if p.hasLimits() {
		errs = append(errs, err)
	}
	return errs
}

func (p *probe) judgeMetrics(f *finding, m message) (errs []error) {
	document, err := parseJSON(m.payload)
	if err != nil {
		return []error{err}
	}
	for _, metric := range p.metrics {
		value, err := metric.path.find(document)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n, err := numberAt(jsonText(value), &metric.path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", metric.label, err))
			continue
		}
		f.Perfdata = append(f.Perfdata, metric.withDefaults(p.settings).perfdata(n))
	}
	return errs
}

// numberAt reads what was found at path, if any, as a number. The null of JSON
// is no value.
func numberAt(text string, path *jsonPath) (float64, error) {
	if path != nil && text == "null" {
		return 0, fmt.Errorf("%w at %s: null", errNoValue, path.text)
	}
	return parseNumber(text)
}

// judgeAge adds the age by the payload's time stamp.
func (p *probe) judgeAge(f *finding, m message) error {
	age, err := p.ageOf(m)
	if err != nil {
		return err
	}
	item := seconds("age", age)
	item.Min = nil // a clock that is ahead makes ages negative
	item.Warning, item.Critical = p.ageWarn, p.ageCrit
	f.Perfdata = append(f.Perfdata, item)
	f.Text += ", " + showSpan(age) + " old"
	f.fill["age"] = showSpan(age)
	return nil
}

// maxAhead is how far the clock of a publisher may be ahead: up to there a
// message is new, and no negative age outside of every range such as 5m.
const maxAhead = 5 * time.Second

// ageOf is the age of a message by its time stamp. "$" takes the payload as it
// is: a bare RFC 3339 time is no JSON, and one in quotes is.
func (p *probe) ageOf(m message) (time.Duration, error) {
	path := &p.timeAt
	if len(path.steps) == 0 {
		path = nil
	}
	text, err := valueText(m.payload, path)
	if err != nil {
		return 0, err
	}
	at, err := parseTime(strings.Trim(strings.TrimSpace(text), `"`))
	old := m.at.Sub(at)
	if -maxAhead <= old && old < 0 {
		old = 0
	}
	return old, err
}
