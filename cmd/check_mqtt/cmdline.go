package main

import (
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// arguments reads a command line. The names of jpmens' plugin, or
// --compat=jpmens, ask for its options.
func arguments(args []string) (*settings, error) {
	name := filepath.Base(args[0])
	kind, given, rest := cutCompat(args[1:])
	switch {
	case given && kind != "jpmens":
		return nil, fmt.Errorf("--compat %q: none but jpmens", kind)
	case given, name == "check-mqtt", name == "check-mqtt.py":
		return parseJpmens(rest)
	}
	return parse(rest)
}

// cutCompat takes --compat=KIND, or --compat and KIND, out of a command line.
func cutCompat(args []string) (kind string, given bool, rest []string) {
	i := slices.IndexFunc(args, func(a string) bool { return a == "--compat" || strings.HasPrefix(a, "--compat=") })
	if i < 0 {
		return "", false, args
	}
	rest = args[i+1:]
	_, kind, joined := strings.Cut(args[i], "=")
	if !joined && len(rest) > 0 {
		kind, rest = rest[0], rest[1:]
	}
	return kind, true, slices.Concat(args[:i], rest)
}

// parse reads a command line, without the program's name.
func parse(args []string) (*settings, error) {
	s := defaults()
	s.mode = modeNamed("roundtrip")
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if s.mode = modeNamed(args[0]); s.mode == nil {
			return nil, fmt.Errorf("no mode %q", args[0])
		}
		args = args[1:]
	}
	if err := s.read(options(s), args); err != nil || s.help || s.show {
		return s, err
	}
	return s, s.finish()
}

// read sets the options that args name.
func (s *settings) read(table []option, args []string) error {
	set := flag.NewFlagSet("check_mqtt", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range table {
		define := set.Func
		if o.arg == "" {
			define = set.BoolFunc
		}
		take := s.taker(o)
		define(o.long, "", take)
		if o.short != "" {
			define(o.short, "", take)
		}
	}
	if err := set.Parse(separate(table, args)); err != nil {
		return err
	}
	if set.NArg() > 0 && modeNamed(set.Arg(0)) != nil {
		return fmt.Errorf("the mode %s comes first, before the options", set.Arg(0))
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected %q", set.Arg(0))
	}
	return nil
}

// taker sets an option and remembers that it was given.
func (s *settings) taker(o option) func(string) error {
	return func(value string) error {
		if o.modes != "" && !slices.Contains(strings.Fields(o.modes), s.mode.name) {
			return fmt.Errorf("mode %s does not take it", s.mode.name)
		}
		s.given[o.long] = true
		return o.set(value)
	}
}

// separate rewrites what getopt takes and package flag does not: -vvv as
// -v -v -v, and -w10 as -w 10.
func separate(table []option, args []string) []string {
	takesValue := map[string]bool{}
	for _, o := range table {
		takesValue["--"+o.long] = o.arg != ""
		takesValue["-"+o.short] = o.arg != ""
	}
	var out []string
	for len(args) > 0 {
		arg, rest := args[0], args[1:]
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			first, more := arg[:2], arg[2:]
			if !takesValue[first] {
				more = "-" + more
			}
			args = append([]string{first, more}, rest...)
			continue
		}
		out, args = append(out, arg), rest
		if takesValue[arg] && len(rest) > 0 {
			out, args = append(out, rest[0]), rest[1:]
		}
	}
	return out
}
