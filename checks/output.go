package checks

import "strings"

// An Output is what a plugin prints: by the guidelines one line, with
// performance data behind a "|", then long output. Its exit code is
// State.ExitCode.
type Output struct {
	// Service says what was checked, in capitals by custom: "DISK". It may be
	// empty.
	Service string
	State   State
	// Text is the summary that operators see first, in one line.
	Text string
	// Perfdata goes on the first line.
	Perfdata []Perfdata
	// Long is the long output, a line each.
	Long []string
}

// String prints o without a newline at the end. Text that would read as
// something else is made harmless: "|" becomes "¦", control characters become
// spaces.
func (o Output) String() string {
	var b strings.Builder
	if o.Service != "" {
		b.WriteString(harmless(o.Service, false) + " ")
	}
	b.WriteString(o.State.String())
	if o.Text != "" {
		b.WriteString(" - " + harmless(o.Text, false))
	}
	for i, item := range o.Perfdata {
		if i == 0 {
			b.WriteString(" |")
		}
		b.WriteString(" " + item.String())
	}
	for _, line := range o.Long {
		b.WriteString("\n" + harmless(line, true))
	}
	return b.String()
}

func harmless(s string, lines bool) string {
	return strings.ReplaceAll(cleanString(s, lines), "|", "¦")
}

// Worst is the worst of the states of a service's parts, by the order of
// max_state_alt in the Monitoring Plugins (plugins/utils.c): CRITICAL,
// WARNING, UNKNOWN, OK. States that are no service's count as UNKNOWN, and so
// does having none at all: nothing was checked.
func Worst(states ...State) State {
	worst := Unknown
	for i, s := range states {
		if s > Unknown {
			s = Unknown
		}
		if i == 0 || severity[s] > severity[worst] {
			worst = s
		}
	}
	return worst
}

var severity = [...]int{OK: 0, Unknown: 1, Warning: 2, Critical: 3}
