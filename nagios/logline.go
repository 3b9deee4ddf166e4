package nagios

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
)

// What a line of the log tells of an object.
type lineKind uint8

const (
	alert           lineKind = iota + 1 // it was checked: another state, attempt or state type
	standing                            // what it is anyway, after a start or a rotation
	downtime                            // it began or ended
	flapping                            // it began or ended
	acknowledgement                     // an operator set or removed it
)

// A logLine is a line of the core's log that tells of an object.
type logLine struct {
	checks.Object
	kind lineKind
	at   time.Time // in whole seconds

	state   checks.State // of an alert or a standing state, like the next three
	soft    bool
	attempt int
	output  string // the first line of it, without performance data

	on     bool // downtime, flapping or acknowledgement: it began
	sticky bool // the acknowledgement lasts until recovery
}

// parseLine reads one line without its newline. It passes over everything that
// tells of no object, and over PASSIVE SERVICE CHECK and PASSIVE HOST CHECK,
// which tell the state before the check (Nagios Core 4.4.6, checks.c).
func parseLine(line []byte) (logLine, bool) {
	at, rest, ok := parseStamp(line)
	if !ok {
		return logLine{}, false
	}
	title, data, ok := bytes.Cut(rest, []byte(": "))
	if !ok {
		return logLine{}, false
	}
	l := logLine{at: time.Unix(at, 0)}
	switch string(title) {
	case "SERVICE ALERT":
		return l.verdict(alert, data, true)
	case "HOST ALERT":
		return l.verdict(alert, data, false)
	case "CURRENT SERVICE STATE", "INITIAL SERVICE STATE":
		return l.verdict(standing, data, true)
	case "CURRENT HOST STATE", "INITIAL HOST STATE":
		return l.verdict(standing, data, false)
	case "SERVICE DOWNTIME ALERT":
		return l.mark(downtime, data, true)
	case "HOST DOWNTIME ALERT":
		return l.mark(downtime, data, false)
	case "SERVICE FLAPPING ALERT":
		return l.mark(flapping, data, true)
	case "HOST FLAPPING ALERT":
		return l.mark(flapping, data, false)
	case "EXTERNAL COMMAND":
		return l.command(data)
	}
	return logLine{}, false
}

// parseStamp reads the "[seconds] " that every line begins with.
func parseStamp(line []byte) (at int64, rest []byte, ok bool) {
	if len(line) == 0 || line[0] != '[' {
		return 0, nil, false
	}
	digits, rest, ok := bytes.Cut(line[1:], []byte("] "))
	if !ok || len(digits) > 12 {
		return 0, nil, false
	}
	at, err := strconv.ParseInt(string(digits), 10, 64)
	return at, rest, err == nil && at >= 0
}

// named reads the object that data begins with, and returns the fields behind it.
func (l *logLine) named(data []byte, service bool) (rest []byte, ok bool) {
	host, rest, ok := bytes.Cut(data, []byte(";"))
	if !ok || len(host) == 0 {
		return nil, false
	}
	l.Host = text(host)
	if !service {
		return rest, true
	}
	name, rest, ok := bytes.Cut(rest, []byte(";"))
	if !ok || len(name) == 0 {
		return nil, false
	}
	l.Service = text(name)
	return rest, true
}

// verdict reads "host[;service];state;type;attempt;output". The output may
// hold semicolons.
func (l logLine) verdict(kind lineKind, data []byte, service bool) (logLine, bool) {
	rest, ok := l.named(data, service)
	fields := bytes.SplitN(rest, []byte(";"), 4)
	if !ok || len(fields) < 4 {
		return logLine{}, false
	}
	l.kind = kind
	if l.state, ok = parseState(string(fields[0]), service); !ok {
		return logLine{}, false
	}
	switch string(fields[1]) {
	case "SOFT":
		l.soft = true
	case "HARD":
	default:
		return logLine{}, false
	}
	attempt, err := strconv.Atoi(string(fields[2]))
	if err != nil || attempt < 1 {
		return logLine{}, false
	}
	l.attempt = attempt
	if string(fields[3]) != "(null)" { // what printf makes of no output
		l.output = text(fields[3])
	} else if kind == standing { // no check has reported what it is
		return logLine{}, false
	}
	return l, true
}

func parseState(word string, service bool) (checks.State, bool) {
	first, last := checks.Up, checks.Unreachable
	if service {
		first, last = checks.OK, checks.Unknown
	}
	for s := first; s <= last; s++ {
		if s.String() == word {
			return s, true
		}
	}
	return 0, false
}

// mark reads "host[;service];STARTED;text", or STOPPED, CANCELLED, DISABLED.
func (l logLine) mark(kind lineKind, data []byte, service bool) (logLine, bool) {
	rest, ok := l.named(data, service)
	if !ok {
		return logLine{}, false
	}
	word, _, _ := bytes.Cut(rest, []byte(";"))
	l.kind = kind
	switch string(word) {
	case "STARTED":
		l.on = true
	case "STOPPED", "CANCELLED", "DISABLED":
	default:
		return logLine{}, false
	}
	return l, true
}

// command reads the external commands about acknowledgements. The core logs
// them before it looks whether they make sense.
func (l logLine) command(data []byte) (logLine, bool) {
	name, args, _ := bytes.Cut(data, []byte(";"))
	service := false
	switch string(name) {
	case "ACKNOWLEDGE_SVC_PROBLEM":
		l.on, service = true, true
	case "ACKNOWLEDGE_HOST_PROBLEM":
		l.on = true
	case "REMOVE_SVC_ACKNOWLEDGEMENT":
		service = true
	case "REMOVE_HOST_ACKNOWLEDGEMENT":
	default:
		return logLine{}, false
	}
	// The last field of a removal has no semicolon behind it.
	rest, ok := l.named(append(args[:len(args):len(args)], ';'), service)
	if !ok {
		return logLine{}, false
	}
	l.kind = acknowledgement
	sticky, _, _ := bytes.Cut(rest, []byte(";"))
	l.sticky = string(sticky) == "2" // ACKNOWLEDGEMENT_STICKY (common.h)
	return l, true
}

// text is what the core wrote, in whatever encoding, as valid UTF-8 without
// control characters but newline and tab, which become spaces.
func text(raw []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(raw), "\uFFFD"))
}
