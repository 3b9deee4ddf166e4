package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func TestJSONPathFindsOneValue(t *testing.T) {
	const document = `{"a":{"b":[10,{"c":"x"}]},"odd name":1,"it's":2,"":3,"n":12345678901234567890}`
	tests := map[string]string{
		"$":                "",
		"$.a.b[0]":         "10",
		"a.b[0]":           "10",
		"a.b[-1].c":        "x",
		"$['odd name']":    "1",
		`["odd name"]`:     "1",
		`$["it's"]`:        "2",
		"$['a']['b'][1].c": "x",
		"$['']":            "3",
		"n":                "12345678901234567890",
	}
	parsed, err := parseJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			p, err := parseJSONPath(text)
			if err != nil {
				t.Fatal(err)
			}
			value, err := p.find(parsed)
			if err != nil {
				t.Fatal(err)
			}
			if got := jsonText(value); want != "" && got != want {
				t.Errorf("%s is %s, want %s", text, got, want)
			}
		})
	}
	for _, text := range []string{"a.none", "a.b[2]", "a.b[-3]", "a[0]", "n.x", "a.b.c"} {
		p, err := parseJSONPath(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.find(parsed); !errors.Is(err, errNoValue) {
			t.Errorf("%s: %v, want no value", text, err)
		}
	}
}

func TestJSONPathRefusesWhatNamesManyValues(t *testing.T) {
	for _, text := range []string{"", "$..a", "$.*", "$[*]", "$[0:2]", "$[?(@.a)]", "$.a[", "$.a[x]", "$['a'", "$a.", "a,b"} {
		if p, err := parseJSONPath(text); err == nil {
			t.Errorf("parseJSONPath(%q) = %v, want an error", text, p)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	for _, seed := range []string{"$", "$.a[0]", "a.b['c,d'].e,unit=C", "[-1]", "$..", "["} {
		f.Add(seed, `{"a":[1,{"b":null}]}`)
	}
	f.Fuzz(func(t *testing.T, text, document string) {
		p, rest, err := cutJSONPath(text)
		if err != nil {
			return
		}
		if p.text+rest != text {
			t.Errorf("%q was cut into %q and %q", text, p.text, rest)
		}
		if parsed, err := parseJSON([]byte(document)); err == nil {
			if value, err := p.find(parsed); err == nil {
				jsonText(value)
			}
		}
	})
}

func TestLimitsMayBeTimes(t *testing.T) {
	tests := map[string]struct {
		text string
		base time.Duration
		want string
	}{
		"plain":            {"10:20", time.Second, "10:20"},
		"milliseconds":     {"200ms", time.Second, "0.2"},
		"both bounds":      {"@10m:2h", time.Second, "@600:7200"},
		"days in days":     {"30d:", 24 * time.Hour, "30:"},
		"hours in days":    {"36h:", 24 * time.Hour, "1.5:"},
		"from minus":       {"~:1m", time.Second, "~:60"},
		"negative":         {"-1m:1m", time.Second, "-60:60"},
		"no unit, no time": {"5", 0, "5"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parseLimit(tt.text, tt.base)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tt.want {
				t.Errorf("parseLimit(%q) = %v, want %s", tt.text, r, tt.want)
			}
		})
	}
	for _, bad := range []string{"5m", "20:10", "1:2:3", "ms", "@", "1e400d", "1x", "NaN", "NaNs"} {
		if r, err := parseLimit(bad, 0); err == nil {
			t.Errorf("parseLimit(%q) = %v, want an error", bad, r)
		}
	}
}

func FuzzLimit(f *testing.F) {
	for _, seed := range []string{"10", "@10m:2h", "~:1d", "5:", "ms", "1e308d:", "-5s:5s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseLimit(text, time.Second)
		if err != nil || r.IsZero() {
			return
		}
		if again, err := checks.ParseRange(r.String()); err != nil || again != r {
			t.Errorf("%q became %v, which reads as %v: %v", text, r, again, err)
		}
	})
}

func TestSpans(t *testing.T) {
	tests := map[string]time.Duration{
		"10": 10 * time.Second, "500ms": 500 * time.Millisecond, "1.5m": 90 * time.Second,
		"2h": 2 * time.Hour, "7d": 7 * 24 * time.Hour, ".5": 500 * time.Millisecond,
	}
	for text, want := range tests {
		if got, err := parseSpan(text); err != nil || got != want {
			t.Errorf("parseSpan(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "0", "-1", "s", "10x", "1ss", "NaN", "Inf", "1e300d", "5 s"} {
		if got, err := parseSpan(bad); err == nil {
			t.Errorf("parseSpan(%q) = %v, want an error", bad, got)
		}
	}
}

func TestTimeStamps(t *testing.T) {
	want := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, text := range []string{"1577934245", " 1577934245.0\n", "1577934245000", "2020-01-02T03:04:05Z", "2020-01-02T04:04:05+01:00", "2020-01-02t03:04:05z", "2020-01-02 04:04:05.000+01:00"} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "yesterday", "-5", "NaN", "1e300", "2020-01-02", "2020-01-02 ", "2020-01-02 03:04:05"} {
		if got, err := parseTime(bad); err == nil {
			t.Errorf("parseTime(%q) = %v, want an error", bad, got)
		}
	}
}

func TestShortOptionsAsGetoptTakesThem(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"apart":             {"-H a -p 1", "-H a -p 1"},
		"joined":            {"-Ha -p1", "-H a -p 1"},
		"clustered":         {"-vvv -t 5", "-v -v -v -t 5"},
		"cluster and value": {"-vt5", "-v -t 5"},
		"negative range":    {"-w -5:5 -c -9:9", "-w -5:5 -c -9:9"},
		"after long":        {"--warning -5:5 -vv", "--warning -5:5 -v -v"},
		"long with equals":  {"--warning=-5:5 -vv", "--warning=-5:5 -v -v"},
		"value like a flag": {"-T -vvv", "-T -vvv"},
		"nothing after":     {"-H", "-H"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := separate(options(defaults()), strings.Fields(tt.args))
			if !slices.Equal(got, strings.Fields(tt.want)) {
				t.Errorf("%s became %s, want %s", tt.args, got, tt.want)
			}
		})
	}
}

// FuzzArguments: no command line makes the plugin panic before it begins.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{"", "-vvv", "read -T a -w 5", "sys --value a,warning=5", "--compat=jpmens -w payload<4", "age -T a --time-path [", "-w -5:5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if s, err := arguments(append([]string{"check_mqtt"}, strings.Fields(line)...)); err == nil && !s.help && !s.show {
			render(s, found("text"), time.Second)
		}
	})
}

func TestExpressionsCompareAndNothingElse(t *testing.T) {
	tests := map[string]struct {
		text, payload string
		want          bool
	}{
		"below":       {"payload < 4", "3", true},
		"not below":   {"payload < 4", "4", false},
		"or":          {"payload < 4 or payload >28", "30", true},
		"and first":   {"payload > 1 and payload < 3 or payload == 9", "9", true},
		"and fails":   {"payload > 1 and payload < 3", "5", false},
		"the number":  {"4 > payload", "3", true},
		"float":       {"float(payload) >= 2.5", "2.5", true},
		"text":        {"payload == 'off'", "off", true},
		"other text":  {`payload != "off"`, "on", true},
		"text order":  {"str(payload) < '5'", "40", true},
		"not a digit": {"payload <= -1.5", "-2", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var e expression
			if err := e.set(tt.text); err != nil {
				t.Fatal(err)
			}
			if got, err := e.holds(tt.payload); err != nil || got != tt.want {
				t.Errorf("%s of %s is %t, %v, want %t", tt.text, tt.payload, got, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "payload", "payload <", "payload < exit()", "len(payload) > 3", "payload < 4; x", "payload ** 2 < 4", "payload < 4 or"} {
		var e expression
		if err := e.set(bad); err == nil {
			t.Errorf("%q was taken as %v", bad, e)
		}
	}
}

func FuzzExpression(f *testing.F) {
	f.Add("payload < 4 or payload > 28", "5")
	f.Add("'", "x")
	f.Fuzz(func(t *testing.T, text, payload string) {
		var e expression
		if e.set(text) != nil {
			return
		}
		if _, err := e.holds(payload); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}

func TestSysNumbers(t *testing.T) {
	tests := map[string]float64{
		"12": 12, "12.5": 12.5, "12 seconds": 12,
		"1 days, 2 hours, 3 minutes, 4 seconds": 93784,
	}
	for text, want := range tests {
		if got, err := parseSysNumber(text); err != nil || got != want {
			t.Errorf("parseSysNumber(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"mosquitto version 2.0.11", "", "99999999999999999999 seconds"} {
		if got, err := parseSysNumber(bad); err == nil {
			t.Errorf("parseSysNumber(%q) = %v, want an error", bad, got)
		}
	}
}

func TestSysUnits(t *testing.T) {
	for name, want := range map[string]string{
		"uptime": "s", "clients/connected": "", "bytes/sent": "c", "publish/bytes/received": "c", "load/bytes/sent": "c",
		"load/messages/received/1min": "", "heap/maximum": "B", "store/messages/bytes": "B", "packet/out/count": "",
		"$SYS/broker/publish/messages/dropped": "c",
	} {
		v, err := parseSysValue(name)
		if err != nil || v.unit != want {
			t.Errorf("%s is in %q, %v, want %q", name, v.unit, err, want)
		}
	}
}

// A broker that sends what nobody asked for fills no memory.
func TestSysKeepsOnlyWhatItAskedFor(t *testing.T) {
	filters := []string{"$SYS/broker/uptime", "$SYS/brokers/+/uptime"}
	for topic, want := range map[string]string{
		"$SYS/broker/uptime":      "$SYS/broker/uptime",
		"$SYS/brokers/a@b/uptime": "$SYS/brokers/+/uptime",
		"$SYS/brokers/uptime":     "",
		"junk/1":                  "",
	} {
		if got := filterOf(topic, filters); got != want {
			t.Errorf("%s came in by %q, want %q", topic, got, want)
		}
	}
}

func TestHostMayHaveBrackets(t *testing.T) {
	for text, want := range map[string]string{"[::1]": "[::1]:1883", "::1": "[::1]:1883", "fe80::1%lo": "[fe80::1%lo]:1883", "broker": "broker:1883"} {
		for _, args := range [][]string{{"check_mqtt", "-H", text}, {"check-mqtt", "--host", text}} {
			s, err := arguments(args)
			if err != nil {
				t.Fatal(err)
			}
			if got := (&probe{settings: s}).address(); got != want {
				t.Errorf("%q is the broker %s, want %s", args, got, want)
			}
		}
	}
}

// Every client of a check has an identifier that any broker takes (MQTT 3.1.1,
// section 3.1.3.1).
func TestClientIdentifiersFitAnyBroker(t *testing.T) {
	p := &probe{settings: defaults()}
	id := identity{clientID: p.ownID()}
	for _, id := range []identity{id, id.second("will"), id.second("peer")} {
		if !regexp.MustCompile(`^[0-9a-zA-Z]{1,23}$`).MatchString(id.clientID) {
			t.Errorf("%q", id.clientID)
		}
	}
}
