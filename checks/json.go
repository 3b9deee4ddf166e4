package checks

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON values may nest, and so the stack it takes to
// read them.
const maxDepth = 100

var (
	errTooDeep   = fmt.Errorf("JSON nested more than %d deep", maxDepth)
	errEndsEarly = errors.New("not JSON: ends too early")
)

// A syntaxError says where a text stops being JSON. Its text is put together
// only when asked for: a payload can hold very many lines that are no JSON.
type syntaxError struct {
	unexpected rune
	place      int // in bytes, counted from 1
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("not JSON: unexpected %s at byte %d", strconv.QuoteRune(e.unexpected), e.place)
}

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

// unexpected is the error of what stands at the position.
func (s *scanner) unexpected() error {
	if s.pos >= len(s.data) {
		return errEndsEarly
	}
	r, _ := utf8.DecodeRune(s.data[s.pos:])
	return &syntaxError{r, s.pos + 1}
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
