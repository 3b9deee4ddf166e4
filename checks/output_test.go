package checks

import (
	"strings"
	"testing"
)

func TestOutputIsPrintedAsPluginsDo(t *testing.T) {
	tests := map[string]struct {
		output Output
		want   string
	}{
		"state only": {Output{State: Unknown}, "UNKNOWN"},
		"text":       {Output{Service: "DISK", State: Critical, Text: "/ 97%"}, "DISK CRITICAL - / 97%"},
		"all": {
			Output{"DISK", Warning, "/ 91%", []Perfdata{{Label: "/", Value: 91, Unit: "%"}, {Label: "/var log", Value: 5}}, []string{"one", "", "three"}},
			"DISK WARNING - / 91% | /=91% '/var log'=5\none\n\nthree",
		},
		"hostile": {
			Output{Service: "A|B\n", Text: "a|b\nc\x1b\xff", Long: []string{"d|e\r\n\tf\x00"}},
			"A¦B  OK - a¦b c \uFFFD\nd¦e\n\tf ",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.output.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOutputSurvivesTheWayOfAResult(t *testing.T) {
	o := Output{"X", OK, "fine | not perfdata", []Perfdata{{Label: "a|b c", Value: 1}}, []string{"long | x=1"}}
	first, long, perf, morePerf := splitOutput([]byte(o.String()))
	if string(first) != "X OK - fine ¦ not perfdata" || string(long) != "long ¦ x=1" || len(morePerf) > 0 {
		t.Errorf("%q, %q, %q", first, long, morePerf)
	}
	if items := SplitPerfdata(string(perf)); len(items) != 1 || items[0] != "'a|b c'=1" {
		t.Errorf("perfdata %q", items)
	}
}

func TestWorstOfStates(t *testing.T) {
	tests := map[string]struct {
		states []State
		want   State
	}{
		"none":                   {nil, Unknown},
		"OK":                     {[]State{OK, OK}, OK},
		"unknown over OK":        {[]State{OK, Unknown, OK}, Unknown},
		"warning over unknown":   {[]State{Unknown, Warning, OK}, Warning},
		"critical over all":      {[]State{Warning, Critical, Unknown, OK}, Critical},
		"a host's":               {[]State{OK, Up}, Unknown},
		"critical over a host's": {[]State{Critical, Down}, Critical},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Worst(tt.states...); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOutputStaysOnOneLineWithoutLongOutput(t *testing.T) {
	text := strings.Repeat("\r\n|\u0085\u2028", 3)
	if got := (Output{Service: text, Text: text, Perfdata: []Perfdata{{Label: text, Unit: text}}}).String(); strings.ContainsAny(got, "\r\n\u0085") {
		t.Errorf("got %q", got)
	}
}
