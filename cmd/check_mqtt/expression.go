package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An expression is the part of jpmens' -w and -c that is taken: comparisons
// of payload with a number or a quoted text, joined by "and" and "or". It is
// read, never run. The outer list is joined by "or", the inner ones by "and".
type expression [][]term

// A term is one comparison.
type term struct {
	left, operator, right string // an operand is payload, a number, or a text in quotes
}

var errExpression = errors.New("not comparisons such as 'payload < 4 or payload > 28'")

// termPattern matches one comparison: payload, also within float(), int() or
// str(), numbers, and quoted texts.
var termPattern = regexp.MustCompile(`^\s*(\S+?)\s*(<=|>=|==|!=|<|>)\s*(\S.*?)\s*$`)

var operandPattern = regexp.MustCompile(`^(payload|(?:float|int|str)\(payload\)|[-+]?[0-9.]+|'[^']*'|"[^"]*")$`)

func (e *expression) set(text string) error {
	*e = nil
	for alternative := range strings.SplitSeq(text, " or ") {
		var all []term
		for part := range strings.SplitSeq(alternative, " and ") {
			t, err := parseTerm(part)
			if err != nil {
				return err
			}
			all = append(all, t)
		}
		*e = append(*e, all)
	}
	return nil
}

func parseTerm(text string) (term, error) {
	m := termPattern.FindStringSubmatch(text)
	if m == nil || !operandPattern.MatchString(m[1]) || !operandPattern.MatchString(m[3]) {
		return term{}, fmt.Errorf("%q: %w", text, errExpression)
	}
	return term{m[1], m[2], m[3]}, nil
}

func (e expression) String() string {
	var alternatives []string
	for _, all := range e {
		var parts []string
		for _, t := range all {
			parts = append(parts, t.left+" "+t.operator+" "+t.right)
		}
		alternatives = append(alternatives, strings.Join(parts, " and "))
	}
	return strings.Join(alternatives, " or ")
}

// holds reports whether the expression is true of a payload; an empty one
// never is. It is an error when what must be a number is none.
func (e expression) holds(payload string) (bool, error) {
	for _, all := range e {
		var errs []error
		no := slices.ContainsFunc(all, func(t term) bool {
			ok, err := t.holds(payload)
			errs = append(errs, err)
			return !ok
		})
		if err := errors.Join(errs...); err != nil {
			return false, err
		}
		if !no {
			return true, nil
		}
	}
	return false, nil
}

func (t term) holds(payload string) (bool, error) {
	left, leftText := operand(t.left, payload)
	right, rightText := operand(t.right, payload)
	if leftText || rightText {
		return t.compare(strings.Compare(left, right)), nil
	}
	a, err := parseNumber(left)
	b, err2 := parseNumber(right)
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	return t.compare(cmp.Compare(a, b)), nil
}

// operand is the value of one side, and whether it is a text by its quotes or
// by str().
func operand(text, payload string) (string, bool) {
	switch {
	case strings.Contains(text, "payload"):
		return payload, strings.HasPrefix(text, "str(")
	case text[0] == '\'' || text[0] == '"':
		return text[1 : len(text)-1], true
	}
	return text, false
}

func (t term) compare(order int) bool {
	switch t.operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	case "==":
		return order == 0
	}
	return order != 0
}
