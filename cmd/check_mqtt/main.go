// Check_mqtt is a plugin for Nagios, Icinga and their kin that watches any
// MQTT broker, by the Monitoring Plugins Development Guidelines: one line with
// performance data, exit code 0, 1, 2 or 3, and an end within its time-out
// whatever the broker does.
//
// A mode is one function in a file of its own, given a probe that knows the
// options and opens connections phase by phase. What it finds is judged and
// worded in one place, output.go.
package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"checkbus/checks"
)

func main() {
	os.Exit(plugin(os.Args, os.Stdout))
}

// plugin runs a whole check and returns its exit code.
func plugin(args []string, out io.Writer) int {
	began := time.Now()
	s, err := arguments(args)
	switch {
	case err != nil:
		text := strings.ReplaceAll(err.Error(), "\n", "; ") + " (--help tells more)"
		fmt.Fprintln(out, checks.Output{Service: "MQTT", State: checks.Unknown, Text: text})
		return checks.Unknown.ExitCode()
	case s.help:
		fmt.Fprint(out, usage(s))
		return checks.Unknown.ExitCode()
	case s.show:
		fmt.Fprintln(out, version())
		return checks.Unknown.ExitCode()
	}
	result := render(s, run(s), time.Since(began))
	fmt.Fprintln(out, result)
	return result.State.ExitCode()
}

// release is set by the linker in a release build.
var release string

func version() string {
	number := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		number = info.Main.Version
	}
	return "check_mqtt " + cmp.Or(release, number)
}
