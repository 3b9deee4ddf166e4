package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"checkbus/checks"
)

// A jpmens is what the options of jpmens/check-mqtt say beyond the settings.
type jpmens struct {
	subscription string
	readonly     bool
	short        bool
	warning      expression
	critical     expression
}

// options are those of jpmens/check-mqtt 3.1. They follow that plugin, so some
// letters mean what they do not mean here: -t is a topic, -p a password, -v a
// value.
func (j *jpmens) options(s *settings) []option {
	ignored := func(string) error { return nil }
	return []option{
		{"host", "H", "HOST", "the broker (localhost)", "", hostname(&s.host)},
		{"port", "P", "PORT", "its port (1883)", "", number(&s.port, 1, 65535)},
		{"username", "u", "NAME", "user name", "", text(&s.user)},
		{"password", "p", "TEXT", "password; " + passwordVariable + " in the environment is safer", "", text(&s.password)},
		{"max-wait", "m", "SECONDS", "time-out (4)", "", span(&s.timeout)},
		{"keepalive", "e", "SECONDS", "keep-alive (60)", "", keepalive(&s.keepalive)},
		{"sleep", "", "SECONDS", "taken, without effect", "", ignored},
		{"cafile", "a", "FILE", "PEM certificates to trust; turns TLS on", "", text(&s.ca)},
		{"certfile", "C", "FILE", "PEM client certificate", "", text(&s.cert)},
		{"keyfile", "k", "FILE", "PEM key of the client certificate", "", text(&s.key)},
		{"insecure", "n", "", "do not verify the name in the broker's certificate", "", boolean(&s.anyName)},
		{"topic", "t", "TOPIC", "where to publish (nagios/test)", "", topic(&s.topic)},
		{"subscription", "s", "TOPIC", "where to read (the topic)", "", topic(&j.subscription)},
		{"readonly", "r", "", "publish nothing", "", boolean(&j.readonly)},
		{"payload", "l", "TEXT", "what to publish (PiNG); no command is run", "", noCommand(&s.payload)},
		{"jsonpath", "j", "PATH", "compare the value at this path of a JSON payload", "", path(&s.json, &s.jsonPath)},
		{"value", "v", "TEXT", "what to compare with (PiNG); no command is run", "", noCommand(&s.compare.want)},
		{"operator", "o", "OP", "eq equal lt lessthan gt greaterthan ct contains any (equal)", "", jpmensOperator(&s.compare.operator)},
		{"warning", "w", "EXPR", "WARNING when a comparison such as 'payload < 4 or payload > 28' holds", "", j.warning.set},
		{"critical", "c", "EXPR", "CRITICAL when it holds", "", j.critical.set},
		{"short", "S", "", "a shorter text", "", boolean(&j.short)},
		{"debug", "d", "", "show the packets", "", func(string) error { s.verbose = 3; return nil }},
		{"version", "V", "", "print the version", "", boolean(&s.show)},
		{"help", "h", "", "print this", "", boolean(&s.help)},
	}
}

// parseJpmens reads a command line of jpmens/check-mqtt, and settles what it
// means here.
func parseJpmens(args []string) (*settings, error) {
	s, j := defaults(), &jpmens{}
	s.jpmens = j
	s.mode = modeNamed("roundtrip")
	s.port, s.timeout, s.qos = 1883, 4*time.Second, 2
	s.topic, s.payload, s.compare.want = "nagios/test", "PiNG", "PiNG"
	if err := s.read(j.options(s), args); err != nil || s.help || s.show {
		return s, err
	}
	if s.user == "" {
		s.password = "" // as there
	}
	s.jsonPath.python = true
	s.given = map[string]bool{"expect": true, "topic": true, "transport": true, "qos": true, "password": s.given["password"]}
	if len(j.warning)+len(j.critical) > 0 {
		s.compare.operator = "any"
	}
	if s.ca != "" {
		s.transport = "tls"
	} else {
		s.cert, s.key = "", ""
	}
	switch {
	case j.readonly && j.subscription != "":
		s.topic = j.subscription
	case !j.readonly:
		s.replyTopic = j.subscription
	}
	if j.readonly {
		s.mode = modeNamed("read")
	}
	return s, s.finish()
}

// noCommand takes a text, but not jpmens' "!command", whose output it would
// use: no command is ever run.
func noCommand(p *string) func(string) error {
	return func(v string) error {
		if strings.HasPrefix(v, "!") {
			return errors.New("no command is run: work the text out in the command definition, or use --time-path for ages")
		}
		*p = v
		return nil
	}
}

func jpmensOperator(p *string) func(string) error {
	names := map[string]string{
		"eq": "eq", "equal": "eq", "lt": "lt", "lessthan": "lt", "gt": "gt", "greaterthan": "gt",
		"ct": "contains", "contains": "contains", "any": "any",
	}
	return func(v string) error {
		operator, ok := names[v]
		if !ok {
			return errors.New("none of eq, equal, lt, lessthan, gt, greaterthan, ct, contains, any")
		}
		*p = operator
		return nil
	}
}

// adapt words a finding as jpmens/check-mqtt does, with its performance data,
// and lets its expressions decide.
func (j *jpmens) adapt(s *settings, f finding, took time.Duration) finding {
	payload, ok := f.fill["payload"]
	if !ok {
		return f
	}
	at := &s.jsonPath
	if s.json == "" {
		at = nil
	}
	value, err := valueText([]byte(payload), at)
	f.Perfdata = []checks.Perfdata{seconds("response_time", took)}
	if n, err := parseNumber(value); err == nil {
		f.Perfdata = append(f.Perfdata, checks.Perfdata{Label: "value", Value: n})
	}
	if f.State != checks.OK || err != nil {
		return f
	}
	f.Text = fmt.Sprintf("message from %s at %s in %.2fs", cmp.Or(s.replyTopic, s.topic), s.host, took.Seconds())
	if j.short {
		f.Text = "value=" + value
	}
	return j.decide(f, value)
}

// decide sets the state by the expressions, the critical one first.
func (j *jpmens) decide(f finding, value string) finding {
	for _, rule := range []struct {
		when  expression
		state checks.State
	}{{j.critical, checks.Critical}, {j.warning, checks.Warning}} {
		holds, err := rule.when.holds(value)
		if err != nil {
			f.State, f.Text = checks.Critical, err.Error()
			return f
		}
		if holds {
			f.State = rule.state
			f.Text += ", " + rule.when.String()
			return f
		}
	}
	return f
}
