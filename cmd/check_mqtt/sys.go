package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A sysValue is one --value of mode sys.
type sysValue struct {
	metric
	topics []string // where brokers publish it; only one of them does
}

// A sysName is where brokers publish what Mosquitto calls by another name.
// "+" stands for a node of EMQX, which gives every node topics of its own.
type sysName struct {
	unit   string
	topics []string
}

// sysNames has the usual values: Mosquitto's name (man mosquitto, "Broker
// Status") for the key, then mochi-mqtt's and EMQX's where they differ. Of
// these topics no broker publishes two.
var sysNames = map[string]sysName{
	"version":                    {"", []string{"broker/version", "brokers/+/version"}},
	"uptime":                     {"s", []string{"broker/uptime", "brokers/+/uptime"}},
	"clients/connected":          {"", []string{"broker/clients/connected", "brokers/+/stats/connections/count"}},
	"clients/maximum":            {"", []string{"broker/clients/maximum", "brokers/+/stats/connections/max"}},
	"clients/total":              {"", []string{"broker/clients/total", "brokers/+/stats/sessions/count"}},
	"subscriptions/count":        {"", []string{"broker/subscriptions/count", "broker/subscriptions", "brokers/+/stats/subscriptions/count"}},
	"shared_subscriptions/count": {"", []string{"broker/shared_subscriptions/count", "brokers/+/stats/subscriptions/shared/count"}},
	"retained messages/count":    {"", []string{"broker/retained messages/count", "broker/retained", "brokers/+/stats/retained/count"}},
	"heap/current":               {"B", []string{"broker/heap/current", "broker/system/memory"}},
	"bytes/received":             {"c", []string{"broker/bytes/received", "broker/load/bytes/received", "brokers/+/metrics/bytes/received"}},
	"bytes/sent":                 {"c", []string{"broker/bytes/sent", "broker/load/bytes/sent", "brokers/+/metrics/bytes/sent"}},
	"messages/received":          {"c", []string{"broker/messages/received", "brokers/+/metrics/messages/received"}},
	"messages/sent":              {"c", []string{"broker/messages/sent", "brokers/+/metrics/messages/sent"}},
	"publish/messages/dropped":   {"c", []string{"broker/publish/messages/dropped", "broker/messages/dropped", "brokers/+/metrics/messages/dropped"}},
	"packets/received":           {"c", []string{"broker/packets/received", "brokers/+/metrics/packets/received"}},
	"packets/sent":               {"c", []string{"broker/packets/sent", "brokers/+/metrics/packets/sent"}},
}

// parseSysValue reads NAME and then what parseAttributes takes. NAME is below
// $SYS/broker, or begins with $SYS/ itself.
func parseSysValue(text string) (sysValue, error) {
	name, attributes, _ := strings.Cut(text, ",")
	known, ok := sysNames[name]
	if !ok {
		known = sysName{unit: sysUnit(name), topics: []string{"broker/" + name}}
	}
	v := sysValue{metric: metric{label: name, unit: known.unit}}
	for _, t := range known.topics {
		v.topics = append(v.topics, "$SYS/"+t)
	}
	if strings.HasPrefix(name, "$SYS/") {
		v.topics = []string{name}
	}
	if name == "" {
		return v, fmt.Errorf("%q has no name", text)
	}
	return v, v.parseAttributes(attributes)
}

// sysUnit is the unit of Mosquitto's other values: totals are counters, and
// load averages, which end in 1min and so on, are per minute, for which
// performance data has no unit.
func sysUnit(name string) string {
	switch {
	case strings.HasPrefix(name, "heap/") || strings.HasSuffix(name, "/bytes"):
		return "B"
	case strings.HasSuffix(name, "/received") || strings.HasSuffix(name, "/sent") || strings.HasSuffix(name, "/dropped"):
		return "c"
	}
	return ""
}

// sys waits for every value, and judges them.
func sys(ctx context.Context, p *probe) (finding, error) {
	var filters []string
	for _, v := range p.values {
		filters = append(filters, v.topics...)
	}
	slices.Sort(filters)
	filters = slices.Compact(filters)
	got := map[string]string{}
	take := func(m message) {
		for _, f := range filtersOf(m.topic, filters) {
			got[f] = string(m.payload)
		}
	}
	enough := func() bool {
		return !slices.ContainsFunc(p.values, func(v sysValue) bool { return v.heard(got) == "" })
	}
	if err := p.hear(ctx, take, enough, filters...); err != nil {
		return finding{}, err
	}
	return p.judgeSys(got), nil
}

// filtersOf are those of the filters that a topic matches.
func filtersOf(topic string, filters []string) (matched []string) {
	levels := strings.Split(topic, "/")
	for _, f := range filters {
		want := strings.Split(f, "/")
		if slices.EqualFunc(want, levels, func(w, l string) bool { return w == l || w == "+" }) {
			matched = append(matched, f)
		}
	}
	return matched
}

// heard is the topic by which the value came, "" when it did not.
func (v sysValue) heard(got map[string]string) string {
	for _, t := range v.topics {
		if _, ok := got[t]; ok {
			return t
		}
	}
	return ""
}

// text is what a payload that came by topic says. EMQX 5 counts its time in
// milliseconds (apps/emqx/src/emqx_sys.erl, uptime), others in words.
func (v sysValue) text(topic, payload string) string {
	ms, err := strconv.ParseInt(payload, 10, 64)
	if err != nil || topic != "$SYS/brokers/+/uptime" || v.unit != "s" {
		return payload
	}
	return fmt.Sprintf("%d seconds", ms/1000)
}

func (p *probe) judgeSys(got map[string]string) finding {
	f := found("")
	var parts, absent []string
	for _, v := range p.values {
		topic := v.heard(got)
		if topic == "" {
			absent = append(absent, v.topics[0])
			continue
		}
		text := v.text(topic, got[topic])
		n, err := parseSysNumber(text)
		m := v.withDefaults(p.settings)
		switch {
		case err == nil:
			f.Perfdata = append(f.Perfdata, m.perfdata(n))
		case !m.warn.IsZero() || !m.crit.IsZero():
			absent = append(absent, v.topics[0]+" as a number")
		}
		parts = append(parts, strings.TrimSpace(v.label+" "+shorten(text, maxExcerpt)))
		f = f.with("value", text)
	}
	f.Text = strings.Join(parts, ", ")
	if len(absent) > 0 {
		f.State = p.missingState
		f.Text = strings.Join(append(parts, "missing "+strings.Join(absent, ", ")), ", ")
	}
	return f
}

var sysSpan = regexp.MustCompile(`(\d+) (day|hour|minute|second)s?`)

// parseSysNumber reads a number, or a time as Mosquitto ("12 seconds") and
// EMQX ("1 days, 2 hours, 3 minutes, 4 seconds") write it, in seconds.
func parseSysNumber(text string) (float64, error) {
	found := sysSpan.FindAllStringSubmatch(text, -1)
	if found == nil {
		return parseNumber(text)
	}
	var sum time.Duration
	for _, match := range found {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * units[match[2][:1]]
	}
	return sum.Seconds(), nil
}
