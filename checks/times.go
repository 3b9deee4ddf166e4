package checks

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The bounds of a ttl.
const (
	day    = 24 * time.Hour
	minTTL = time.Second
	maxTTL = 3650 * day
)

// time reads Unix seconds, as a number or its digits, or RFC 3339.
func (g given) time() (time.Time, error) {
	s := string(g.raw)
	if g.kind != kindNumber {
		var err error
		if s, err = g.text(); err != nil {
			return time.Time{}, fmt.Errorf("%s is no time", g.value)
		}
	}
	parse := parseRFC3339
	if isNumber(s) {
		parse = parseUnix
	}
	t, err := parse(s)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%s is neither Unix seconds nor RFC 3339", g.value)
	case t.Year() < 1970:
		return time.Time{}, fmt.Errorf("%s is before 1970", g.value)
	}
	return t, nil
}

// parseRFC3339 allows lower case and a space before the hour, as section 5.6
// of the RFC does.
func parseRFC3339(s string) (time.Time, error) {
	s = strings.ToUpper(s)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

// maxUnix is far in the future, in Unix seconds; it stands for all that is
// further.
const maxUnix = 1e12

// parseUnix reads seconds to the nanosecond; those with an exponent as exactly
// as a float64 allows. What is before 1970 is the zero time.
func parseUnix(s string) (time.Time, error) {
	if s[0] == '-' {
		return time.Time{}, nil
	}
	if strings.ContainsAny(s, "eE") {
		f, _ := strconv.ParseFloat(s, 64) // +Inf when it overflows
		return time.UnixMicro(int64(min(f, maxUnix) * 1e6)).UTC(), nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" {
		whole = "0"
	}
	seconds, _ := strconv.ParseInt(whole, 10, 64) // the largest when it overflows
	seconds = min(seconds, maxUnix)
	var nanos int64
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

// duration reads seconds, as a number or its digits, or "5m", "1h30m", "1d".
func (g given) duration() (time.Duration, error) {
	s := string(g.raw)
	if g.kind != kindNumber {
		var err error
		if s, err = g.text(); err != nil {
			return 0, fmt.Errorf("%s is no duration", g.value)
		}
	}
	d, err := parseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is neither seconds nor a duration like 5m", g.value)
	case d < minTTL || d > maxTTL:
		return 0, fmt.Errorf("%s is not between 1s and 3650d", g.value)
	}
	return d, nil
}

// parseDuration is time.ParseDuration with "d" for days, which come first, and
// seconds where there is no unit.
func parseDuration(s string) (time.Duration, error) {
	if f, ok := parseNumber(s); ok {
		return scale(f, time.Second), nil
	}
	days, rest, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	f, ok := parseNumber(days)
	if !ok || rest != "" && !isDigit(rest[0]) {
		return 0, strconv.ErrSyntax
	}
	if rest == "" {
		return scale(f, day), nil
	}
	more, err := time.ParseDuration(rest)
	return scale(f, day) + min(more, maxTTL+day), err
}

// scale is f units, or more than maxTTL for all that is longer.
func scale(f float64, unit time.Duration) time.Duration {
	return time.Duration(min(f*float64(unit), float64(maxTTL+day)))
}
