package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseNumber reads a payload or JSON value as a finite number: digits as
// JSON or Go writes them with white space around, or true and false, as JSON or
// Python writes them, as 1 and 0.
func parseNumber(text string) (float64, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "true", "True":
		return 1, nil
	case "false", "False":
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%s is no number", excerpt([]byte(text)))
	}
	return n, nil
}

// parseTime reads a time stamp: Unix seconds with fractions, Unix milliseconds
// (a number of at least 100,000,000,000), or RFC 3339, whose section 5.6 allows
// lower case and a space before the hour, as Python writes it.
func parseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 1e14 {
		if n >= 1e11 {
			n /= 1000
		}
		whole, fraction := math.Modf(n)
		return time.Unix(int64(whole), int64(fraction*1e9)), nil
	}
	date := strings.ToUpper(text)
	if len(date) > 10 && date[10] == ' ' {
		date = date[:10] + "T" + date[11:]
	}
	if at, err := time.Parse(time.RFC3339, date); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%s is neither Unix time nor RFC 3339", excerpt([]byte(text)))
}

// units are the suffixes of times in options; a number without one counts the
// option's base unit.
var units = map[string]time.Duration{
	"ms": time.Millisecond,
	"s":  time.Second,
	"m":  time.Minute,
	"h":  time.Hour,
	"d":  24 * time.Hour,
}

// parseSpan reads a positive time such as 500ms, 10, 10s, 1.5m or 7d; a number
// alone counts seconds.
func parseSpan(text string) (time.Duration, error) {
	digits := strings.TrimRight(text, "mshd")
	unit, ok := units[text[len(digits):]]
	if len(digits) == len(text) {
		unit, ok = time.Second, true
	}
	n, err := strconv.ParseFloat(digits, 64)
	span := n * float64(unit)
	if !ok || err != nil || !(span > 0) || span > float64(math.MaxInt64/2) {
		return 0, fmt.Errorf("%q is no positive time such as 10, 500ms, 10s, 5m, 1h or 7d", text)
	}
	return time.Duration(span), nil
}

// showSpan words a time for people: 0.42 ms, 12.3 s, 5.0 min, 2.1 h, 3.2 d.
func showSpan(d time.Duration) string {
	for _, u := range []struct {
		from, unit time.Duration
		name       string
	}{
		{48 * time.Hour, 24 * time.Hour, "d"},
		{2 * time.Hour, time.Hour, "h"},
		{2 * time.Minute, time.Minute, "min"},
		{time.Second, time.Second, "s"},
	} {
		if d.Abs() >= u.from {
			return fmt.Sprintf("%.1f %s", float64(d)/float64(u.unit), u.name)
		}
	}
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
