package checks

import (
	"fmt"
	"math"
	"strings"
)

// A Range is a threshold by the Monitoring Plugins Development Guidelines,
// section "Threshold and Ranges", and the thing to give flag.TextVar:
//
//	10      alerts below 0 or above 10
//	10:     alerts below 10
//	~:10    alerts above 10
//	10:20   alerts below 10 or above 20
//	@10:20  alerts from 10 to 20
//
// The bounds belong to the range. The zero Range is no threshold: it contains
// every value, and never alerts.
type Range struct {
	start, end float64
	inside     bool // "@"
	set        bool
}

// ParseRange reads [@][start:][end] to the letter: start is a number or "~"
// for negative infinity, end a number or nothing for infinity, and one of the
// two is there. Refused, with an error that wraps ErrInvalid: a start after
// its end, and what other programs take for numbers, such as NaN, Inf, 0x10,
// 1_000, "10,5", spaces.
func ParseRange(s string) (Range, error) {
	bounds, inside := strings.CutPrefix(s, "@")
	r := Range{end: math.Inf(1), inside: inside, set: true}
	start, end, hasStart := strings.Cut(bounds, ":")
	if !hasStart {
		start, end = "0", bounds
	}
	var ok bool
	if start == "~" {
		r.start = math.Inf(-1)
	} else if r.start, ok = parseNumber(start); !ok {
		return Range{}, fmt.Errorf("%w: range %s: no number or ~ before the colon", ErrInvalid, excerpt(s))
	}
	if end != "" || !hasStart {
		if r.end, ok = parseNumber(end); !ok {
			return Range{}, fmt.Errorf("%w: range %s: its end is no number", ErrInvalid, excerpt(s))
		}
	}
	if r.start > r.end {
		return Range{}, fmt.Errorf("%w: range %s: its start is after its end", ErrInvalid, excerpt(s))
	}
	return r, nil
}

// IsZero reports whether r is no threshold.
func (r Range) IsZero() bool { return !r.set }

// Contains reports whether value lies within the bounds, whatever "@" makes
// of it. NaN lies within none, but that of the zero Range.
func (r Range) Contains(value float64) bool {
	return !r.set || r.start <= value && value <= r.end
}

// Alerts reports whether value calls for an alert: outside the bounds, or
// within them when the range begins with "@". NaN lies outside.
func (r Range) Alerts(value float64) bool {
	return r.set && r.Contains(value) == r.inside
}

// String is the shortest form that ParseRange reads as r, or "" for the zero
// Range.
func (r Range) String() string {
	if !r.set {
		return ""
	}
	var b strings.Builder
	if r.inside {
		b.WriteByte('@')
	}
	switch {
	case math.IsInf(r.start, -1):
		b.WriteString("~:")
	case r.start != 0 || math.IsInf(r.end, 1):
		b.WriteString(formatNumber(r.start) + ":")
	}
	if !math.IsInf(r.end, 1) {
		b.WriteString(formatNumber(r.end))
	}
	return b.String()
}

// MarshalText is String.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRange.
func (r *Range) UnmarshalText(text []byte) error {
	parsed, err := ParseRange(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}
