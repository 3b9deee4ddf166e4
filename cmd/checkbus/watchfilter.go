package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A watchFilter says what of a gateway's states and events is shown.
type watchFilter struct {
	host, service      string   // patterns; "" fits everything
	states             []string // none: all
	noStates, noEvents bool
}

// problems are the states that need somebody.
var problems = []string{"WARNING", "CRITICAL", "UNKNOWN", "DOWN", "UNREACHABLE"}

func (f *watchFilter) setStates(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		switch {
		case name == "PROBLEMS":
			f.states = append(f.states, problems...)
		case slices.Contains(problems, name), name == "OK", name == "UP", name == "PENDING":
			f.states = append(f.states, name)
		default:
			return fmt.Errorf("%q is no state", name)
		}
	}
	return nil
}

func (f *watchFilter) validate() error {
	if f.noStates && f.noEvents {
		return errors.New("-events and -states exclude each other")
	}
	for _, pattern := range []string{f.host, f.service} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%q is no pattern", pattern)
		}
	}
	return nil
}

// topics are what to subscribe to.
func (f *watchFilter) topics() (filters []string) {
	if !f.noStates {
		filters = append(filters, "checkbus/state/#")
	}
	if !f.noEvents {
		filters = append(filters, "checkbus/event/#")
	}
	return filters
}

// fits reports whether what is said of an object is to be shown.
func (f *watchFilter) fits(c watched) bool {
	return fits(f.host, c.Host) && fits(f.service, c.Service) &&
		(len(f.states) == 0 || slices.Contains(f.states, c.State) || c.event && slices.Contains(f.states, c.Previous))
}

// fits reports whether name fits the pattern, in which a slash is like any
// other character.
func fits(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
	return ok && err == nil
}
