package main

import (
	"context"
	"errors"
	"fmt"
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
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var got *message
	c.onMessage = func(m message) {
		if got == nil && p.wants(m) {
			got = &m
		}
	}
	p.phases.enter("subscribe")
	if err := c.subscribe(ctx, p.qos, p.topic); err != nil {
		return nil, err
	}
	p.phases.enter("message")
	ctx, cancel := p.withinWindow(ctx)
	defer cancel()
	err = c.listen(ctx, func() bool { return got != nil })
	return got, err
}

// wants reports whether --retained lets the message count.
func (p *probe) wants(m message) bool {
	return p.retained == "accept" || m.retain == (p.retained == "require")
}

// kind names what --retained asks for.
func (p *probe) kind() string {
	return map[string]string{"ignore": "live ", "require": "retained "}[p.retained]
}

// withinWindow ends with the window, or where there is none with the check.
func (p *probe) withinWindow(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.window == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.window)
}

// listening is how long withinWindow lasts, about.
func (p *probe) listening() time.Duration {
	if p.window == 0 {
		return p.timeout
	}
	return p.window
}

// judge makes a finding of a message.
func (p *probe) judge(m message) finding {
	f := found("").with("payload", string(m.payload)).with("topic", m.topic)
	path := &p.jsonPath
	if p.json == "" {
		path = nil
	}
	value, err := valueText(m.payload, path)
	if err == nil {
		f, err = p.judgeValue(f.with("value", value), m, value, path)
	}
	if err == nil && p.timePath != "" {
		f, err = p.judgeAge(f, m)
	}
	if errors.Is(err, errNoValue) {
		return p.missing("%s: %v", m.topic, err)
	}
	if err != nil {
		f.State, f.Text = checks.Critical, fmt.Sprintf("wrong payload on %s: %v", m.topic, err)
	}
	return f
}

// judgeValue compares the value, and takes numbers from it.
func (p *probe) judgeValue(f finding, m message, value string, path *jsonPath) (finding, error) {
	f.Text = fmt.Sprintf("%s is %s", m.topic, shorten(value))
	if p.given["expect"] {
		if problem := p.compare.mismatch(m.payload, path); problem != "" {
			return f, errors.New(problem)
		}
	}
	if len(p.metrics) > 0 {
		return p.judgeMetrics(f, m)
	}
	n, err := parseNumber(value)
	if err == nil {
		f.Perfdata = append(f.Perfdata, p.limited(checks.Perfdata{Label: "value", Value: n}))
		return f, nil
	}
	if p.given["warning"] || p.given["critical"] {
		return f, err
	}
	return f, nil
}

func (p *probe) judgeMetrics(f finding, m message) (finding, error) {
	document, err := parseJSON(m.payload)
	if err != nil {
		return f, err
	}
	for _, metric := range p.metrics {
		value, err := metric.path.find(document)
		if err != nil {
			return f, err
		}
		n, err := parseNumber(jsonText(value))
		if err != nil {
			return f, fmt.Errorf("%s: %w", metric.label, err)
		}
		f.Perfdata = append(f.Perfdata, metric.withDefaults(p.settings).perfdata(n))
	}
	return f, nil
}

// judgeAge adds the age by the payload's time stamp.
func (p *probe) judgeAge(f finding, m message) (finding, error) {
	age, err := p.ageOf(m)
	if err != nil {
		return f, err
	}
	item := seconds("age", age)
	item.Min = nil // a clock that is ahead makes ages negative
	item.Warning, item.Critical = p.ageWarn, p.ageCrit
	f.Perfdata = append(f.Perfdata, item)
	f.Text += ", " + showSpan(age) + " old"
	return f.with("age", showSpan(age)), nil
}

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
	return m.at.Sub(at), err
}
