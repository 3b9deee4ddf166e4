package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"checkbus/internal/bus"
)

// runRejected lists the newest refusals, also beside a running gateway.
func runRejected(args []string, out, log io.Writer) error {
	flags := newFlags("rejected", "Lists the newest messages that were refused, and why; also while the gateway runs.", log)
	config := flags.String("config", "", "settings `file` of the gateway, which say where its data_dir is")
	newest := flags.Int("n", 100, "how many of the newest refusals")
	asJSON := flags.Bool("json", false, "one JSON object a line")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *newest < 1 {
		fmt.Fprintf(log, "checkbus rejected: -n %d is not positive\n", *newest)
		return errUsage
	}
	s, err := readSettings(*config)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	return bus.ReadRefusals(s.DataDir, *newest, func(r bus.Refusal) error {
		if *asJSON {
			return lines.Encode(r)
		}
		_, err := fmt.Fprintf(out, "%s %s %s: %s\n    %s\n", r.Time, printable(r.Client), printable(r.Topic), printable(r.Reason), printable(r.Payload))
		return err
	})
}

// printable is s on one line, without anything a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}
