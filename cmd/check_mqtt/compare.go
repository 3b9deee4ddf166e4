package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A comparison says whether a text is as it should be.
type comparison struct {
	operator string // eq (also ""), ne, contains, regex; of jpmens also lt, gt, any
	want     string
	pattern  *regexp.Regexp // of regex
}

// compile reads the pattern of regex (RE2 syntax).
func (c *comparison) compile() (err error) {
	if c.operator == "regex" {
		c.pattern, err = regexp.Compile(c.want)
	}
	return err
}

// holds reports whether text is as it should be.
func (c comparison) holds(text string) bool {
	switch c.operator {
	case "ne":
		return text != c.want
	case "contains":
		return strings.Contains(text, c.want)
	case "regex":
		return c.pattern.MatchString(text)
	case "any":
		return text != ""
	case "lt", "gt":
		got, err := parseNumber(text)
		want, wantErr := parseNumber(c.want)
		return err == nil && wantErr == nil && got != want && got < want == (c.operator == "lt")
	}
	return text == c.want
}

// mismatch says what is wrong with a payload, or with the value at path in it;
// "" when nothing is.
func (c comparison) mismatch(payload []byte, path *jsonPath) string {
	text, err := valueText(payload, path)
	if err != nil {
		return err.Error()
	}
	if c.holds(text) {
		return ""
	}
	operator := c.operator
	if operator == "" {
		operator = "eq"
	}
	return fmt.Sprintf("%s is not %s %s", excerpt([]byte(text)), operator, excerpt([]byte(c.want)))
}

// valueText is the payload as text, or the value at path in it.
func valueText(payload []byte, path *jsonPath) (string, error) {
	if path == nil {
		return string(payload), nil
	}
	document, err := parseJSON(payload)
	if err != nil {
		return "", err
	}
	value, err := path.find(document)
	if err != nil {
		return "", err
	}
	return path.word(value), nil
}
