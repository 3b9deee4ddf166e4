package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// A settingsFile reads a TOML file over the defaults in a struct, strictly, and
// collects every mistake with the line where it stands.
type settingsFile struct {
	path     string
	text     string
	meta     toml.MetaData
	set      map[string]bool // the keys that the file sets
	mistaken map[string]bool // the keys that errs are about
	errs     []error
}

func newSettingsFile(path, text string) *settingsFile {
	return &settingsFile{path: path, text: text, set: map[string]bool{}, mistaken: map[string]bool{}}
}

// load reads path into cfg, a pointer to a struct with toml tags. Where the
// file has a table, its keys replace the defaults one by one; where it has an
// array of tables, the array is the file's own. The error says that nothing can
// be read; every other mistake is in the errs of the file.
func load(path string, cfg any) (*settingsFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := newSettingsFile(path, string(text))
	var top map[string]toml.Primitive
	f.meta, err = toml.Decode(f.text, &top)
	if syntax := (toml.ParseError{}); errors.As(err, &syntax) {
		return nil, fmt.Errorf("%s:%d: %s", path, syntax.Position.Line, syntax.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.table(top, reflect.ValueOf(cfg).Elem(), nil)
	for _, key := range f.meta.Keys() {
		f.set[key.String()] = true
	}
	return f, nil
}

// table assigns each key of a table to the field that has it as its tag.
func (f *settingsFile) table(keys map[string]toml.Primitive, into reflect.Value, path []string) {
	for _, name := range sortedKeys(keys) {
		at := append(slices.Clone(path), name)
		field, ok := fieldByTag(into, name)
		if !ok {
			f.fail(at, unknownKey(name))
			continue
		}
		f.value(keys[name], field, at)
	}
}

// unknownKey names the alternative to what Mosquitto has and Go has not.
func unknownKey(name string) error {
	if strings.Contains(name, "psk") {
		return errors.New("unknown key: there are no pre-shared keys; use client certificates (client_ca, identity; in a bridge cert, key)")
	}
	return errors.New("unknown key")
}

func (f *settingsFile) value(p toml.Primitive, field reflect.Value, at []string) {
	if field.Kind() == reflect.Pointer {
		if field.IsNil() {
			field.Set(reflect.New(field.Type().Elem()))
		}
		field = field.Elem()
	}
	switch {
	case field.Kind() == reflect.Struct:
		var keys map[string]toml.Primitive
		if err := f.meta.PrimitiveDecode(p, &keys); err != nil || keys == nil {
			f.fail(at, errors.New("must be a table"))
			return
		}
		f.table(keys, field, at)
	case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
		var tables []map[string]toml.Primitive
		if err := f.meta.PrimitiveDecode(p, &tables); err != nil {
			f.fail(at, fmt.Errorf("must be an array of tables, [[%s]]", strings.Join(at, ".")))
			return
		}
		field.Set(reflect.MakeSlice(field.Type(), len(tables), len(tables)))
		for i, keys := range tables {
			f.table(keys, field.Index(i), append(slices.Clone(at), fmt.Sprint(i)))
		}
	default:
		if err := f.meta.PrimitiveDecode(p, field.Addr().Interface()); err != nil {
			f.fail(at, reason(err))
		}
	}
}

// reason is err without what the library says of Go's types, of the place, and
// of itself.
func reason(err error) error {
	text := place.ReplaceAllString(err.Error(), "")
	if m := incompatible.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("must be %s, not %s", kindName(m[2]), kindName(m[1]))
	}
	text = level.ReplaceAllString(text, "$1 is none of debug, info, warn and error")
	return errors.New(text)
}

var (
	place        = regexp.MustCompile(`^(toml: )?(line \d+ \(last key "[^"]*"\): )?`)
	level        = regexp.MustCompile(`^slog: level string (".*"): unknown name$`)
	incompatible = regexp.MustCompile(`^incompatible types: TOML value has type (\S+); destination has type (\S+)$`)
)

func kindName(library string) string {
	switch {
	case strings.HasPrefix(library, "int"):
		return "a number"
	case strings.HasPrefix(library, "float"):
		return "a fraction"
	case strings.HasPrefix(library, "time"):
		return "a date"
	case strings.HasPrefix(library, "bool"):
		return "true or false"
	case strings.HasPrefix(library, "[]"), library == "slice":
		return "a list"
	case strings.HasPrefix(library, "map"):
		return "a table"
	}
	return "a " + library
}

func (f *settingsFile) fail(at []string, err error) {
	f.mistaken[keyName(at)] = true
	f.errs = append(f.errs, fmt.Errorf("%s: %s: %w", f.place(at), keyName(at), err))
}

// fieldByTag finds the field for a key, in embedded structs too.
func fieldByTag(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if tag, ok := field.Tag.Lookup("toml"); ok && tag == name {
			return v.Field(i), true
		}
		if field.Anonymous {
			if inner, ok := fieldByTag(v.Field(i), name); ok {
				return inner, true
			}
		}
	}
	return reflect.Value{}, false
}

func sortedKeys(m map[string]toml.Primitive) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
