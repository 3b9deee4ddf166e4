package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"checkbus/checks"
)

// maxTopics bounds how many topics a wildcard is followed into, maxTopicText
// their names, in bytes.
const (
	maxTopics    = 10000
	maxTopicText = 8 << 20
)

// Ages are when topics last spoke.
type ages struct {
	spoke map[string]time.Time
	text  int    // bytes of the topics
	bad   string // why the newest payload without a time stamp has none; "" where all have
}

// age finds the topic that has been silent longest: by the time stamp in its
// payload, else by when a live message came within the window.
func age(ctx context.Context, p *probe) (finding, error) {
	heard, err := p.lastSpoken(ctx)
	if err != nil {
		return finding{}, err
	}
	return p.judgeAges(heard, time.Now()), nil
}

// lastSpoken listens for the window; where the topic is a single one, its
// first message is enough.
func (p *probe) lastSpoken(ctx context.Context) (*ages, error) {
	heard := &ages{spoke: map[string]time.Time{}}
	take := func(m message) {
		if p.wants(m) {
			heard.take(p, m)
		}
	}
	single := !strings.ContainsAny(p.topic, "+#")
	enough := func() bool { return single && (len(heard.spoke) > 0 || heard.bad != "") }
	err := p.hear(ctx, take, enough, p.topic)
	return heard, err
}

// take notes when the topic of m spoke.
func (a *ages) take(p *probe, m message) {
	at := m.at
	if p.timePath != "" {
		old, err := p.ageOf(m)
		if err != nil {
			a.bad = "no time stamp: " + m.topic + ": " + err.Error()
			return
		}
		at = m.at.Add(-old)
	}
	if _, known := a.spoke[m.topic]; !known {
		if a.full() {
			return
		}
		a.text += len(m.topic)
	}
	a.spoke[m.topic] = at
}

// full reports whether no more topics are followed.
func (a *ages) full() bool { return len(a.spoke) >= maxTopics || a.text >= maxTopicText }

// judgeAges puts the oldest first. What has no time stamp is missing, and hides
// nothing of the others.
func (p *probe) judgeAges(heard *ages, now time.Time) finding {
	if len(heard.spoke) == 0 {
		return p.missing("%s", cmp.Or(heard.bad, fmt.Sprintf("no %smessage on %s within %v", p.kind(), p.topic, p.listening())))
	}
	topics := slices.SortedFunc(maps.Keys(heard.spoke), func(a, b string) int {
		return cmp.Or(heard.spoke[a].Compare(heard.spoke[b]), cmp.Compare(a, b))
	})
	silence := func(topic string) time.Duration { return now.Sub(heard.spoke[topic]) }
	oldest := topics[0]
	silent := silence(oldest)
	text := fmt.Sprintf("%s spoke %s ago", oldest, showSpan(silent))
	if len(topics) > 1 {
		text += fmt.Sprintf(", %d topics", len(topics))
	}
	if heard.full() {
		text += " and perhaps more"
	}
	f := found(text, p.ageData("age", silent)).
		with("topic", oldest).with("age", showSpan(silent)).with("value", fmt.Sprintf("%.3f", silent.Seconds()))
	if heard.bad != "" {
		f.State = p.missingState
		f.Text += ", " + heard.bad
	}
	for _, topic := range topics {
		if p.perTopic {
			f.Perfdata = append(f.Perfdata, p.ageData(topic, silence(topic)))
		}
		if p.verbose > 0 {
			f.Long = append(f.Long, topic+" "+showSpan(silence(topic)))
		}
	}
	return f
}

// ageData is performance data of an age. A clock that is ahead makes those by a
// time stamp negative, so that they have no minimum.
func (p *probe) ageData(label string, age time.Duration) checks.Perfdata {
	item := p.limited(seconds(label, age))
	if p.timePath != "" {
		item.Min = nil
	}
	return item
}
