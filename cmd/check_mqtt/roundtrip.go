package main

import (
	"context"
	"fmt"
	"time"

	"checkbus/checks"

	"github.com/mochi-mqtt/server/v2/packets"
)

// An echo waits for a message that was sent to come back.
type echo struct {
	from     string // topic of the echo
	own      bool   // nobody else writes there
	sent     time.Time
	right    comparison
	json     *jsonPath
	received *message
	others   int
	wrong    *message // the newest of the others
	problem  string   // what is wrong with it
}

// take judges one message. What is retained, or came before anything was sent,
// cannot be the echo.
func (e *echo) take(m message) {
	if e.received != nil || m.retain || m.topic != e.from || m.at.Before(e.sent) {
		return
	}
	if problem := e.right.mismatch(m.payload, e.json); problem != "" {
		e.others++
		e.wrong, e.problem = &m, problem
		return
	}
	e.received = &m
}

// decided reports whether nothing more is to be waited for: the echo is there,
// or another payload where only the echo can be.
func (e *echo) decided() bool { return e.received != nil || e.own && e.wrong != nil }

// roundtrip publishes and waits for the echo, by the same topic or that of
// whoever answers.
func roundtrip(ctx context.Context, p *probe) (finding, error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	e := p.newEcho()
	p.phases.enter("subscribe")
	if err := c.subscribe(ctx, p.qos, e.from); err != nil {
		return finding{}, err
	}
	p.phases.enter("publish")
	e.sent, c.onMessage = time.Now(), e.take
	if err := c.publish(ctx, message{topic: p.topic, payload: []byte(p.payload), qos: p.qos}); err != nil {
		return finding{}, err
	}
	p.phases.enter("echo")
	if !e.decided() {
		err = c.await(ctx, func(packets.Packet) bool { return e.decided() })
	}
	p.phases.end()
	if e.received == nil && e.wrong != nil {
		return p.wrongEcho(e), nil
	}
	if err != nil {
		return finding{}, err
	}
	return p.echoed(e, e.received.at.Sub(e.sent)), nil
}

// newEcho is what to wait for after publishing to --topic.
func (p *probe) newEcho() *echo {
	e := &echo{from: p.topic, own: !p.given["topic"], right: p.compare}
	if !p.given["expect"] {
		e.right.want = p.payload
	}
	if p.json != "" {
		e.json = &p.jsonPath
	}
	if p.replyTopic != "" {
		e.from, e.own = p.replyTopic, true
	}
	return e
}

func (p *probe) wrongEcho(e *echo) finding {
	text := fmt.Sprintf("wrong payload on %s: %s", e.from, e.problem)
	if e.others > 1 {
		text += fmt.Sprintf(" (%d messages, none of them the echo)", e.others)
	}
	f := found(text).with("payload", string(e.wrong.payload))
	f.State = checks.Critical
	return f
}

func (p *probe) echoed(e *echo, rtt time.Duration) finding {
	data := append([]checks.Perfdata{p.limited(seconds("rtt", rtt))}, p.phaseData()...)
	text := fmt.Sprintf("echo from %s after %s", p.address(), showSpan(rtt))
	return found(text, data...).with("value", fmt.Sprintf("%.6f", rtt.Seconds())).with("payload", string(e.received.payload))
}
