package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxTopics bounds how many topics a wildcard is followed into.
const maxTopics = 10000

// ages are when topics last spoke.
type ages map[string]time.Time

// age finds the topic that has been silent longest: by the time stamp in its
// payload, else by when a live message came within the window.
func age(ctx context.Context, p *probe) (finding, error) {
	spoke, bad, err := p.lastSpoken(ctx)
	if err != nil {
		return finding{}, err
	}
	if bad != "" {
		return p.missing("no time stamp: %s", bad), nil
	}
	if len(spoke) == 0 {
		return p.missing("no %smessage on %s within %v", p.kind(), p.topic, p.listening()), nil
	}
	return p.judgeAges(spoke, time.Now()), nil
}

// lastSpoken listens for the window; where the topic is a single one, its
// first message is enough. bad says why a payload has no time stamp.
func (p *probe) lastSpoken(ctx context.Context) (spoke ages, bad string, err error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return nil, "", err
	}
	defer c.close()
	spoke = ages{}
	c.onMessage = func(m message) {
		if !p.wants(m) || len(spoke) >= maxTopics {
			return
		}
		at := m.at
		if p.timePath != "" {
			old, err := p.ageOf(m)
			if err != nil {
				bad = m.topic + ": " + err.Error()
				return
			}
			at = m.at.Add(-old)
		}
		spoke[m.topic] = at
	}
	p.phases.enter("subscribe")
	if err := c.subscribe(ctx, p.qos, p.topic); err != nil {
		return nil, "", err
	}
	p.phases.enter("message")
	ctx, cancel := p.withinWindow(ctx)
	defer cancel()
	single := !strings.ContainsAny(p.topic, "+#")
	err = c.listen(ctx, func() bool { return single && len(spoke) > 0 || bad != "" })
	return spoke, bad, err
}

// judgeAges puts the oldest first.
func (p *probe) judgeAges(spoke ages, now time.Time) finding {
	topics := slices.SortedFunc(maps.Keys(spoke), func(a, b string) int {
		return cmp.Or(spoke[a].Compare(spoke[b]), cmp.Compare(a, b))
	})
	oldest := topics[0]
	silent := now.Sub(spoke[oldest])
	text := fmt.Sprintf("%s spoke %s ago", oldest, showSpan(silent))
	if len(topics) > 1 {
		text += fmt.Sprintf(", %d topics", len(topics))
	}
	if len(topics) == maxTopics {
		text += " and perhaps more"
	}
	f := found(text, p.limited(seconds("age", silent))).
		with("topic", oldest).with("age", showSpan(silent)).with("value", fmt.Sprintf("%.3f", silent.Seconds()))
	for _, topic := range topics {
		if p.perTopic {
			f.Perfdata = append(f.Perfdata, p.limited(seconds(topic, now.Sub(spoke[topic]))))
		}
		if p.verbose > 0 {
			f.Long = append(f.Long, fmt.Sprintf("%s %s", topic, showSpan(now.Sub(spoke[topic]))))
		}
	}
	return f
}
