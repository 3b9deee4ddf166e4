package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func newScreen(out io.Writer, change func(*screen)) *screen {
	s := &screen{out: out, known: map[checks.Object]uint64{}, failed: func(err error) { panic(err) }}
	if change != nil {
		change(s)
	}
	return s
}

func TestAScreenShowsNothingATerminalObeys(t *testing.T) {
	// \u009b is an escape sequence's beginning to some terminals (ECMA-48).
	const evil = `{"host":"w\u001b[2J","service":"\u009b2J","state":"\u001b[31m","previous":"\u0007","reason":"\u001b]0;x\u0007` + "\u009b" + `","change":"state"}`
	for name, asJSON := range map[string]bool{"lines": false, "JSON": true} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			newScreen(&out, func(s *screen) { s.json = asJSON }).received("checkbus/event/x", []byte(evil), false)
			shown, ended := strings.CutSuffix(out.String(), "\n")
			if !ended || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
				t.Errorf("shown %q", out.String())
			}
		})
	}
}

func TestAScreenIsColouredWhereAskedFor(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, func(s *screen) { s.colour = true })
	s.received("checkbus/event/w", []byte(`{"host":"w","state":"CRITICAL","previous":"OK","reason":"no","change":"state"}`), false)
	if want := "\x1b[1;31mCRITICAL\x1b[0m w: no (was OK)"; !strings.Contains(out.String(), want) {
		t.Errorf("shown %q, want %q", out.String(), want)
	}
	if wantsColour(&out) || wantsColour(os.Stdout) && os.Getenv("NO_COLOR") != "" {
		t.Error("colours where there should be none")
	}
}

func TestWhatAScreenSaysOfEvents(t *testing.T) {
	const object = `"host":"w","service":"s","state":"CRITICAL","previous":"OK","reason":"no\nlong"`
	tests := map[string]string{
		`"change":"state","state_type":"soft","attempt":1`: "(was OK, soft, attempt 1)",
		`"change":"hard","state_type":"hard","attempt":3`:  "(hard)",
		`"change":"acknowledged","acknowledged":true`:      "(acknowledgement began)",
		`"change":"downtime","in_downtime":false`:          "(downtime ended)",
		`"change":"flapping","flapping":true`:              "(flapping began)",
		`"change":"removed"`:                               "(removed)",
	}
	for fields, want := range tests {
		var out bytes.Buffer
		newScreen(&out, nil).received("checkbus/event/w/s", []byte("{"+object+","+fields+"}"), false)
		if got := out.String(); !strings.HasSuffix(got, " CRITICAL w!s: no "+want+"\n") {
			t.Errorf("%s: %q", fields, got)
		}
	}
}

// Only some events come from a result, whose time they have.
func TestAnEventIsShownWithTheTimeOfWhatHappened(t *testing.T) {
	const object = `{"host":"w","state":"CRITICAL","previous":"OK","time":"2001-02-03T12:00:00Z",`
	for change, atResult := range map[string]bool{"state": true, "hard": true, "attempt": true, "acknowledged": false, "downtime": false, "flapping": false} {
		var out bytes.Buffer
		newScreen(&out, nil).received("checkbus/event/w", []byte(object+`"change":"`+change+`"}`), false)
		if got := strings.HasPrefix(out.String(), "2001-02-03 "); got != atResult {
			t.Errorf("%s: %q", change, out.String())
		}
	}
}

func TestAScreenShowsStatesThatAreNews(t *testing.T) {
	type message struct {
		topic    string
		state    string
		seq      int
		retained bool
	}
	const state, event = "checkbus/state/w", "checkbus/event/w"
	tests := map[string]struct {
		change func(*screen)
		before []message
		now    message
		want   bool
	}{
		"a problem that was there":        {nil, nil, message{state, "CRITICAL", 1, true}, true},
		"a good one":                      {nil, nil, message{state, "OK", 1, true}, false},
		"a good one, asked for":           {func(s *screen) { s.filter.states = []string{"OK"} }, nil, message{state, "OK", 1, true}, true},
		"one just published":              {nil, nil, message{state, "CRITICAL", 1, false}, false},
		"one just published, asked for":   {func(s *screen) { s.filter.noEvents = true }, nil, message{state, "OK", 1, false}, true},
		"an event":                        {nil, nil, message{event, "OK", 1, false}, true},
		"the same after an outage":        {nil, []message{{event, "CRITICAL", 1, false}}, message{state, "CRITICAL", 1, true}, false},
		"a recovery in an outage":         {nil, []message{{event, "CRITICAL", 1, false}}, message{state, "OK", 2, true}, true},
		"a good one after a good one":     {nil, []message{{state, "OK", 0, true}}, message{state, "OK", 0, true}, false},
		"another state than asked for":    {func(s *screen) { s.filter.states = []string{"DOWN"} }, nil, message{event, "OK", 1, false}, false},
		"an event out of one asked for":   {func(s *screen) { s.filter.states = []string{"PENDING"} }, nil, message{event, "OK", 1, false}, true},
		"a state that was one, asked for": {func(s *screen) { s.filter.states = []string{"PENDING"} }, nil, message{state, "OK", 1, true}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			s := newScreen(&out, tt.change)
			for _, m := range append(tt.before, tt.now) {
				out.Reset()
				s.received(m.topic, fmt.Appendf(nil, `{"host":"w","state":%q,"previous":"PENDING","seq":%d}`, m.state, m.seq), m.retained)
			}
			if got := out.Len() > 0; got != tt.want {
				t.Errorf("shown %q", out.String())
			}
		})
	}
}

func TestAFilterFits(t *testing.T) {
	tests := map[string]struct {
		host, service string
		want          bool
	}{
		"all":                  {"", "", true},
		"pattern":              {"web*", "Disk*", true},
		"slashes are no limit": {"", "*var", true},
		"another":              {"db?", "", false},
		"another service":      {"web1", "Load", false},
	}
	for name, tt := range tests {
		f := watchFilter{host: tt.host, service: tt.service}
		if got := f.fits(watched{Host: "web1", Service: "Disk /var"}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestTimesAreLocal(t *testing.T) {
	local := time.Local
	time.Local = time.FixedZone("", 3600)
	defer func() { time.Local = local }()
	for published, want := range map[string]string{"2026-11-21T18:08:49.457Z": "2026-11-21 19:08:49", "": "-------------------"} {
		if got := clock(published); got != want {
			t.Errorf("clock(%q) = %q, want %q", published, got, want)
		}
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte(`{"host":"w","state":"CRITICAL","reason":"no"}`), true)
	f.Add([]byte("{\"host\":\"\\u001b\xff\"}"), false)
	f.Add([]byte("[]"), true)
	f.Fuzz(func(t *testing.T, payload []byte, asJSON bool) {
		var out bytes.Buffer
		newScreen(&out, func(s *screen) { s.json = asJSON }).received("checkbus/event/w", payload, false)
		shown := strings.TrimSuffix(out.String(), "\n")
		if strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("shown %q", shown)
		}
	})
}
