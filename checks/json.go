package checks

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON values may nest, and so the stack it takes to
// read them.
const maxDepth = 100

var errTooDeep = fmt.Errorf("JSON nested more than %d deep", maxDepth)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindObject
	kindArray
)

// A value is one JSON value that has been found sound, as it stands in the
// text; a string without its quotes.
type value struct {
	kind  kind
	plain bool // a string of printable ASCII without escapes
	raw   []byte
}

// String shows v in a message, cut when it is long.
func (v value) String() string {
	switch v.kind {
	case kindString:
		return excerpt(string(v.appendText(nil)))
	case kindObject:
		return "an object"
	case kindArray:
		return "an array"
	}
	return cut(string(v.raw), maxExcerpt, "...")
}

// text is what a string stands for.
func (v value) text() (string, error) {
	switch {
	case v.kind != kindString:
		return "", v.notString()
	case v.plain:
		return string(v.raw), nil
	}
	return string(v.appendText(nil)), nil
}

func (v value) notString() error { return fmt.Errorf("%s is not a string", v) }

// A scanner steps through JSON text by RFC 8259, and builds nothing from it.
// Unlike encoding/json it shows a name that an object has twice, and where one
// value of a damaged text ends and the next begins.
type scanner struct {
	data []byte
	pos  int
}

// peek is the byte at the position, or 0, which JSON does not have, at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// end passes over white space and reports whether the text ends there.
func (s *scanner) end() bool {
	s.space()
	return s.pos == len(s.data)
}

func (s *scanner) unexpected() error {
	if s.pos >= len(s.data) {
		return errors.New("not JSON: ends too early")
	}
	r, size := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && size == 1 {
		return fmt.Errorf("not JSON: unexpected byte 0x%02x at byte %d", s.data[s.pos], s.pos+1)
	}
	return fmt.Errorf("not JSON: unexpected %s at byte %d", strconv.QuoteRune(r), s.pos+1)
}

// more steps to the next element of the array or object that closes with end,
// or past end when there is none.
func (s *scanner) more(end byte, first bool) (bool, error) {
	s.space()
	switch c := s.peek(); {
	case c == end:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.unexpected()
	}
	s.pos++
	s.space()
	return true, nil
}

// name reads an object's next name and steps to its value.
func (s *scanner) name() (value, error) {
	if s.peek() != '"' {
		return value{}, s.unexpected()
	}
	name, err := s.str()
	if err != nil {
		return value{}, err
	}
	s.space()
	if s.peek() != ':' {
		return value{}, s.unexpected()
	}
	s.pos++
	s.space()
	return name, nil
}

// value reads the value at the position, which depth others enclose.
func (s *scanner) value(depth int) (value, error) {
	start := s.pos
	var k kind
	var err error
	switch c := s.peek(); {
	case c == '"':
		return s.str()
	case c == '{':
		k, err = kindObject, s.skip('}', depth)
	case c == '[':
		k, err = kindArray, s.skip(']', depth)
	case c == '-' || isDigit(c):
		k, err = kindNumber, s.number()
	case c == 't':
		k, err = kindBool, s.literal("true")
	case c == 'f':
		k, err = kindBool, s.literal("false")
	case c == 'n':
		k, err = kindNull, s.literal("null")
	default:
		err = s.unexpected()
	}
	return value{kind: k, raw: s.data[start:s.pos]}, err
}

// skip passes over the array or object at the position, which closes with end.
func (s *scanner) skip(end byte, depth int) error {
	if depth >= maxDepth {
		return errTooDeep
	}
	s.pos++
	for first := true; ; first = false {
		more, err := s.more(end, first)
		if err != nil || !more {
			return err
		}
		if end == '}' {
			if _, err := s.name(); err != nil {
				return err
			}
		}
		if _, err := s.value(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.peek() != word[i] {
			return s.unexpected()
		}
		s.pos++
	}
	return nil
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.peek() == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if c := s.peek(); c != 'e' && c != 'E' {
		return nil
	}
	s.pos++
	if c := s.peek(); c == '+' || c == '-' {
		s.pos++
	}
	return s.digits()
}

func (s *scanner) digits() error {
	if !isDigit(s.peek()) {
		return s.unexpected()
	}
	for isDigit(s.peek()) {
		s.pos++
	}
	return nil
}

// str reads the string at the position. Its bytes may be any but control
// characters, as encoding/json has it too: appendText mends broken UTF-8.
func (s *scanner) str() (value, error) {
	s.pos++
	start, plain := s.pos, true
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return value{kindString, plain, s.data[start : s.pos-1]}, nil
		case c < ' ':
			return value{}, s.unexpected()
		case c == '\\':
			plain = false
			s.pos++
			if err := s.escape(); err != nil {
				return value{}, err
			}
			continue
		case c >= 0x7f:
			plain = false
		}
		s.pos++
	}
	return value{}, s.unexpected()
}

// escape passes over what follows a backslash.
func (s *scanner) escape() error {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if _, ok := hexDigit(s.peek()); !ok {
				return s.unexpected()
			}
			s.pos++
		}
		return nil
	}
	return s.unexpected()
}

// appendText appends the text that a string stands for, always valid UTF-8:
// surrogates without their other half and bytes that are no UTF-8 become
// U+FFFD.
func (v value) appendText(dst []byte) []byte {
	b := v.raw
	if v.plain {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == '\\' {
			r, size = unquote(b)
		}
		dst = utf8.AppendRune(dst, r)
		b = b[size:]
	}
	return dst
}

// lone is the length of a \u escape that stands alone.
const lone = len(`\u0000`)

// unquote is the character of the escape that b begins with, and its length.
func unquote(b []byte) (rune, int) {
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hex4(b[2:])
		if !utf16.IsSurrogate(r) {
			return r, lone
		}
		if b = b[lone:]; len(b) >= lone && b[0] == '\\' && b[1] == 'u' {
			if pair := utf16.DecodeRune(r, hex4(b[2:])); pair != utf8.RuneError {
				return pair, 2 * lone
			}
		}
		return utf8.RuneError, lone
	}
	return rune(b[1]), 2
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		d, _ := hexDigit(c)
		r = r<<4 | rune(d)
	}
	return r
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
