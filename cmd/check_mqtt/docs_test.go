package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every mode and option is in what explains or completes them, and in a script
// that drives the plugin.
func TestEveryOptionIsDocumentedAndDriven(t *testing.T) {
	scripts := readAll(t, "testdata/*.txtar")
	man := strings.ReplaceAll(readAll(t, "../../contrib/man/check_mqtt.1"), `\-`, "-")
	completion := readAll(t, "../../contrib/completion/check_mqtt.bash")
	icinga := readAll(t, "../../contrib/icinga2/check_mqtt.conf")
	nagios := readAll(t, "../../contrib/nagios/check_mqtt.cfg")
	for _, m := range modes {
		for name, text := range map[string]string{"script": scripts, "manual": man, "completion": completion, "Icinga": icinga, "Nagios": nagios} {
			if !hasWord(text, m.name) {
				t.Errorf("mode %s is in no %s", m.name, name)
			}
		}
	}
	for _, o := range options(defaults()) {
		long := "--" + o.long
		for name, text := range map[string]string{"script": scripts, "manual": man, "completion": completion} {
			if !hasWord(text, long) {
				t.Errorf("%s is in no %s", long, name)
			}
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

// The completion offers each mode the options that it takes, and no others.
func TestCompletionKnowsTheModes(t *testing.T) {
	lines := strings.Split(readAll(t, "../../contrib/completion/check_mqtt.bash"), "\n")
	cases := regexp.MustCompile(`^\t(\*|[\w| -]+)\) own=['"](.*)['"] ;;$`)
	listen := "--topic --qos --retained --window --missing-state"
	seen := 0
	for _, line := range lines {
		match := cases.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		for _, name := range strings.Split(strings.ReplaceAll(match[1], "*", "roundtrip"), " | ") {
			seen++
			offered := strings.Fields(strings.ReplaceAll(match[2], "$listen", listen))
			sameOptions(t, name, offered)
		}
	}
	if seen != len(modes) {
		t.Errorf("the completion knows %d modes of %d", seen, len(modes))
	}
}

func sameOptions(t *testing.T, mode string, offered []string) {
	t.Helper()
	has := map[string]bool{}
	for _, o := range offered {
		has[o] = true
	}
	for _, o := range options(defaults()) {
		takes := hasWord(o.modes, mode)
		if o.modes != "" && takes != has["--"+o.long] {
			t.Errorf("mode %s takes --%s: %t, offered: %t", mode, o.long, takes, has["--"+o.long])
		}
	}
}
