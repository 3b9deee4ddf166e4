package checks

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A field is one that a publisher may give.
type field uint8

const (
	fieldExitCode field = iota
	fieldReason
	fieldPerfdata
	fieldHost
	fieldService
	fieldTime
	fieldTTL
	fieldSource
	fieldCount
)

// fieldNames are all names of the fields, a field's own before its aliases.
var fieldNames = []struct {
	name  string
	field field
}{
	{"exit_code", fieldExitCode},
	{"reason", fieldReason},
	{"perfdata", fieldPerfdata},
	{"host", fieldHost},
	{"service", fieldService},
	{"time", fieldTime},
	{"ttl", fieldTTL},
	{"source", fieldSource},
	{"exit_status", fieldExitCode},
	{"return_code", fieldExitCode},
	{"plugin_output", fieldReason},
	{"output", fieldReason},
	{"performance_data", fieldPerfdata},
	{"host_name", fieldHost},
	{"service_description", fieldService},
	{"timestamp", fieldTime},
	{"execution_end", fieldTime},
	{"check_source", fieldSource},
}

// A given field has the name that its publisher chose; "" when it is missing.
type given struct {
	name string
	value
}

// fields are those of one item, and the first thing found wrong with them.
type fields struct {
	given [fieldCount]given
	err   error
}

// read takes the item at s apart. Its error says that the text is no JSON;
// what is wrong with sound JSON is kept in f.err.
func (f *fields) read(s *scanner) error {
	if s.peek() != '{' {
		f.err = errNoObject
		_, err := s.value(1)
		return err
	}
	s.pos++
	for first := true; ; first = false {
		more, err := s.more('}', first)
		if err != nil || !more {
			return err
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		v, err := s.value(1)
		if err != nil {
			return err
		}
		f.set(name, v)
	}
}

func (f *fields) set(name, v value) {
	text := name.raw
	if !name.plain {
		text = name.appendText(nil)
	}
	for _, known := range fieldNames {
		if string(text) != known.name {
			continue
		}
		g := &f.given[known.field]
		switch {
		case g.name == "":
			*g = given{known.name, v}
		case f.err != nil:
		case g.name == known.name:
			f.err = fmt.Errorf("%s: given twice", known.name)
		default:
			f.err = fmt.Errorf("%s: given as %s too", g.name, known.name)
		}
		return
	}
}

// get returns a field and whether it is there; null is as good as missing,
// except for the exit code, which must be meant.
func (f *fields) get(k field) (given, bool) {
	g := f.given[k]
	return g, g.name != "" && (g.kind != kindNull || k == fieldExitCode)
}

var errNoObject = errors.New("an item must be a JSON object")

// wrap names the field in what is wrong with it, as its publisher does.
func (g given) wrap(err error) error { return fmt.Errorf("%s: %w", g.name, err) }

// agree is the name of a host or a service: the topic's, or where it names
// none the field's, or "".
func (f *fields) agree(k field, topic string) (string, error) {
	g, ok := f.get(k)
	if !ok {
		return topic, nil
	}
	name, err := g.objectName()
	switch {
	case err != nil:
		return "", g.wrap(err)
	case topic != "" && name != topic:
		return "", g.wrap(fmt.Errorf("%s is not the topic's %s", excerpt(name), excerpt(topic)))
	}
	return name, nil
}

// objectName is the value of a field that names a host or a service.
func (g given) objectName() (string, error) {
	name, err := g.text()
	if err != nil {
		return "", err
	}
	if strings.ContainsRune(name, utf8.RuneError) {
		return "", errNotUTF8
	}
	return name, checkName(name)
}

// state reads an exit code: 0 to 3, or the name of a state. A host is UP or
// DOWN. Any other integer of a service is UNKNOWN, and the note says so.
func (g given) state(host bool) (s State, note string, err error) {
	if g.kind != kindNumber && g.kind != kindString {
		return 0, "", fmt.Errorf("%s is not an integer", g.value)
	}
	code := string(g.appendText(nil))
	s, known := stateOf(code)
	switch {
	case known && host && (s == OK || s == Up):
		return Up, "", nil
	case known && host:
		return Down, "", nil
	case known && s == Up:
		return OK, "", nil
	case known && s == Down:
		return Critical, "", nil
	case known && s == Unreachable:
		return Unknown, "", nil
	case known:
		return s, "", nil
	case !isInteger(code):
		return 0, "", fmt.Errorf("%s is not an integer", g.value)
	case host:
		return 0, "", fmt.Errorf("%s is not 0 to 3", g.value)
	}
	return Unknown, "(exit code " + cut(code, maxExcerpt, "...") + " is out of range)", nil
}

// stateOf is the state of an exit code within 0 to 3, or the one named.
func stateOf(code string) (State, bool) {
	if len(code) == 1 && '0' <= code[0] && code[0] <= '3' {
		return State(code[0] - '0'), true
	}
	for s := OK; s < Pending; s++ {
		if name := s.String(); len(name) == len(code) && strings.EqualFold(name, code) {
			return s, true
		}
	}
	return 0, false
}

// isInteger reports whether s is an integer as JSON writes it.
func isInteger(s string) bool {
	s = strings.TrimPrefix(s, "-")
	if s == "" || s[0] == '0' && len(s) > 1 {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return !isDigit(c) })
}

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
	case t.Year() < 1970 || t.Year() > 9999:
		return time.Time{}, fmt.Errorf("%s is not between the years 1970 and 9999", g.value)
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

// parseUnix reads seconds to the nanosecond; those with an exponent as exactly
// as a float64 allows. What no time can hold is the zero time.
func parseUnix(s string) (time.Time, error) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f < 0 || f > 1e12 {
			return time.Time{}, nil
		}
		return time.UnixMicro(int64(f * 1e6)).UTC(), nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" {
		whole = "0"
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || s[0] == '-' || seconds > 1e12 {
		return time.Time{}, nil
	}
	var nanos int64
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int64(fraction[i] - '0')
		}
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

// The bounds of a ttl.
const (
	day    = 24 * time.Hour
	minTTL = time.Second
	maxTTL = 3650 * day
)

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
