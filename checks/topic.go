package checks

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how long the name of a host or a service may be, in bytes: its
// topic, with every byte escaped, stays below MQTT's limit of 65,535.
const maxName = 1024

// Topic is the MQTT topic of o below root: root itself for the zero Object,
// "nagios/web1" for a host, "nagios/web1/Disk /var" for a service, whose
// slashes become topic levels. ParseTopic undoes it.
func (o Object) Topic(root string) string {
	switch {
	case o.Host == "":
		return root
	case o.IsHost():
		return root + "/" + EncodeLevel(o.Host)
	}
	return root + "/" + EncodeLevel(o.Host) + "/" + escape(o.Service, "+#")
}

// Validate tells what is wrong with the names of o, with an error that wraps
// ErrInvalid: a missing host, more than 1,024 bytes, text that is not UTF-8,
// control characters, and ";" and "!", which separate names in Nagios and in
// Icinga.
func (o Object) Validate() error {
	if err := checkName(o.Host); err != nil {
		return fmt.Errorf("%w: host: %w", ErrInvalid, err)
	}
	if o.IsHost() {
		return nil
	}
	if err := checkName(o.Service); err != nil {
		return fmt.Errorf("%w: service: %w", ErrInvalid, err)
	}
	return nil
}

// ParseTopic tells whose results topic carries: the zero Object for root
// itself, where each result names its host, else a host, or a service whose
// name is all levels after the host. Errors wrap ErrInvalid. The Object shares
// no memory with topic.
func ParseTopic(root, topic string) (Object, error) {
	if topic == root {
		return Object{}, nil
	}
	rest, below := strings.CutPrefix(topic, root)
	if !below || rest[0] != '/' {
		return Object{}, fmt.Errorf("%w: topic %s: not below %q", ErrInvalid, excerpt(topic), root)
	}
	host, service, hasService := strings.Cut(strings.Clone(rest[1:]), "/")
	o := Object{Host: unescape(host), Service: unescape(service)}
	if hasService && service == "" {
		return Object{}, fmt.Errorf("%w: topic %s: service: empty", ErrInvalid, excerpt(topic))
	}
	if err := o.Validate(); err != nil {
		return Object{}, fmt.Errorf("%w (topic %s)", err, excerpt(topic))
	}
	return o, nil
}

// EncodeLevel writes s as one topic level: %2F, %2B and %23 for "/", "+" and
// "#", and %25 for a "%" that would read as one of these four.
func EncodeLevel(s string) string { return escape(s, "/+#") }

// escape encodes the characters of special, and each "%" that begins what
// unescape would take for an escape.
func escape(s, special string) string {
	if !strings.ContainsAny(s, special) && !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		_, misread := escaped(s[i:])
		if misread || strings.IndexByte(special, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape undoes escape; a "%" that begins none of the four escapes stands
// for itself.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, ok := escaped(s[i:]); ok {
			b.WriteByte(c)
			i += 2
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// escaped is the character whose escape s begins with.
func escaped(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' || s[1] != '2' {
		return 0, false
	}
	switch s[2] {
	case 'F', 'f':
		return '/', true
	case 'B', 'b':
		return '+', true
	case '3':
		return '#', true
	case '5':
		return '%', true
	}
	return 0, false
}

// What can be wrong with a name.
var (
	errEmpty    = errors.New("empty")
	errTooLong  = fmt.Errorf("longer than %d bytes", maxName)
	errNotUTF8  = errors.New("not UTF-8")
	errNameChar = errors.New("holds ; or ! or a control character")
)

func checkName(name string) error {
	switch {
	case name == "":
		return errEmpty
	case len(name) > maxName:
		return errTooLong
	case !utf8.ValidString(name):
		return errNotUTF8
	}
	for _, r := range name {
		if r == ';' || r == '!' || unicode.IsControl(r) {
			return errNameChar
		}
	}
	return nil
}
