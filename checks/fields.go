package checks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

// set takes note of a member of the item. null is as good as not given, except
// for the exit code, which must be meant.
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
		case v.kind == kindNull && known.field != fieldExitCode:
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

// get returns a field and whether it is there.
func (f *fields) get(k field) (given, bool) {
	g := f.given[k]
	return g, g.name != ""
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
