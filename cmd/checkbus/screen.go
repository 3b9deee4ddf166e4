package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"checkbus/checks"
)

// A watched is what a gateway says on a state or event topic.
type watched struct {
	Host         string
	Service      string
	State        string
	Previous     string
	StateType    string `json:"state_type"`
	Attempt      int
	Reason       string
	Time         string
	Since        string
	Acknowledged bool
	InDowntime   bool `json:"in_downtime"`
	Flapping     bool
	Change       string
	Seq          uint64

	event bool
}

// A screen shows what a gateway says, line by line.
type screen struct {
	out    io.Writer
	filter watchFilter
	json   bool
	colour bool
	failed func(error)              // is told that out takes nothing any more
	known  map[checks.Object]uint64 // seq of what was shown last, or could have been
}

// received shows a message, if it is asked for and news.
func (s *screen) received(topic string, payload []byte, retained bool) {
	c := watched{event: strings.HasPrefix(topic, "checkbus/event/")}
	if json.Unmarshal(payload, &c) != nil {
		return // a cleared state, or nothing that a gateway says
	}
	if !s.isNews(c, retained) || !s.filter.fits(c) {
		return
	}
	if s.json {
		s.show(string(harmless(payload)))
	} else {
		s.show(s.line(c))
	}
}

func (s *screen) show(line string) {
	if _, err := io.WriteString(s.out, line+"\n"); err != nil {
		s.failed(err)
	}
}

// isNews reports whether c was not shown before. States are shown where nobody
// asked for them only when they are problems that were there before, or have
// changed while there was no connection.
func (s *screen) isNews(c watched, retained bool) bool {
	o := checks.Object{Host: c.Host, Service: c.Service}
	seq, known := s.known[o]
	if c.Change == checks.KindRemoved {
		delete(s.known, o)
	} else {
		s.known[o] = c.Seq
	}
	switch {
	case c.event || s.filter.noEvents:
		return true
	case !retained || known && seq == c.Seq:
		return false
	}
	return known || len(s.filter.states) > 0 || slices.Contains(problems, c.State)
}

// colours are the SGR parameters of ECMA-48 for each state.
var colours = map[string]string{
	"OK": "32", "UP": "32", "WARNING": "33", "CRITICAL": "31", "DOWN": "31", "UNKNOWN": "35", "UNREACHABLE": "35", "PENDING": "36",
}

// line is c as people read it.
func (s *screen) line(c watched) string {
	when, notes := clock(c.Since), c.flags()
	if c.event {
		when, notes = c.when(), c.changed()
	}
	state := fmt.Sprintf("%-8s", printable(c.State))
	if code := colours[c.State]; s.colour && code != "" {
		state = "\x1b[1;" + code + "m" + state + "\x1b[0m"
	}
	name := checks.Object{Host: c.Host, Service: c.Service}.String()
	first, _, _ := strings.Cut(c.Reason, "\n")
	text := fmt.Sprintf("%s %s %s: %s", when, state, printable(name), printable(first))
	if len(notes) > 0 {
		text += " (" + printable(strings.Join(notes, ", ")) + ")"
	}
	return text
}

// when is the time of the result that an event comes from; others happen when
// they are told.
func (c watched) when() string {
	switch c.Change {
	case checks.KindAcknowledged, checks.KindDowntime, checks.KindFlapping:
		return time.Now().Format(time.DateTime)
	}
	return clock(c.Time)
}

// changed says what an event is about.
func (c watched) changed() (notes []string) {
	switch c.Change {
	case checks.KindState:
		notes = append(notes, "was "+c.Previous)
	case checks.KindAcknowledged:
		notes = append(notes, ended("acknowledgement", c.Acknowledged))
	case checks.KindDowntime:
		notes = append(notes, ended("downtime", c.InDowntime))
	case checks.KindFlapping:
		notes = append(notes, ended("flapping", c.Flapping))
	default:
		notes = append(notes, c.Change)
	}
	if c.StateType == "soft" {
		notes = append(notes, fmt.Sprintf("soft, attempt %d", c.Attempt))
	}
	return notes
}

func ended(what string, goesOn bool) string {
	if goesOn {
		return what + " began"
	}
	return what + " ended"
}

// flags says what else a state is.
func (c watched) flags() (notes []string) {
	for _, f := range []struct {
		set  bool
		name string
	}{{c.StateType == "soft", "soft"}, {c.Acknowledged, "acknowledged"}, {c.InDowntime, "in downtime"}, {c.Flapping, "flapping"}} {
		if f.set {
			notes = append(notes, f.name)
		}
	}
	return notes
}

// clock writes a published time as a local one.
func clock(published string) string {
	t, err := time.Parse(time.RFC3339, published)
	if err != nil {
		return strings.Repeat("-", len(time.DateTime))
	}
	return t.Local().Format(time.DateTime)
}

// harmless is JSON on one line, without anything a terminal would obey: JSON
// itself escapes but the first 32 characters.
func harmless(payload []byte) []byte {
	var line bytes.Buffer
	if json.Compact(&line, payload) != nil {
		return nil
	}
	var safe []byte
	for _, r := range line.String() {
		if r >= 0x7f && r < 0xa0 {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = utf8.AppendRune(safe, r)
		}
	}
	return safe
}
