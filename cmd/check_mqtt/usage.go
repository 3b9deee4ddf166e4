package main

import (
	"fmt"
	"strings"
)

const usageHead = `Usage: check_mqtt [MODE] [options]

Watches an MQTT broker. The exit code is 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN;
wrong usage, --help and --version exit with 3.

  check_mqtt -H broker -w 200ms -c 1s
  check_mqtt read -H broker -T plant/boiler --metric temp=temp,critical=10:90

Modes:
`

const jpmensHead = `Usage: check-mqtt [options]

check_mqtt with the options of jpmens/check-mqtt.

Options:
`

const usageTail = `
A TIME is a number with ms, s, m, h or d; without a unit it counts seconds.
A RANGE is one of the Monitoring Plugins guidelines: 10, 10:, ~:10, 10:20 alert
outside, @10:20 inside. Where the value is a time its bounds may have units; in
mode cert they count days without one. A PATH is a JSON path such as $.a.b[0].
--compat=jpmens, or the name check-mqtt or check-mqtt.py, takes the options of
jpmens/check-mqtt instead.
`

// usage is the text of --help, made from the tables of modes and options.
func usage(s *settings) string {
	var b strings.Builder
	if s.jpmens != nil {
		b.WriteString(jpmensHead)
		for _, o := range s.jpmens.options(s) {
			b.WriteString(o.usage())
		}
		return b.String()
	}
	b.WriteString(usageHead)
	for _, m := range modes {
		fmt.Fprintf(&b, "  %-12s %s\n", m.name, m.summary)
	}
	b.WriteString("\nOptions:\n")
	for _, o := range options(s) {
		b.WriteString(o.usage())
	}
	b.WriteString(usageTail)
	return b.String()
}

func (o option) usage() string {
	name := "    --" + o.long
	if o.short != "" {
		name = "-" + o.short + ", --" + o.long
	}
	if o.arg != "" {
		name += " " + o.arg
	}
	help := o.help
	if o.modes != "" {
		help += " [" + o.modes + "]"
	}
	return "  " + name + "\n" + indent(help)
}

// indent sets text in lines of at most 80 columns, eight of them empty.
func indent(text string) string {
	const margin, width = "       ", 80
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		if column == 0 || column+1+len(word) > width {
			if column > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(margin)
			column = len(margin)
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	return b.String() + "\n"
}
