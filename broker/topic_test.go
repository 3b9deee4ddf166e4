package broker

import (
	"strings"
	"testing"
)

func TestFilterMatchesByTheSpecification(t *testing.T) {
	tests := map[string]struct {
		filter string
		yes    []string
		no     []string
	}{
		"literal":               {"a/b", []string{"a/b"}, []string{"a", "a/", "a/b/", "a/b/c", "a/bc", "A/b", "/a/b", "b"}},
		"single level":          {"a/+", []string{"a/b", "a/"}, []string{"a", "a/b/c", "b/a"}},
		"single level first":    {"+/a", []string{"b/a", "/a"}, []string{"a", "a/a/a", "$b/a"}},
		"single level alone":    {"+", []string{"a"}, []string{"/a", "a/", "$a", ""}},
		"two single levels":     {"+/+", []string{"/", "/a", "a/"}, []string{"a", "a/b/c"}},
		"single in the middle":  {"a/+/c", []string{"a/b/c", "a//c"}, []string{"a/c", "a/b/d", "a/b/c/d"}},
		"all":                   {"#", []string{"a", "/", "a/b/c"}, []string{"$SYS", "$SYS/a", ""}},
		"all below, and itself": {"a/#", []string{"a", "a/", "a/b", "a/b/c"}, []string{"ab", "ab/c", "b", "/a"}},
		"single, then all":      {"+/#", []string{"a", "a/b", "/"}, []string{"$a/b"}},
		"single deep, then all": {"a/+/#", []string{"a/b", "a/", "a/b/c"}, []string{"a", "b/b"}},
		"dollar":                {"$SYS/#", []string{"$SYS", "$SYS/a"}, []string{"SYS/a", "a"}},
		"dollar and single":     {"$SYS/+", []string{"$SYS/a"}, []string{"$SYS", "$SYS/a/b"}},
		"dollar further down":   {"a/#", []string{"a/$b"}, nil},
		"empty first level":     {"/#", []string{"/", "/a"}, []string{"a", "a/"}},
		"two empty levels":      {"//#", []string{"/", "//", "//a"}, []string{"a", "/a"}},
		"not ASCII":             {"é/+", []string{"é/ü"}, []string{"e/ü"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := checkFilter(tt.filter); err != nil {
				t.Fatal(err)
			}
			for _, topic := range tt.yes {
				if !filterMatches(tt.filter, topic) {
					t.Errorf("%q does not match %q", tt.filter, topic)
				}
			}
			for _, topic := range tt.no {
				if filterMatches(tt.filter, topic) {
					t.Errorf("%q matches %q", tt.filter, topic)
				}
			}
		})
	}
}

func TestInvalidFiltersAreRefused(t *testing.T) {
	for _, filter := range []string{
		"", "a+", "+a", "a/+b", "a/b+/c", "++", "a#", "a/#b", "#/a", "a/#/b", "##", "+#",
		strings.Repeat("x", maxFilterBytes+1), strings.Repeat("a/", maxLevels+1),
	} {
		if checkFilter(filter) == nil {
			t.Errorf("%.40q is taken", filter)
		}
	}
}

func TestOnlyTheGatewayPublishesReservedTopics(t *testing.T) {
	tests := map[string]bool{
		"checkbus":                          true,
		"checkbus/state/web1":               true,
		"checkbusier":                       false,
		"$SYS":                              true,
		"$SYS/broker/uptime":                true,
		"$SYS/broker/connection/dc2/state":  false,
		"$SYS/broker/connection/a/b/state":  true,
		"$share/g/a":                        true,
		"$internal/a":                       false,
		"nagios/web1":                       false,
		"nagios/checkbus/$SYS/broker/state": false,
	}
	for topic, want := range tests {
		if got := Reserved(topic); got != want {
			t.Errorf("Reserved(%q) = %t, want %t", topic, got, want)
		}
	}
}

// matchLevels is section 4.7 of the MQTT specification word by word, level by
// level.
func matchLevels(filter, topic []string) bool {
	switch {
	case len(filter) > 0 && filter[0] == "#":
		return true
	case len(filter) == 0 || len(topic) == 0:
		return len(filter) == len(topic)
	case filter[0] != "+" && filter[0] != topic[0]:
		return false
	}
	return matchLevels(filter[1:], topic[1:])
}

func FuzzFilterMatches(f *testing.F) {
	for _, filter := range []string{"a/b", "a/+", "+", "#", "+/#", "a/#", "//#", "$SYS/+/b", "a//b"} {
		for _, topic := range []string{"a", "a/b", "/", "a/", "$SYS/a/b", "a//b"} {
			f.Add(filter, topic)
		}
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if topic == "" || strings.ContainsAny(topic, "+#") || checkFilter(filter) != nil {
			return
		}
		want := matchLevels(strings.Split(filter, "/"), strings.Split(topic, "/"))
		if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
			want = false
		}
		if got := filterMatches(filter, topic); got != want {
			t.Errorf("filterMatches(%q, %q) = %t, want %t", filter, topic, got, want)
		}
		if got := filterMatches([]byte(filter), topic); got != want {
			t.Errorf("filterMatches of bytes (%q, %q) = %t, want %t", filter, topic, got, want)
		}
	})
}
