package main

import (
	"errors"
	"fmt"
	"strings"

	"checkbus/checks"
)

// A metric is a number to take from a payload and to judge.
type metric struct {
	label      string
	path       jsonPath // of read
	unit       string
	min, max   *float64
	warn, crit checks.Range
}

// perfdata is the metric with a value.
func (m metric) perfdata(value float64) checks.Perfdata {
	return checks.Perfdata{
		Label: m.label, Value: value, Unit: m.unit,
		Warning: m.warn, Critical: m.crit, Min: m.min, Max: m.max,
	}
}

// parseMetric reads --metric: LABEL=PATH and then what parseAttributes takes.
func parseMetric(text string) (metric, error) {
	label, spec, ok := strings.Cut(text, "=")
	if !ok || label == "" {
		return metric{}, fmt.Errorf("%q is not LABEL=PATH[,unit=U][,min=N][,max=N][,warning=RANGE][,critical=RANGE]", text)
	}
	path, rest, err := cutJSONPath(spec)
	if err != nil {
		return metric{}, err
	}
	m := metric{label: label, path: path}
	return m, m.parseAttributes(rest)
}

// parseAttributes reads ",unit=U,min=N,max=N,warning=RANGE,critical=RANGE",
// any of them in any order: the ranges count the unit where that is a time.
func (m *metric) parseAttributes(text string) error {
	var warning, critical string
	for item := range strings.SplitSeq(strings.TrimPrefix(text, ","), ",") {
		if item == "" {
			continue
		}
		var err error
		switch key, value, _ := strings.Cut(item, "="); key {
		case "label":
			m.label = value
		case "unit":
			m.unit = value
		case "min":
			m.min, err = parseBound(value)
		case "max":
			m.max, err = parseBound(value)
		case "warning":
			warning = value
		case "critical":
			critical = value
		default:
			err = errors.New("none of label, unit, min, max, warning, critical")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", item, err)
		}
	}
	var err, err2 error
	m.warn, err = parseLimit(warning, units[m.unit])
	m.crit, err2 = parseLimit(critical, units[m.unit])
	return errors.Join(err, err2)
}

func parseBound(text string) (*float64, error) {
	n, err := parseNumber(text)
	return &n, err
}

// withDefaults gives a metric -w and -c where it has no such range of its own.
func (m metric) withDefaults(s *settings) metric {
	if m.warn.IsZero() {
		m.warn = s.warn
	}
	if m.crit.IsZero() {
		m.crit = s.crit
	}
	return m
}
