package main

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"checkbus/checks"
)

// Whatever a message says, each mode that reads one makes an output of it by
// the guidelines: a state and one line of text, performance data behind the
// first "|" of that line, and none in the others.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{
		`{"temp":71.5,"ts":1577934245}`, `{"exit_code":1,"reason":"slow | took=3s;1;2\nmore|x"}`, "17", "1 days, 2 hours",
		`{"state":"OK","reason":"0123","origin":"nagios"}`, "a|b\x00\xff\n'c'=1", `{"ts":"2020-01-02T03:04:05Z"}`, `[1`,
	} {
		f.Add("plant/a", []byte(seed))
	}
	modes := map[string][]string{
		"read":        {"-T", "#", "--metric", "a b'=temp,unit=C,warning=1:", "--time-path", "ts", "--age-warning", "5"},
		"passthrough": {"-T", "#", "--time-path", "time"},
		"sys":         {"--value", "uptime,warning=1"},
		"age":         {"-T", "#", "--per-topic", "--time-path", "$"},
		"gateway":     {"--result-host", "web1"},
	}
	probes := map[string]*probe{}
	for name, args := range modes {
		s, err := parse(append([]string{name, "-v", "--message", "{text} {payload} {topic}"}, args...))
		if err != nil {
			f.Fatal(err)
		}
		probes[name] = &probe{settings: s}
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		if topic == "" {
			return // readPacket takes no such message
		}
		m := message{topic: topic, payload: payload, at: time.Now()}
		for name, p := range probes {
			out := render(p.settings, p.finding(m), 0).String()
			line, long, _ := strings.Cut(out, "\n")
			text, data, _ := strings.Cut(line, "|")
			_, err := checks.ParsePerfdata(data)
			if err != nil || !strings.HasPrefix(text, "MQTT ") || strings.Contains(long, "|") ||
				!utf8.ValidString(out) || strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%s: %q, %v", name, out, err)
			}
		}
	})
}

// The clock of a publisher that is a little ahead makes no alert.
func TestAgeIsNotNegativeByAClockALittleAhead(t *testing.T) {
	s, err := parse([]string{"age", "-T", "a", "--time-path", "$", "-w", "1m"})
	if err != nil {
		t.Fatal(err)
	}
	p, now := &probe{settings: s}, time.Now()
	for ahead, want := range map[time.Duration]checks.State{
		0: checks.OK, 20 * time.Millisecond: checks.OK, 4 * time.Second: checks.OK, 7 * time.Second: checks.Warning,
		-59 * time.Second: checks.OK, -61 * time.Second: checks.Warning,
	} {
		stamp := now.Add(ahead).Format(time.RFC3339Nano)
		if out := render(s, p.finding(message{topic: "a", payload: []byte(stamp), at: now}), 0); out.State != want {
			t.Errorf("%v ahead: %v, want %v", ahead, out, want)
		}
	}
}

// finding is what the mode makes of a message.
func (p *probe) finding(m message) finding {
	switch p.mode.name {
	case "read":
		return p.judge(m)
	case "sys":
		return p.judgeSys(map[string]string{p.values[0].topics[0]: string(m.payload)})
	case "age":
		heard := &ages{spoke: map[string]time.Time{}}
		heard.take(p, m)
		return p.judgeAges(heard, m.at)
	case "gateway":
		d := &delivery{object: p.object, no: map[string]verdict{}, cores: map[string]bool{}}
		for _, topic := range []string{rejectedRoot + "/me", stateRoot + "/web1", coreRoot + "/" + m.topic} {
			m.topic = topic
			d.take(m)
		}
		if d.state != nil {
			return p.arrived(d, 0, 0)
		}
		return d.rejected()
	}
	return p.passOn(m)
}

// However long a payload is, the line that tells of it stays within what a
// core keeps of a plugin's output.
func TestLongPayloadsAreCutInTheOutput(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for _, template := range []string{"{text}", "{payload}", "{value}"} {
		s, err := parse([]string{"read", "-T", "a", "--message", template})
		if err != nil {
			t.Fatal(err)
		}
		p := &probe{settings: s}
		if out := render(s, p.judge(message{topic: "a", payload: []byte(long)}), 0).String(); len(out) > 8<<10 || !strings.Contains(out, "... (65536 bytes)") {
			t.Errorf("%s: %d bytes: %.80s", template, len(out), out)
		}
	}
	s, err := parse([]string{"sys", "--value", "version"})
	if err != nil {
		t.Fatal(err)
	}
	out := render(s, (&probe{settings: s}).judgeSys(map[string]string{"$SYS/broker/version": long}), 0).String()
	if len(out) > 8<<10 || !strings.Contains(out, "... (65536 bytes)") {
		t.Errorf("sys: %d bytes: %.80s", len(out), out)
	}
}
