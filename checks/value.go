package checks

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

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
