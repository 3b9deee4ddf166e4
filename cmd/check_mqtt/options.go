package main

import "slices"

// An option is one switch of the command line. What it means is the same in
// every mode that takes it.
type option struct {
	long  string
	short string // one letter, or nothing
	arg   string // what follows, "" for a switch
	help  string
	modes string // the modes that take it, "" for all
	set   func(string) error
}

// options is the table that the command line, the help, and the tests of man
// page, completion and command definitions are made from.
func options(s *settings) []option {
	return slices.Concat(brokerOptions(s), resultOptions(s), modeOptions(s))
}

func brokerOptions(s *settings) []option {
	return []option{
		{"hostname", "H", "HOST", "the broker (localhost)", "", hostname(&s.host)},
		{"port", "p", "PORT", "its port (1883; tls 8883, ws 80, wss 443)", "", number(&s.port, 1, 65535)},
		{"transport", "", "KIND", "tcp, tls, ws or wss (tcp; in mode cert tls)", "", choice(&s.transport, "tcp", "tls", "ws", "wss")},
		{"path", "", "PATH", "of the WebSocket, with its query (/mqtt)", "", request(&s.path)},
		{"mqtt-version", "", "VERSION", "3.1.1 or 5 (3.1.1)", "", protocol(&s.version)},
		{"timeout", "t", "TIME", "the check ends within it, whatever happens (10s)", "", span(&s.timeout)},
		{"user", "u", "NAME", "user name", "", text(&s.user)},
		{"password-file", "", "FILE", "its first line is the password; else " + passwordVariable + " in the environment is", "", text(&s.passFile)},
		{"password", "", "TEXT", "the password, for everyone to see in the process list", "", text(&s.password)},
		{"client-id", "", "ID", "client identifier (made up)", "", text(&s.clientID)},
		{"keepalive", "", "TIME", "keep-alive, whole seconds, 0 for none (60s)", "", keepalive(&s.keepalive)},
		{"clean", "", "BOOL", "false resumes the session of the client identifier (true)", "", boolean(&s.clean)},
		{"ca", "", "FILE", "PEM certificates to trust (those of the system)", "", text(&s.ca)},
		{"cert", "", "FILE", "PEM client certificate", "", text(&s.cert)},
		{"key", "", "FILE", "PEM key of the client certificate", "", text(&s.key)},
		{"server-name", "", "NAME", "name that the broker's certificate is for (the host)", "", text(&s.serverName)},
		{"insecure", "", "", "verify no certificate; the output says so", "", boolean(&s.insecure)},
	}
}

func resultOptions(s *settings) []option {
	const judged = "connect roundtrip read age rate sys will cert gateway"
	return []option{
		{"warning", "w", "RANGE", "WARNING when the mode's value leaves it", judged, text(&s.warning)},
		{"critical", "c", "RANGE", "CRITICAL when the mode's value leaves it", judged, text(&s.critical)},
		{"timeout-state", "", "STATE", "result of a time-out (critical)", "", state(&s.timeoutState)},
		{"missing-state", "", "STATE", "result when the data is not there (critical; in sys and acl-deny unknown)", "read age rate sys acl-deny passthrough", state(&s.missingState)},
		{"message", "", "TEXT", "the text to print, of a failure only with {text} in it; {text} {host} {port} {topic} {value} {payload} {age} {time} are filled in", "", template(&s.message)},
		{"verbose", "v", "", "more after the first line; -vvv shows the packets", "", func(string) error { s.verbose++; return nil }},
		{"version", "V", "", "print the version", "", boolean(&s.show)},
		{"help", "h", "", "print this", "", boolean(&s.help)},
	}
}

func modeOptions(s *settings) []option {
	const topical = "roundtrip read age rate will acl-deny passthrough"
	return []option{
		{"topic", "T", "TOPIC", "topic, or filter where the mode only reads", topical, topic(&s.topic)},
		{"qos", "", "0|1|2", "quality of service (0)", topical, qos(&s.qos)},
		{"reply-topic", "", "TOPIC", "where the echo comes back", "roundtrip", topic(&s.replyTopic)},
		{"payload", "", "TEXT", "what is published (made up)", "roundtrip will acl-deny", text(&s.payload)},
		{"expect", "", "TEXT", "what the payload, or the value at --json, is compared with", "roundtrip read", text(&s.compare.want)},
		{"operator", "", "OP", "how: eq, ne, contains or regex (eq)", "roundtrip read", choice(&s.compare.operator, "eq", "ne", "contains", "regex")},
		{"json", "", "PATH", "compare the value at this path of a JSON payload", "roundtrip read", path(&s.json, &s.jsonPath)},
		{"metric", "", "SPEC", "LABEL=PATH[,unit=U][,min=N][,max=N][,warning=RANGE][,critical=RANGE], repeatable", "read", s.addMetric},
		{"time-path", "", "PATH", "of the payload's time stamp, $ for all of it: Unix time or RFC 3339", "read age passthrough", path(&s.timePath, &s.timeAt)},
		{"age-warning", "", "RANGE", "WARNING when the age at --time-path leaves it", "read passthrough", text(&s.ageWarning)},
		{"age-critical", "", "RANGE", "CRITICAL when the age at --time-path leaves it", "read passthrough", text(&s.ageCritical)},
		{"retained", "", "HOW", "accept, ignore or require retained messages (accept; in age without --time-path and in rate ignore)", "read age rate passthrough", choice(&s.retained, "accept", "ignore", "require")},
		{"window", "", "TIME", "how long to listen (age and rate 5s, acl-deny 1s, else until the time-out)", "read age rate sys acl-deny passthrough", span(&s.window)},
		{"per-topic", "", "", "performance data for every topic", "age", boolean(&s.perTopic)},
		{"value", "", "SPEC", "NAME[,label=L][,unit=U][,min=N][,max=N][,warning=RANGE][,critical=RANGE] below $SYS/broker, repeatable", "sys", s.addValue},
		{"deny", "", "ACTION", "publish or subscribe: what must be refused", "acl-deny", choice(&s.deny, "publish", "subscribe")},
		{"witness-user", "", "NAME", "a user who may do it, to prove that others may not", "acl-deny", text(&s.witness)},
		{"witness-password-file", "", "FILE", "the witness's password", "acl-deny", text(&s.witnessPass)},
		{"result-host", "", "HOST", "host to publish a result for", "gateway", text(&s.object.Host)},
		{"result-service", "", "NAME", "its service (none: for the host itself)", "gateway", text(&s.object.Service)},
		{"core", "", "NAME", "nagios or icinga: the core that must have it (any)", "gateway", choice(&s.core, "nagios", "icinga")},
		{"root", "", "TOPIC", "the gateway's topic for results (nagios)", "gateway", topic(&s.root)},
	}
}

func (s *settings) addMetric(v string) error {
	m, err := parseMetric(v)
	s.metrics = append(s.metrics, m)
	return err
}

func (s *settings) addValue(v string) error {
	value, err := parseSysValue(v)
	s.values = append(s.values, value)
	return err
}
