package broker

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of topics and filters. Mosquitto 2 has the same (TOPIC_HIERARCHY_LIMIT
// in its config.h, and MQTT's longest string); besides, the library's index
// takes time that grows with the square of the levels.
const (
	maxFilterBytes = 65535
	maxLevels      = 200 // slashes
)

// checkFilter tells what is wrong with a topic filter, by section 4.7 of the
// MQTT specification: "+" and "#" are whole levels, and "#" is the last.
func checkFilter(filter string) error {
	switch {
	case filter == "":
		return errors.New("the topic is empty")
	case len(filter) > maxFilterBytes:
		return fmt.Errorf("the topic has %d bytes; the most is %d", len(filter), maxFilterBytes)
	case strings.Count(filter, "/") > maxLevels:
		return fmt.Errorf("the topic has more than %d levels", maxLevels)
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case strings.Contains(level, "+") && level != "+":
			return fmt.Errorf("topic %q: a + stands for a whole level", filter)
		case strings.Contains(level, "#") && (level != "#" || i != len(levels)-1):
			return fmt.Errorf("topic %q: a # stands for all of the last levels", filter)
		}
	}
	return nil
}

// filterMatches reports whether filter, for which checkFilter returned nil,
// matches topic, by section 4.7 of the MQTT specification: "a/#" matches "a"
// too, and a wildcard at the start matches no topic that begins with "$". It
// does not allocate.
func filterMatches[F string | []byte](filter F, topic string) bool {
	if len(filter) == 0 || len(topic) == 0 || (filter[0] == '$') != (topic[0] == '$') {
		return false
	}
	for f, t := 0, 0; ; f, t = f+1, t+1 { // a level each time
		switch {
		case f < len(filter) && filter[f] == '#':
			return true
		case f < len(filter) && filter[f] == '+':
			f++
			for t < len(topic) && topic[t] != '/' {
				t++
			}
		default:
			for f < len(filter) && filter[f] != '/' && t < len(topic) && topic[t] == filter[f] {
				f, t = f+1, t+1
			}
		}
		switch filterEnds, topicEnds := f == len(filter), t == len(topic); {
		case !filterEnds && filter[f] != '/' || !topicEnds && topic[t] != '/':
			return false
		case topicEnds:
			return filterEnds || f == len(filter)-2 && filter[f+1] == '#'
		case filterEnds:
			return false
		}
	}
}

// bridgeState is where brokers tell each other whether a bridge is up.
const bridgeState = "$SYS/broker/connection/+/state"

// stateTopic is that of a bridge by its client identifier.
func stateTopic(client string) string { return "$SYS/broker/connection/" + client + "/state" }

// Reserved reports whether only the gateway publishes topic, whatever an ACL
// says: "checkbus" and below, and what Mosquitto keeps from its clients as
// well (acl__check_dollar in its src/security.c): "$SYS" and below, but for
// the state that a bridge publishes to its peer, and "$share".
func Reserved(topic string) bool {
	if strings.HasPrefix(topic, "$SYS") {
		return !filterMatches(bridgeState, topic)
	}
	return strings.HasPrefix(topic, "$share") || within("checkbus", topic)
}

// within reports whether topic is parent or below it.
func within(parent, topic string) bool {
	rest, ok := strings.CutPrefix(topic, parent)
	return ok && (rest == "" || rest[0] == '/')
}
