package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"checkbus/checks"
)

// rate counts what comes in on a filter within the window.
func rate(ctx context.Context, p *probe) (finding, error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	var messages, bytes int
	var began time.Time // by the SUBACK, or a message before it
	c.onMessage = func(m message) {
		if began.IsZero() {
			began = m.at
		}
		if p.wants(m) {
			messages++
			bytes += len(m.payload)
		}
	}
	p.phases.enter("subscribe")
	if err := c.subscribe(ctx, p.qos, p.topic); err != nil {
		return finding{}, err
	}
	if began.IsZero() {
		began = time.Now()
	}
	p.phases.enter("message")
	ctx, cancel := p.withinWindow(ctx)
	defer cancel()
	if err := c.listen(ctx, func() bool { return false }); err != nil {
		return finding{}, err
	}
	return p.judgeRate(messages, bytes, time.Since(began)), nil
}

func (p *probe) judgeRate(messages, bytes int, within time.Duration) finding {
	perSecond := math.Round(float64(messages)/within.Seconds()*1000) / 1000
	if messages == 0 && !p.hasLimits() {
		return p.missing("no %smessage on %s within %v", p.kind(), p.topic, p.listening())
	}
	zero := 0.0
	return found(fmt.Sprintf("%.2f messages/s on %s", perSecond, p.topic),
		p.limited(checks.Perfdata{Label: "rate", Value: perSecond, Min: &zero}),
		checks.Perfdata{Label: "messages", Value: float64(messages), Min: &zero},
		checks.Perfdata{Label: "payload", Value: float64(bytes), Unit: "B", Min: &zero},
	).with("value", fmt.Sprintf("%.2f", perSecond))
}
