package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A jsonPath leads to one value in a JSON document: $.sensor.temp,
// $.list[0], $.list[-1], $['odd name']. A leading "$." may be left out, and
// "$" is the whole document. Wildcards, slices, filters and recursive descent
// name many values and are refused.
type jsonPath struct {
	text   string
	steps  []jsonStep
	python bool // what is found is worded as Python does: True, False, None
}

// A jsonStep is a member's name, or an index where isIndex is set; a negative
// index counts from the end.
type jsonStep struct {
	name    string
	index   int
	isIndex bool
}

// errNoValue: the document has nothing at the path.
var errNoValue = errors.New("no value")

// parseJSONPath reads a whole path.
func parseJSONPath(text string) (jsonPath, error) {
	path, rest, err := cutJSONPath(text)
	if err == nil && rest != "" {
		err = fmt.Errorf("JSON path %q: unexpected %q", text, rest)
	}
	return path, err
}

// cutJSONPath reads the path that text begins with, up to a comma or the end.
func cutJSONPath(text string) (path jsonPath, rest string, err error) {
	rest = strings.TrimPrefix(text, "$")
	if rest == text && rest != "" && rest[0] != '.' && rest[0] != '[' {
		rest = "." + rest
	}
	if text == "" {
		return path, "", errors.New("JSON path: empty")
	}
	for rest != "" && rest[0] != ',' {
		var step jsonStep
		if step, rest, err = cutJSONStep(rest); err != nil {
			return path, "", fmt.Errorf("JSON path %q: %w", text, err)
		}
		path.steps = append(path.steps, step)
	}
	path.text = text[:len(text)-len(rest)]
	return path, rest, nil
}

func cutJSONStep(s string) (jsonStep, string, error) {
	switch s[0] {
	case '.':
		end := strings.IndexAny(s[1:], ".[,")
		if end < 0 {
			end = len(s) - 1
		}
		name, rest := s[1:1+end], s[1+end:]
		if name == "" || strings.ContainsAny(name, "*?()") {
			return jsonStep{}, "", fmt.Errorf("%q is no member's name", name)
		}
		return jsonStep{name: name}, rest, nil
	case '[':
		return cutJSONBracket(s[1:])
	}
	return jsonStep{}, "", fmt.Errorf("unexpected %q", s)
}

// cutJSONBracket reads what follows "[": a quoted name or an index, and "]".
func cutJSONBracket(s string) (jsonStep, string, error) {
	if s != "" && (s[0] == '\'' || s[0] == '"') {
		name, rest, ok := strings.Cut(s[1:], s[:1]+"]")
		if !ok {
			return jsonStep{}, "", fmt.Errorf("no %s] ends the name", s[:1])
		}
		return jsonStep{name: name}, rest, nil
	}
	digits, rest, ok := strings.Cut(s, "]")
	index, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return jsonStep{}, "", fmt.Errorf("[%s is neither an index nor a quoted name", s)
	}
	return jsonStep{index: index, isIndex: true}, rest, nil
}

// find is the value at the path, as encoding/json decodes it, numbers as
// json.Number.
func (p jsonPath) find(document any) (any, error) {
	at := document
	for _, step := range p.steps {
		next, ok := step.from(at)
		if !ok {
			return nil, fmt.Errorf("%w at %s", errNoValue, p.text)
		}
		at = next
	}
	return at, nil
}

// word is a value that was found, as text.
func (p jsonPath) word(value any) string {
	if p.python {
		switch value {
		case true:
			return "True"
		case false:
			return "False"
		case nil:
			return "None"
		}
	}
	return jsonText(value)
}

func (s jsonStep) from(value any) (any, bool) {
	if !s.isIndex {
		members, _ := value.(map[string]any)
		found, ok := members[s.name]
		return found, ok
	}
	list, _ := value.([]any)
	index := s.index
	if index < 0 {
		index += len(list)
	}
	if index < 0 || index >= len(list) {
		return nil, false
	}
	return list[index], true
}

// parseJSON reads one JSON document and nothing after it.
func parseJSON(payload []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var document any
	if err := dec.Decode(&document); err != nil {
		return nil, fmt.Errorf("the payload is no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("the payload is no JSON: more follows its end")
	}
	return document, nil
}

// jsonText is a value as text: a string without quotes, anything else as JSON.
func jsonText(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
