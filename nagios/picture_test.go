package nagios

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

// A story tells a picture of one service, h0000's s000, one thing after the
// other, a second apart.
type story struct {
	t testing.TB
	*picture
	w   *witness
	now time.Time
	pid int
}

// newStory begins with a service that is OK and not in downtime.
func newStory(t testing.TB) *story {
	s := &story{t: t, w: newWitness(), now: time.Unix(1795304700, 0), pid: 1}
	s.picture = newPicture(format{}, s.w)
	s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1")
	s.tellAll()
	return s
}

// file takes up a status file that was written at the time written and says
// these fields of the service besides the usual ones; without any it does not
// list the service.
func (s *story) file(written time.Time, fields ...string) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	text := fmt.Sprintf("info {\n\tcreated=%d\n\t}\nprogramstatus {\n\tnagios_pid=%d\n\tpassive_service_checks_enabled=1\n\t}\n", written.Unix(), s.pid)
	if len(fields) > 0 {
		usual := []string{"host_name=h0000", "service_description=s000", "has_been_checked=1", "state_type=1", "current_attempt=1", "last_check=1795304600", "passive_checks_enabled=1"}
		text += "servicestatus {\n\t" + strings.Join(append(usual, fields...), "\n\t") + "\n\t}\n"
	}
	isFirst, err := s.snapshot(bufio.NewReader(strings.NewReader(text)), written)
	if err != nil {
		s.t.Fatal(err)
	}
	if isFirst && s.told {
		s.tellAll()
	}
}

func (s *story) log(text string) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	l, ok := parseLine(fmt.Appendf(nil, "[%d] %s", s.now.Unix(), text))
	if !ok {
		s.t.Fatalf("not read: %s", text)
	}
	s.line(l, nil, s.now)
}

func (s *story) result(seq uint64, state checks.State, reason string) {
	s.now = s.now.Add(time.Second)
	s.processed(checks.Result{Object: service("s000"), State: state, Reason: reason, Time: s.now, Executed: s.now, Seq: seq}, s.now)
}

func TestTheNewestWordCounts(t *testing.T) {
	const critical = "SERVICE ALERT: h0000;s000;CRITICAL;HARD;1;crit"
	tests := map[string]struct {
		tell func(s *story)
		want []string // what is told after the first picture
	}{
		"a file that is older than a line": {
			func(s *story) {
				before := s.now
				s.log(critical)
				s.file(before, "current_state=0", "plugin_output=fine", "performance_data=a=1")
			},
			[]string{"CRITICAL crit"},
		},
		"a newer file": {
			func(s *story) {
				s.log(critical)
				s.file(s.now, "current_state=2", "plugin_output=crit", "performance_data=a=9")
				s.file(s.now, "current_state=2", "plugin_output=crit", "performance_data=a=9")
			},
			[]string{"CRITICAL crit", "CRITICAL crit a=9"},
		},
		"a change that the log does not tell": {
			func(s *story) { s.file(s.now, "current_state=1", "state_type=0", "plugin_output=hm") },
			[]string{"WARNING soft hm"},
		},
		"an older file than a downtime": {
			func(s *story) {
				before := s.now
				s.log("SERVICE DOWNTIME ALERT: h0000;s000;STARTED; x")
				s.file(before, "current_state=0", "plugin_output=fine", "performance_data=a=1")
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1", "scheduled_downtime_depth=1")
			},
			[]string{"OK downtime fine a=1"},
		},
		"results do not keep a file from telling the rest": {
			func(s *story) {
				before := s.now
				s.result(1, checks.OK, "still fine")
				s.file(before, "current_state=0", "plugin_output=fine", "scheduled_downtime_depth=1")
			},
			[]string{"OK still fine", "OK downtime still fine"},
		},
		"a result without a change": {
			func(s *story) { s.result(1, checks.OK, "still fine") },
			[]string{"OK still fine"},
		},
		"a result that the core has not taken": {
			func(s *story) { s.result(1, checks.Critical, "crit") },
			nil,
		},
		"an older result": {
			func(s *story) { s.result(2, checks.OK, "second"); s.result(1, checks.OK, "first") },
			[]string{"OK second"},
		},
		"an acknowledgement that the core refuses": {
			func(s *story) { s.log("EXTERNAL COMMAND: ACKNOWLEDGE_SVC_PROBLEM;h0000;s000;1;1;0;me;x") },
			nil,
		},
		"acknowledgements from the log": {
			func(s *story) {
				s.log(critical)
				s.log("EXTERNAL COMMAND: ACKNOWLEDGE_SVC_PROBLEM;h0000;s000;1;1;0;me;x")
				s.log("EXTERNAL COMMAND: REMOVE_SVC_ACKNOWLEDGEMENT;h0000;s000")
				s.log("EXTERNAL COMMAND: ACKNOWLEDGE_SVC_PROBLEM;h0000;s000;2;1;0;me;x")
				s.log("SERVICE ALERT: h0000;s000;WARNING;HARD;1;hm")
				s.log("SERVICE ALERT: h0000;s000;OK;HARD;1;fine")
			},
			[]string{"CRITICAL crit", "CRITICAL acknowledged crit", "CRITICAL crit", "CRITICAL acknowledged crit", "WARNING acknowledged hm", "OK fine"},
		},
		"what it is anyway": {
			func(s *story) {
				s.log("CURRENT SERVICE STATE: h0000;s000;OK;HARD;1;fine")
				s.log("CURRENT SERVICE STATE: h0000;s000;CRITICAL;HARD;1;missed")
				s.log("CURRENT SERVICE STATE: h0000;other;CRITICAL;HARD;1;of what is not known")
			},
			[]string{"CRITICAL missed"},
		},
		"gone": {
			func(s *story) { s.file(s.now) },
			[]string{"lost"},
		},
		"heard of after it was gone": {
			func(s *story) {
				before := s.now
				s.log(critical)
				s.file(before)
			},
			[]string{"CRITICAL crit"},
		},
		"another start": {
			func(s *story) {
				s.pid = 2
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1")
			},
			[]string{"OK fine a=1"},
		},
		"another start in a downtime": {
			func(s *story) {
				s.log("SERVICE DOWNTIME ALERT: h0000;s000;STARTED; x")
				s.pid = 2
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1")
				s.log("SERVICE DOWNTIME ALERT: h0000;s000;STARTED; x")
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1", "scheduled_downtime_depth=1")
			},
			[]string{"OK downtime fine a=1", "OK downtime fine a=1"},
		},
		"a downtime that ended while the core was away": {
			func(s *story) {
				s.log("SERVICE DOWNTIME ALERT: h0000;s000;STARTED; x")
				s.pid = 2
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1")
				s.file(s.now, "current_state=0", "plugin_output=fine", "performance_data=a=1")
			},
			[]string{"OK downtime fine a=1", "OK downtime fine a=1", "OK fine a=1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			tt.tell(s)
			var got []string
			for _, told := range s.w.told[service("s000")][1:] {
				got = append(got, inWords(told))
			}
			for range s.w.lost {
				got = append(got, "lost")
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("told %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Of the lines of the second in which the first status file was written some are
// older than that, and what they say may have ended by then.
func TestLinesThatTheFirstStatusFileHas(t *testing.T) {
	const (
		ok       = "SERVICE ALERT: h0000;s000;OK;HARD;1;fine"
		critical = "SERVICE ALERT: h0000;s000;CRITICAL;HARD;1;crit"
		ack      = "EXTERNAL COMMAND: ACKNOWLEDGE_SVC_PROBLEM;h0000;s000;1;0;0;me;x"
	)
	tests := map[string]struct {
		lines []string
		want  string
	}{
		"none":           {nil, "CRITICAL crit a=1"},
		"the last alert": {[]string{ok, critical}, "CRITICAL crit a=1"},
		"an acknowledgement of a service that was well":    {[]string{ack, critical}, "CRITICAL crit a=1"},
		"an acknowledgement of the problem before":         {[]string{critical, ack, ok, critical}, "CRITICAL crit a=1"},
		"an acknowledgement that may be in it":             {[]string{critical, ack}, "CRITICAL acknowledged crit a=1"},
		"an acknowledgement of a problem of earlier":       {[]string{ack}, "CRITICAL acknowledged crit a=1"},
		"an alert behind it":                               {[]string{ack, ok}, "OK fine"},
		"a downtime that began and ended before the alert": {[]string{"SERVICE DOWNTIME ALERT: h0000;s000;STARTED; x", "SERVICE DOWNTIME ALERT: h0000;s000;STOPPED; x", critical}, "CRITICAL crit a=1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &story{t: t, w: newWitness(), now: time.Unix(1795304700, 0), pid: 1}
			s.picture = newPicture(format{}, s.w)
			s.file(s.now.Add(time.Hour), "current_state=2", "plugin_output=crit", "performance_data=a=1") // later than all lines
			for _, line := range tt.lines {
				s.log(line)
			}
			s.tellAll()
			told, _ := s.w.get(service("s000"))
			if got := inWords(told); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
		})
	}
}

func inWords(s checks.Status) string {
	words := []string{s.State.String()}
	for _, mark := range []struct {
		on   bool
		word string
	}{{s.Soft, "soft"}, {s.Acknowledged, "acknowledged"}, {s.InDowntime, "downtime"}, {s.Flapping, "flapping"}} {
		if mark.on {
			words = append(words, mark.word)
		}
	}
	return strings.TrimSpace(strings.Join(append(words, s.Reason, s.Perfdata), " "))
}
