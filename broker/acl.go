package broker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"checkbus/checks"
)

// An ACL says who may publish and read which topics, as Mosquitto 2 reads its
// acl_file (mosquitto.conf(5), and mosquitto_acl_check_default in its
// src/security_default.c). It does not change and may be used by many
// goroutines at once.
//
// Like Mosquitto it has no say in subscriptions: every one is granted, and a
// message is delivered when its topic may be read.
type ACL struct {
	users    map[string][]aclRule // by user name; "" is anonymous
	patterns []aclRule            // for everybody, after those of the user
}

// An aclRule grants or denies the topics that match filter. In a pattern %u and %c
// stand for the user name and the client identifier.
type aclRule struct {
	access aclAccess
	filter string
}

// An aclAccess is what a rule grants, as bits, or aclDeny, which holds for
// reading and writing.
type aclAccess uint8

const (
	aclDeny  aclAccess = 0
	aclRead  aclAccess = 1
	aclWrite aclAccess = 2
)

var aclWords = map[string]aclAccess{
	"deny": aclDeny, "read": aclRead, "write": aclWrite, "readwrite": aclRead | aclWrite,
}

// ReadACL reads an ACL file. The error names the file and every line that is
// wrong; Mosquitto does not start with such a file either.
func ReadACL(path string) (*ACL, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read ACL: %w", err)
	}
	return parseACL(path, data)
}

func parseACL(path string, data []byte) (*ACL, error) {
	a := &ACL{users: map[string][]aclRule{}}
	var (
		errs []error
		user string
		n    int
	)
	for line := range bytes.Lines(data) {
		n++
		if err := a.parseLine(string(line), &user); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, n, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, rules := range a.users {
		deniesFirst(rules)
	}
	deniesFirst(a.patterns)
	return a, nil
}

// asciiSpace is what isspace(3) says of ASCII: Mosquitto drops it at the end
// of a line and around topics and names. Between words it takes spaces only.
const asciiSpace = " \t\n\v\f\r"

// parseLine adds what line says to a. user is whose section it stands in.
func (a *ACL) parseLine(line string, user *string) error {
	line = strings.TrimRight(line, asciiSpace)
	if strings.HasPrefix(line, "#") || strings.Trim(line, " ") == "" {
		return nil
	}
	if strings.Contains(line, "\x00") {
		return errors.New("the line holds a NUL byte")
	}
	word, rest := cutWord(line)
	switch word {
	case "user":
		if rest == "" {
			return errors.New("user: the name is missing")
		}
		*user = strings.Trim(rest, asciiSpace)
	case "topic", "pattern":
		r, err := parseRule(rest)
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		if word == "topic" {
			a.users[*user] = append(a.users[*user], r)
		} else {
			a.patterns = append(a.patterns, r)
		}
	default:
		return fmt.Errorf("%q is none of topic, pattern and user (a comment's # stands first in its line)", word)
	}
	return nil
}

// parseRule reads what follows "topic" or "pattern": a topic alone, which
// grants both, or an access word and a topic, which may hold spaces.
func parseRule(s string) (aclRule, error) {
	word, rest := cutWord(s)
	r := aclRule{access: aclRead | aclWrite, filter: word}
	if rest != "" {
		var known bool
		if r.access, known = aclWords[word]; !known {
			return aclRule{}, fmt.Errorf("access %q is none of read, write, readwrite and deny", word)
		}
		r.filter = strings.Trim(rest, asciiSpace)
	}
	return r, checkFilter(r.filter)
}

// cutWord returns the first word of s, and what follows the space after it.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " "), " ")
	return word, rest
}

func deniesFirst(rules []aclRule) {
	slices.SortStableFunc(rules, func(a, b aclRule) int {
		return min(int(a.access), 1) - min(int(b.access), 1)
	})
}

// Allows reports whether a client may write, or else read, topic: publish to
// it, have it as its will, or get its messages. user is its user name, or ""
// for an anonymous client.
//
// The first rule that denies topic, or grants the access, decides: the user's
// denials, the user's grants, the denials among the patterns, their grants. So
// a user's grant wins over a pattern's denial. A user name or client
// identifier with "+" or "#" in it gets nothing from patterns.
//
// It does not allocate while a filter has fewer than 256 bytes.
func (a *ACL) Allows(user, client string, writes bool, topic string) bool {
	want := aclRead
	if writes {
		want = aclWrite
	}
	for _, r := range a.users[user] {
		if r.concerns(want) && filterMatches(r.filter, topic) {
			return r.access != aclDeny
		}
	}
	if len(a.patterns) == 0 || strings.ContainsAny(user, "+#") || strings.ContainsAny(client, "+#") {
		return false
	}
	var room [256]byte
	for _, r := range a.patterns {
		if !r.concerns(want) || user == "" && strings.Contains(r.filter, "%u") {
			continue
		}
		if filterMatches(expand(room[:0], r.filter, user, client), topic) {
			return r.access != aclDeny
		}
	}
	return false
}

func (r aclRule) concerns(want aclAccess) bool { return r.access == aclDeny || r.access&want != 0 }

// expand appends pattern to buf, the names in the place of %u and %c. They may
// stand anywhere in a level, and a name may hold slashes.
func expand(buf []byte, pattern, user, client string) []byte {
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "%u"):
			buf = append(buf, user...)
			i++
		case strings.HasPrefix(pattern[i:], "%c"):
			buf = append(buf, client...)
			i++
		default:
			buf = append(buf, pattern[i])
		}
	}
	return buf
}

// DefaultAccess says who may do what where there is no ACL file. A user is a
// host: it writes its own results, Root/<user> and below, and reads everything
// but what lies at and below Root for others; batches, on Root itself, it
// neither writes nor reads. Besides, as a bridge, it tells whether it is up, on
// $SYS/broker/connection/<client>/state. Anonymous clients may do everything when they are
// Local. Others write nothing, and read what every user may read: not Root.
type DefaultAccess struct {
	Root  string // first levels of the topics of results: "nagios"
	Local bool   // the client came over loopback or a Unix socket
}

// Allows reports whether a client may write, or else read, topic. user is its
// user name, or "" for an anonymous client.
func (d DefaultAccess) Allows(user, client string, writes bool, topic string) bool {
	switch {
	case user == "" && d.Local:
		return true
	case user == "":
		return !writes && !within(d.Root, topic)
	case within(d.Root, topic):
		return topic != d.Root && within(checks.EncodeLevel(user), topic[len(d.Root)+1:])
	}
	return !writes || topic == stateTopic(client)
}
