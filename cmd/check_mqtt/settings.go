package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"checkbus/checks"
	"checkbus/internal/credentials"
)

// passwordVariable is where the password is when no option says so.
const passwordVariable = "CHECK_MQTT_PASSWORD"

// Settings are what the options say.
type settings struct {
	mode    *mode
	help    bool
	show    bool    // the version
	jpmens  *jpmens // run as jpmens/check-mqtt
	verbose int

	host       string
	port       int // 0: by the transport
	transport  string
	path       url.URL // of the WebSocket, and its query
	version    byte
	timeout    time.Duration
	keepalive  time.Duration
	clientID   string
	clean      bool
	qos        byte
	user       string
	password   string
	passFile   string
	ca         string
	cert       string
	key        string
	serverName string
	insecure   bool // no verification at all
	anyName    bool // the chain is verified, the name is not

	warning      string // ranges as written: the unit of numbers is the mode's
	critical     string
	ageWarning   string
	ageCritical  string
	warn, crit   checks.Range
	ageWarn      checks.Range
	ageCrit      checks.Range
	timeoutState checks.State
	missingState checks.State
	message      string

	topic       string
	replyTopic  string
	payload     string
	compare     comparison
	json        string
	jsonPath    jsonPath
	metrics     []metric
	retained    string
	window      time.Duration
	timePath    string
	timeAt      jsonPath
	perTopic    bool
	values      []sysValue
	deny        string
	witness     string
	witnessPass string
	object      checks.Object
	core        string
	root        string

	given map[string]bool // long names of the options that were set
}

// defaults are the settings without any option.
func defaults() *settings {
	return &settings{
		host:         "localhost",
		transport:    "tcp",
		path:         url.URL{Path: "/mqtt"},
		version:      4,
		timeout:      10 * time.Second,
		keepalive:    time.Minute,
		clean:        true,
		timeoutState: checks.Critical,
		missingState: checks.Pending, // the mode's own
		retained:     "accept",
		root:         "nagios",
		given:        map[string]bool{},
	}
}

var ports = map[string]int{"tcp": 1883, "tls": 8883, "ws": 80, "wss": 443}

// finish settles what depends on several options, and names what does not go
// together.
func (s *settings) finish() error {
	if s.mode.tls && !s.given["transport"] {
		s.transport = "tls"
	}
	if s.port == 0 {
		s.port = ports[s.transport]
	}
	if s.window == 0 {
		s.window = min(s.mode.window, s.timeout/2)
	}
	if s.missingState == checks.Pending {
		s.missingState = s.mode.missing
	}
	if s.payload == "" {
		s.payload = "check_mqtt " + random(8)
	}
	if s.topic == "" && s.mode.publishes && !s.mode.needsTopic {
		s.topic = ownTopic()
	}
	if !s.given["retained"] && (s.mode.name == "rate" || s.mode.name == "age" && s.timePath == "") {
		s.retained = "ignore" // it says nothing about when
	}
	if !s.given["qos"] && s.deny == "publish" {
		s.qos = 1 // which MQTT 5 answers
	}
	return errors.Join(s.compare.compile(), s.settleRanges(), s.conflicts())
}

// settleRanges reads the ranges, in the unit of the mode.
func (s *settings) settleRanges() error {
	var errs []error
	read := func(option, text string, base time.Duration, r *checks.Range) {
		var err error
		if *r, err = parseLimit(text, base); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", option, err))
		}
	}
	read("warning", s.warning, s.mode.unit, &s.warn)
	read("critical", s.critical, s.mode.unit, &s.crit)
	read("age-warning", s.ageWarning, time.Second, &s.ageWarn)
	read("age-critical", s.ageCritical, time.Second, &s.ageCrit)
	return errors.Join(errs...)
}

// conflicts names options that miss another, or contradict one.
func (s *settings) conflicts() error {
	secure := s.transport == "tls" || s.transport == "wss"
	rules := []struct {
		broken bool
		text   string
	}{
		{s.host == "", "--hostname is empty"},
		{s.mode.needsTopic && s.topic == "", "--topic is required by mode " + s.mode.name},
		{s.mode.tls && !secure, "mode " + s.mode.name + " needs --transport tls or wss"},
		{!secure && (s.ca != "" || s.cert != "" || s.serverName != "" || s.insecure), "--ca, --cert, --server-name and --insecure need --transport tls or wss"},
		{(s.cert == "") != (s.key == ""), "--cert and --key belong together"},
		{s.given["path"] && s.transport != "ws" && s.transport != "wss", "--path needs --transport ws or wss"},
		{s.given["password"] && s.given["password-file"], "--password and --password-file exclude each other"},
		{s.user == "" && s.version == 4 && (s.password != "" || s.passFile != ""), "a password needs --user with MQTT 3.1.1"},
		{s.given["operator"] && !s.given["expect"], "--operator needs --expect"},
		{s.mode.name == "roundtrip" && s.json != "" && !s.given["expect"], "--json needs --expect"},
		{!s.clean && s.clientID == "", "--clean false needs a --client-id to keep the session of"},
		{s.window >= s.timeout, fmt.Sprintf("--window %v does not fit into --timeout %v", s.window, s.timeout)},
		{s.replyTopic != "" && !s.given["topic"], "--reply-topic needs --topic"},
		{strings.ContainsAny(s.replyTopic, "+#"), "--reply-topic is a single topic: wildcards cannot be"},
		{(s.ageWarning != "" || s.ageCritical != "") && s.timePath == "", "--age-warning and --age-critical need --time-path"},
		{s.mode.name == "age" && s.given["retained"] && s.retained != "ignore" && s.timePath == "", "retained messages have no age without --time-path"},
		{s.mode.name == "sys" && len(s.values) == 0, "--value is required by mode sys"},
		{s.mode.name == "acl-deny" && s.deny == "", "--deny is required by mode acl-deny"},
		{s.mode.name == "gateway" && s.object.Host == "", "--result-host is required by mode gateway"},
		{s.mode.name == "gateway" && s.given["client-id"] && s.clientID == "", "mode gateway needs a --client-id, or none: rejections are told to it"},
		{s.mode.publishes && strings.ContainsAny(s.topic, "+#") && s.deny != "subscribe", "--topic is published to: wildcards cannot be"},
		{s.witness != "" && strings.ContainsAny(s.topic, "+#"), "--witness-user publishes to --topic: wildcards cannot be"},
		{twice(s.labels()) != "", fmt.Sprintf("the label %q is used twice", twice(s.labels()))},
		{(s.witness == "") != (s.witnessPass == ""), "--witness-user and --witness-password-file belong together"},
	}
	var errs []error
	for _, r := range rules {
		if r.broken {
			errs = append(errs, errors.New(r.text))
		}
	}
	return errors.Join(errs...)
}

// labels are those of the performance data of --metric, --value, and
// --time-path in mode read, sorted.
func (s *settings) labels() []string {
	var labels []string
	for _, m := range s.metrics {
		labels = append(labels, m.label)
	}
	for _, v := range s.values {
		labels = append(labels, v.label)
	}
	if s.mode.name == "read" && s.timePath != "" {
		labels = append(labels, "age")
	}
	slices.Sort(labels)
	return labels
}

// twice is the first of sorted texts that is there twice, or "".
func twice(sorted []string) string {
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i]
		}
	}
	return ""
}

// identity is who the check connects as.
func (s *settings) identity() (identity, error) {
	password := s.password
	switch {
	case s.passFile != "":
		var err error
		if password, err = credentials.Password(s.passFile); err != nil {
			return identity{}, fmt.Errorf("--password-file: %w", err)
		}
	case password == "":
		password = os.Getenv(passwordVariable)
	}
	return identity{clientID: s.ownID(), user: s.user, password: password}, nil
}

// ownID is the client identifier. Where it is made up, it and that of a second
// client have at most 23 letters and digits, which every broker takes (MQTT
// 3.1.1, section 3.1.3.1).
func (s *settings) ownID() string {
	if s.clientID != "" || s.given["client-id"] {
		return s.clientID
	}
	return "checkmqtt" + random(4)
}

// ownTopic is a topic that nobody else uses.
func ownTopic() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return "check_mqtt/" + host + "/" + random(8)
}

// random is n random bytes in hexadecimal.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
