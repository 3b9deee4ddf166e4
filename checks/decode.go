package checks

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"time"
)

// The limits of a Decoder that sets none, in bytes.
const (
	DefaultMaxPayload = 256 << 10
	DefaultMaxReason  = 16 << 10
)

// A Decoder turns MQTT messages into results.
type Decoder struct {
	// Root is the first topic level, "nagios"; it may itself contain slashes.
	Root string
	// MaxPayload bounds a message in bytes; a longer one is refused. 0 stands
	// for DefaultMaxPayload.
	MaxPayload int
	// MaxReason bounds Result.Reason and, each for itself, Result.Perfdata, in
	// bytes, and should not be below 128. A longer reason ends in " [cut]";
	// performance data loses its last items whole. 0 stands for
	// DefaultMaxReason.
	MaxReason int
}

// An Item is one result of a message, or why it is none.
type Item struct {
	// Result is complete where Err is nil. Otherwise it has the Client, the
	// arrival, and as much of the Object as is certain.
	Result Result
	// Raw is the item's own JSON text, or what of the payload could not be
	// parted into items. It is part of the payload.
	Raw []byte
	// Clamped: its time was over a minute in the future, and became the
	// arrival.
	Clamped bool
	// Err wraps ErrInvalid, and names the field and, in a batch, the item.
	Err error
}

// Decode yields the items of a message in order, at least one: those of a JSON
// array, or of text with one JSON object a line, or the only one. A bad item
// leaves the others as they are; after text that is no JSON, the rest of an
// array is one bad item, while each line stands for itself.
//
// now is the arrival, and client the publisher's identity, not empty, which is
// the source of results that name none. No result shares memory with topic or
// payload, which must not change while Decode runs.
func (d Decoder) Decode(topic string, payload []byte, now time.Time, client string) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		m := message{
			now:       now.Round(0).UTC(),
			client:    client,
			maxReason: cmp.Or(d.MaxReason, DefaultMaxReason),
		}
		object, err := ParseTopic(d.Root, topic)
		m.object = object
		limit := cmp.Or(d.MaxPayload, DefaultMaxPayload)
		switch {
		case err != nil:
			item := m.blank(payload)
			item.Err = err
			yield(item)
		case len(payload) > limit:
			yield(m.refused(0, payload, fmt.Errorf("payload: %d bytes are over the limit of %d", len(payload), limit)))
		default:
			m.decode(payload, yield)
		}
	}
}

// A message is what the items of one message share.
type message struct {
	object    Object
	now       time.Time
	client    string
	maxReason int

	reason, perf []byte // scratch space, used again by each item
}

var (
	errEmptyPayload = errors.New("payload: empty")
	errEmptyArray   = errors.New("payload: an empty array")
)

var byteOrderMark = []byte("\uFEFF")

func (m *message) decode(payload []byte, yield func(Item) bool) {
	s := scanner{data: bytes.TrimPrefix(payload, byteOrderMark)}
	s.space()
	switch s.peek() {
	case 0:
		if s.end() {
			yield(m.refused(0, payload, errEmptyPayload))
			return
		}
	case '[':
		m.array(&s, yield)
		return
	}
	var f fields
	start := s.pos
	err := f.read(&s)
	raw := s.data[start:s.pos]
	switch {
	case err == nil && s.end():
		yield(m.item(0, raw, &f))
	case manyLines(s.data[start:], len(raw), err):
		m.lines(s.data, yield)
	case err != nil:
		yield(m.refused(0, payload, err))
	default:
		yield(m.refused(0, payload, s.unexpected()))
	}
}

// manyLines tells a batch of lines from one object that is damaged or has
// something behind it, when the first value of data ends at first, or with
// err: either it has its line for itself, or a later line begins an object.
func manyLines(data []byte, first int, err error) bool {
	if err == nil && bytes.HasPrefix(bytes.TrimLeft(data[first:], " \t\r"), []byte{'\n'}) {
		return true
	}
	for {
		_, rest, found := bytes.Cut(data, []byte{'\n'})
		if !found {
			return false
		}
		data = bytes.TrimLeft(rest, " \t\r")
		if bytes.HasPrefix(data, []byte{'{'}) {
			return true
		}
	}
}

func (m *message) lines(data []byte, yield func(Item) bool) {
	n := 0
	for line := range bytes.Lines(data) {
		line = bytes.Trim(line, " \t\r\n")
		if len(line) == 0 {
			continue
		}
		n++
		s := scanner{data: line}
		var f fields
		err := f.read(&s)
		if err == nil && !s.end() {
			err = s.unexpected()
		}
		var item Item
		if err != nil {
			item = m.refused(n, line, err)
		} else {
			item = m.item(n, line, &f)
		}
		if !yield(item) {
			return
		}
	}
}

func (m *message) array(s *scanner, yield func(Item) bool) {
	s.pos++
	n := 0
	for {
		start := s.pos
		more, err := s.more(']', n == 0)
		if err == nil && !more {
			break
		}
		n++
		var f fields
		if err == nil {
			start = s.pos
			err = f.read(s)
		}
		if err != nil {
			yield(m.refused(n, s.data[start:], err))
			return
		}
		if !yield(m.item(n, s.data[start:s.pos], &f)) {
			return
		}
	}
	switch start := s.pos; {
	case !s.end():
		yield(m.refused(n+1, s.data[start:], s.unexpected()))
	case n == 0:
		yield(m.refused(0, s.data, errEmptyArray))
	}
}
