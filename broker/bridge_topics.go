package broker

import (
	"errors"
	"fmt"
	"strings"
)

// A mapping is one line of a bridge's topics: what passes, which way, and how
// topics are called on either side (mosquitto.conf(5), "topic").
type mapping struct {
	line        string
	in, out     bool // in is from the remote
	qos         byte // the most that a message passes with
	local       string
	remote      string // the prefixes
	localTopic  string
	remoteTopic string // the filters that are subscribed to
}

// parseMapping reads a line: pattern [direction [qos [local-prefix
// [remote-prefix]]]], separated by spaces, where "" stands for nothing. The
// defaults are out, 0, and no prefixes.
func parseMapping(line string) (mapping, error) {
	fields := strings.Fields(line)
	if len(fields) == 0 || len(fields) > 5 {
		return mapping{}, fmt.Errorf("%q is not of the form: pattern direction qos local-prefix remote-prefix", line)
	}
	given := [5]string{"", "out", "0", "", ""}
	for i, f := range fields {
		if f == `""` {
			f = ""
		}
		given[i] = f
	}
	pattern := given[0]
	m := mapping{line: line, local: given[3], remote: given[4]}
	m.localTopic, m.remoteTopic = m.local+pattern, m.remote+pattern
	switch given[1] {
	case "in":
		m.in = true
	case "out":
		m.out = true
	case "both":
		m.in, m.out = true, true
	default:
		return m, fmt.Errorf("%q: the direction %q is none of in, out and both", line, given[1])
	}
	if q := given[2]; len(q) != 1 || q[0] < '0' || q[0] > '2' {
		return m, fmt.Errorf("%q: the QoS %q is none of 0, 1 and 2", line, q)
	}
	m.qos = given[2][0] - '0'
	return m, m.check(pattern)
}

// check tells what is wrong with the topics of m.
func (m mapping) check(pattern string) error {
	switch {
	case strings.ContainsAny(m.local+m.remote, "+#"):
		return fmt.Errorf("%q: a prefix has a wildcard", m.line)
	case pattern == "" && (m.local == "" || m.remote == ""):
		return fmt.Errorf(`%q: the pattern "" needs both prefixes, which are the topics then`, m.line)
	case strings.ContainsRune(m.line, 0):
		return fmt.Errorf("%q: has a zero character", m.line)
	case strings.HasPrefix(m.localTopic, "$share/") || strings.HasPrefix(m.remoteTopic, "$share/"):
		return fmt.Errorf("%q: shared subscriptions do not pass a bridge", m.line)
	case m.in && Reserved(m.localTopic):
		return fmt.Errorf("%q: only the gateway publishes on %s here; give another local prefix", m.line, m.localTopic)
	}
	for _, filter := range []string{m.localTopic, m.remoteTopic} {
		if err := checkFilter(filter); err != nil {
			return fmt.Errorf("%q: %w", m.line, err)
		}
	}
	return nil
}

// toRemote returns what a topic of this side is called on the other.
func (m mapping) toRemote(topic string) string { return m.remote + strings.TrimPrefix(topic, m.local) }

// toLocal is the other way round.
func (m mapping) toLocal(topic string) string { return m.local + strings.TrimPrefix(topic, m.remote) }

// A bridgeMap is all lines of a bridge.
type bridgeMap []mapping

// parseMappings reads the lines of a bridge, and returns every mistake in them.
func parseMappings(lines []string) (bridgeMap, []error) {
	var all bridgeMap
	var errs []error
	for _, line := range lines {
		m, err := parseMapping(line)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, m)
	}
	if len(lines) == 0 {
		errs = append(errs, errors.New("required"))
	}
	return all, errs
}

// toRemote finds the name on the other side of a topic that goes out. The first
// line that matches decides, as in Mosquitto.
func (all bridgeMap) toRemote(topic string) (string, bool) {
	for _, m := range all {
		if m.out && filterMatches(m.localTopic, topic) {
			return m.toRemote(topic), true
		}
	}
	return "", false
}

// toLocal finds the name here of a topic that comes in.
func (all bridgeMap) toLocal(topic string) (string, bool) {
	for _, m := range all {
		if m.in && filterMatches(m.remoteTopic, topic) {
			return m.toLocal(topic), true
		}
	}
	return "", false
}

// feeds reports whether m and n pass the same topics both ways under different
// names, on the same side of one bridge or across two bridges here: then a
// message could come back under another name, again and again.
func (m mapping) feeds(n mapping, sameBridge bool) bool {
	if !m.in || !m.out || !n.in || !n.out || m.local == n.local && m.remote == n.remote {
		return false
	}
	return filtersOverlap(m.localTopic, n.localTopic) || sameBridge && filtersOverlap(m.remoteTopic, n.remoteTopic)
}

// filtersOverlap reports whether some topic matches both filters.
func filtersOverlap(a, b string) bool {
	if (a[0] == '$') != (b[0] == '$') {
		return false
	}
	for {
		levelA, restA, moreA := strings.Cut(a, "/")
		levelB, restB, moreB := strings.Cut(b, "/")
		switch {
		case levelA == "#" || levelB == "#":
			return true
		case levelA != levelB && levelA != "+" && levelB != "+":
			return false
		case !moreA && !moreB:
			return true
		case !moreA:
			return restB == "#" // "a/#" matches "a"
		case !moreB:
			return restA == "#"
		}
		a, b = restA, restB
	}
}
