package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"checkbus/internal/realtest"
)

// Every mode and option is in what explains or completes them, and in a script
// that drives the plugin.
func TestEveryOptionIsDocumentedAndDriven(t *testing.T) {
	scripts := readAll(t, "testdata/*.txtar")
	man := strings.ReplaceAll(readAll(t, "../../contrib/man/check_mqtt.1"), `\-`, "-")
	icinga := readAll(t, "../../contrib/icinga2/check_mqtt.conf")
	nagios := readAll(t, "../../contrib/nagios/check_mqtt.cfg")
	for _, m := range modes {
		for name, text := range map[string]string{"script": scripts, "manual": man, "Icinga": icinga, "Nagios": nagios} {
			if !hasWord(text, m.name) {
				t.Errorf("mode %s is in no %s", m.name, name)
			}
		}
	}
	for _, o := range options(defaults()) {
		long := "--" + o.long
		for name, text := range map[string]string{"script": scripts, "manual": man} {
			if !hasWord(text, long) {
				t.Errorf("%s is in no %s", long, name)
			}
		}
		if text := manualText(o); !strings.Contains(strings.ToLower(man), text) {
			t.Errorf("the manual does not say of %s%s", long, text)
		}
		if o.short != "" && !hasWord(scripts, "-"+o.short) && !strings.Contains(scripts, " -"+o.short) {
			t.Errorf("-%s is in no script", o.short)
		}
		if !hasWord(icinga, long) && !notForCores[o.long] {
			t.Errorf("%s is not in the CheckCommand", long)
		}
	}
	for _, o := range new(jpmens).options(defaults()) {
		if !hasWord(scripts, "--"+o.long) && !strings.Contains(scripts, " -"+o.short+" ") {
			t.Errorf("--%s of jpmens is in no script", o.long)
		}
	}
}

// manualText is what the manual says of an option, which is what --help says,
// in lower case.
func manualText(o option) string {
	text := "\n" + o.help + "."
	if o.modes != "" {
		text += " Modes: " + strings.Join(strings.Fields(o.modes), ", ") + "."
	}
	return strings.ToLower(text + "\n")
}

// notForCores are the options that a core has no use for.
var notForCores = map[string]bool{"password": true, "version": true, "help": true}

func hasWord(text, word string) bool {
	return regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(word) + `($|[^\w-])`).MatchString(text)
}

func readAll(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	var b strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

// A shell tells what its completion offers.
type shell struct {
	modes  string // a script that prints the modes, a line each, behind the pattern
	mode   *regexp.Regexp
	script string // one that prints the long options of MODE
	option *regexp.Regexp
}

// What zsh completes only _arguments knows, so that says what it is given.
var shells = map[string]shell{
	"bash": {
		`. ./check_mqtt.bash; COMP_WORDS=(check_mqtt ''); COMP_CWORD=1; _check_mqtt; printf '%s\n' "${COMPREPLY[@]}"`,
		regexp.MustCompile(`(?m)^([a-z-]+)$`),
		`. ./check_mqtt.bash; COMP_WORDS=(check_mqtt MODE --); COMP_CWORD=2; _check_mqtt; printf '%s\n' "${COMPREPLY[@]}"`,
		regexp.MustCompile(`(?m)^--([a-z-]+)`),
	},
	"fish": {
		`source check_mqtt.fish; complete -C 'check_mqtt '`,
		regexp.MustCompile(`(?m)^([a-z-]+)\t`),
		`source check_mqtt.fish; complete -C 'check_mqtt MODE --'`,
		regexp.MustCompile(`(?m)^--([a-z-]+)`),
	},
	"zsh": {
		`_arguments() { print -rl -- "$@" }; words=(check_mqtt ''); . ./_check_mqtt`,
		regexp.MustCompile(`([a-z-]+)\\:"`),
		`_arguments() { print -rl -- "$@" }; words=(check_mqtt MODE --); . ./_check_mqtt`,
		regexp.MustCompile(`(?m)^(?:\(.*?\)|\*)?--([a-z-]+)`),
	},
}

// The completion of each shell offers every mode, and to each mode the options
// that it takes and no others.
func TestCompletionOffersWhatThereIs(t *testing.T) {
	for name, sh := range shells {
		t.Run(name, func(t *testing.T) {
			program := realtest.Need(t, name)
			offered := func(script string, pattern *regexp.Regexp) (words []string) {
				cmd := exec.Command(program, "-c", script)
				cmd.Dir, cmd.Env = "../../contrib/completion", append(os.Environ(), "HOME="+t.TempDir())
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", script, err, out)
				}
				for _, match := range pattern.FindAllStringSubmatch(string(out), -1) {
					words = append(words, match[1])
				}
				slices.Sort(words)
				return words
			}
			var names []string
			for _, m := range modes {
				names = append(names, m.name)
				got, want := offered(strings.ReplaceAll(sh.script, "MODE", m.name), sh.option), takenBy(m.name)
				if !slices.Equal(got, want) {
					t.Errorf("in mode %s it offers\n%q, there are\n%q", m.name, got, want)
				}
			}
			slices.Sort(names)
			if got := offered(sh.modes, sh.mode); !slices.Equal(got, names) {
				t.Errorf("it offers modes\n%q, there are\n%q", got, names)
			}
		})
	}
}

// takenBy are the long options of a mode, sorted.
func takenBy(mode string) []string {
	names := []string{"compat"}
	for _, o := range options(defaults()) {
		if o.modes == "" || slices.Contains(strings.Fields(o.modes), mode) {
			names = append(names, o.long)
		}
	}
	slices.Sort(names)
	return names
}

// --help fits a terminal of 80 columns, as the guidelines ask.
func TestHelpFitsATerminal(t *testing.T) {
	for _, args := range [][]string{{"check_mqtt", "-h"}, {"check-mqtt", "-h"}} {
		s, err := arguments(args)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(usage(s)) {
			if line = strings.TrimSuffix(line, "\n"); len(line) > 80 || strings.HasSuffix(line, " ") {
				t.Errorf("%d columns: %q", len(line), line)
			}
		}
	}
}
