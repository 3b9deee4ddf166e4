package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// judge adds to the mistakes of f those in err, a line each, and puts the place
// of the key in front that a line begins with. Of a key that was mistaken before
// nothing more is said.
func (f *settingsFile) judge(err error) {
	if err == nil {
		return
	}
	var keys []string
	for mistake := range strings.SplitSeq(err.Error(), "\n") {
		key, _, _ := strings.Cut(mistake, ": ")
		if f.mistaken[key] {
			continue
		}
		keys = append(keys, key)
		if at := keyPath(key); at != nil && f.path != "" {
			mistake = f.place(at) + ": " + mistake
		}
		f.errs = append(f.errs, errors.New(mistake))
	}
	for _, key := range keys {
		f.mistaken[key] = true
	}
}

// place is the file, with the line of a key or else of its table, where that is
// found.
func (f *settingsFile) place(at []string) string {
	for n := len(at); n > 0; n-- {
		if line := lineOf(f.text, at[:n]); line > 0 {
			return fmt.Sprintf("%s:%d", f.path, line)
		}
	}
	return f.path
}

// keyName writes a path as an operator would: listener[0].address.
func keyName(at []string) string {
	var name strings.Builder
	for i, part := range at {
		switch {
		case i == 0:
			name.WriteString(part)
		case isIndex(part):
			name.WriteString("[" + part + "]")
		default:
			name.WriteString("." + part)
		}
	}
	return name.String()
}

var nameOfKey = regexp.MustCompile(`^[a-z0-9_]+(\[\d+\])?(\.[a-z0-9_]+)*$`)

// keyPath undoes keyName; it is nil for what is no key.
func keyPath(name string) []string {
	if !nameOfKey.MatchString(name) {
		return nil
	}
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("[].", r) })
}

// isIndex reports whether a part of a path is the place of a table among several.
func isIndex(part string) bool {
	_, err := strconv.ParseUint(part, 10, 16)
	return err == nil
}

var header = regexp.MustCompile(`^\s*\[{1,2}\s*([A-Za-z0-9_.-]+)\s*\]{1,2}`)

// lineOf finds the line, counted from 1, that sets the key, or begins the
// table, at a path; 0 where the file writes it in a way that this plain search
// does not follow.
func lineOf(text string, at []string) int {
	index := 0 // of the table, where that is one of several
	if i := slices.IndexFunc(at, isIndex); i >= 0 {
		index, _ = strconv.Atoi(at[i])
		at = slices.Delete(slices.Clone(at), i, i+1)
	}
	want, current, seen := strings.Join(at, "."), "", map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		if m := header.FindStringSubmatch(line); m != nil {
			current = m[1]
			seen[current]++
			if current == want && seen[current] == index+1 {
				return i + 1
			}
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		name := strings.Trim(strings.TrimSpace(key), `"'`)
		if current != "" {
			name = current + "." + name
		}
		if name == want && (current == "" || seen[current] == index+1) {
			return i + 1
		}
	}
	return 0
}
