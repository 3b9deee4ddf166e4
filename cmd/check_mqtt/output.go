package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
)

// maxFilled is how much of a value is filled into --message, in bytes: Nagios
// keeps 8 KiB of a plugin's output (include/nagios.h, MAX_PLUGIN_OUTPUT_LENGTH).
const maxFilled = 4096

// placeholders are what --message may name.
var placeholders = []string{"text", "host", "port", "topic", "value", "payload", "age", "time"}

// template checks the placeholders of --message.
func template(p *string) func(string) error {
	return func(v string) error {
		rest := v
		for _, name := range placeholders {
			rest = strings.ReplaceAll(rest, "{"+name+"}", "")
		}
		if strings.ContainsAny(rest, "{}") {
			return errors.New("braces are for " + strings.Join(placeholders, ", "))
		}
		*p = v
		return nil
	}
}

// render judges a finding and words it.
func render(s *settings, f finding, took time.Duration) checks.Output {
	if s.jpmens != nil {
		f = s.jpmens.adapt(s, f, took)
	}
	out := f.Output
	out.Service = "MQTT"
	if f.fill != nil || strings.Contains(s.message, "{text}") {
		out.Text = fill(s, f, took)
	}
	states := []checks.State{out.State}
	for _, item := range out.Perfdata {
		if state := item.State(); state != checks.OK {
			states = append(states, state)
			out.Text += ", " + alert(item, state)
		}
	}
	out.Perfdata = slices.Concat(f.passed, out.Perfdata)
	out.State = checks.Worst(states...)
	if s.insecure {
		out.Text += " (certificate not verified)"
	}
	return out
}

// fill puts the values of a finding into --message. It is not asked where the
// check came to none, unless the message has its text.
func fill(s *settings, f finding, took time.Duration) string {
	if s.message == "" {
		return f.Text
	}
	values := map[string]string{
		"text":  f.Text,
		"host":  s.host,
		"port":  fmt.Sprint(s.port),
		"topic": s.topic,
		"time":  fmt.Sprintf("%.3fs", took.Seconds()),
	}
	for name, value := range f.fill {
		values[name] = shorten(value, maxFilled)
	}
	var pairs []string
	for _, name := range placeholders {
		pairs = append(pairs, "{"+name+"}", values[name])
	}
	return strings.NewReplacer(pairs...).Replace(s.message)
}

// alert says which range a value has left.
func alert(item checks.Perfdata, state checks.State) string {
	limit := item.Warning
	if state == checks.Critical {
		limit = item.Critical
	}
	value := strconv.FormatFloat(item.Value, 'f', -1, 64) + item.Unit
	verb := "is outside"
	if strings.HasPrefix(limit.String(), "@") {
		verb = "is within"
	}
	return fmt.Sprintf("%s %s %s %s", item.Label, value, verb, strings.TrimPrefix(limit.String(), "@"))
}
