package broker

import (
	"errors"
	"fmt"
	"strings"

	"checkbus/checks"
)

// StatusTopic is where the gateway says whether it is there: {"state":"online"},
// and offlineStatus at the end.
const StatusTopic = "checkbus/status"

const offlineStatus = `{"state":"offline"}`

// mostClientID is the longest client identifier, in bytes (MQTT 3.1.1, 1.5.3).
const mostClientID = 65535

// A Subscribe is an outside broker from which results are taken as well, and
// where what the gateway publishes is published as well.
type Subscribe struct {
	Remote
	// Share is the name of a shared subscription, $share/<Share>/<root>/#, in
	// which several gateways take a part of the results each. "" is a
	// subscription of this gateway's own.
	Share string `toml:"share"`
	// ClientID is the gateway's client identifier there, to which the broker
	// keeps its session. "" is one that is made up once and kept in Dir. No two
	// gateways may have the same.
	ClientID string `toml:"client_id"`
	// QoS is that of the subscription, 1 or 2: with less, the broker would keep
	// nothing for a gateway that is away.
	QoS int `toml:"qos"`
	// Publish says whether what the gateway publishes below checkbus is published
	// there too, each topic with PublishPrefix before it.
	Publish       bool   `toml:"publish"`
	PublishPrefix string `toml:"publish_prefix"`
	// Dir is a directory that exists, where the gateway remembers who it is there
	// and to what it is subscribed.
	Dir string `toml:"-"`
}

// DefaultSubscribe returns the settings of an outside broker of which only the
// address has to be told.
func DefaultSubscribe() Subscribe { return Subscribe{QoS: 1, Publish: true} }

// Validate returns every mistake in s, each named by its key.
func (s Subscribe) Validate() error {
	errs := s.Remote.validate()
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if strings.ContainsAny(s.Share, "/+#\x00") {
		wrong("share", "%q has a character that the name of a shared subscription must not have: / + #", s.Share)
	}
	if len(s.ClientID) > mostClientID || strings.Contains(s.ClientID, "\x00") {
		wrong("client_id", "is longer than %d bytes, or has a zero byte", mostClientID)
	}
	if s.QoS != 1 && s.QoS != 2 {
		wrong("qos", "%d is neither 1 nor 2", s.QoS)
	}
	switch topic := s.PublishPrefix + StatusTopic; {
	case strings.ContainsAny(s.PublishPrefix, "+#\x00") || strings.HasPrefix(topic, "$"):
		wrong("publish_prefix", "%q does not begin a topic", s.PublishPrefix)
	case s.PublishPrefix != "" && !s.Publish:
		wrong("publish_prefix", "needs publish")
	}
	for i, err := range errs {
		errs[i] = fmt.Errorf("subscribe.%w", err)
	}
	return errors.Join(errs...)
}

// Check reads the files that s names, and returns every mistake in them.
func (s Subscribe) Check() error {
	errs := s.Remote.check()
	for i, err := range errs {
		errs[i] = fmt.Errorf("subscribe.%w", err)
	}
	return errors.Join(errs...)
}

// CheckRoot returns an error when what is published would come back as results,
// which are on root and below.
func (s Subscribe) CheckRoot(root string) error {
	if topic := s.PublishPrefix + StatusTopic; within(root, topic) {
		return fmt.Errorf("subscribe.publish_prefix: what is published on %s would come back as a result", topic)
	}
	return nil
}

// filter is what the gateway subscribes to.
func (s Subscribe) filter(root string) string {
	if s.Share == "" {
		return root + "/#"
	}
	return "$share/" + s.Share + "/" + root + "/#"
}

// outgoing is where topic is published at the outside broker. Gateways that
// share the results there are several, so each has a status of its own.
func (s Subscribe) outgoing(topic, id string) string {
	if topic == StatusTopic && s.Share != "" {
		topic += "/" + checks.EncodeLevel(id)
	}
	return s.PublishPrefix + topic
}

// Describe says what s does, for an operator.
func (s Subscribe) Describe(root string) string {
	text := strings.Join(s.Address, ", ") + ", " + s.filter(root)
	if s.Publish {
		text += ", publishes " + s.PublishPrefix + "checkbus/#"
	}
	return text
}
