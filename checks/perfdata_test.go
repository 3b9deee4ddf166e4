package checks

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func mustRange(t testing.TB, s string) Range {
	t.Helper()
	r, err := ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPerfdataIsPrintedByTheGrammar(t *testing.T) {
	tests := map[string]struct {
		item Perfdata
		want string
	}{
		"value":            {Perfdata{Label: "users", Value: 3}, "users=3"},
		"unit":             {Perfdata{Label: "time", Value: 0.25, Unit: "s"}, "time=0.25s"},
		"all":              {Perfdata{"/", 97, "%", mustRange(t, "90"), mustRange(t, "@95:"), new(0.0), new(100.0)}, "/=97%;90;@95:;0;100"},
		"gaps":             {Perfdata{Label: "a", Value: 1, Critical: mustRange(t, "~:5"), Max: new(9.0)}, "a=1;;~:5;;9"},
		"unknown":          {Perfdata{Label: "a", Value: math.NaN(), Unit: "s", Max: new(9.0)}, "a=U;;;;9"},
		"infinite":         {Perfdata{Label: "a", Value: math.Inf(1), Min: new(math.Inf(-1))}, "a=U"},
		"large":            {Perfdata{Label: "a", Value: 1e21, Unit: "B"}, "a=1000000000000000000000B"},
		"small":            {Perfdata{Label: "a", Value: -1e-7}, "a=-0.0000001"},
		"minus zero":       {Perfdata{Label: "a", Value: math.Copysign(0, -1)}, "a=0"},
		"space in a label": {Perfdata{Label: "Disk C:"}, "'Disk C:'=0"},
		"quote in a label": {Perfdata{Label: "it's"}, "'it''s'=0"},
		"equals in label":  {Perfdata{Label: "a=b"}, "a_b=0"},
		"newline in label": {Perfdata{Label: "a\r\nb\x00"}, "'a b '=0"},
		"broken label":     {Perfdata{Label: "a\xff"}, "a\uFFFD=0"},
		"empty label":      {Perfdata{}, "''=0"},
		"unit mended":      {Perfdata{Label: "a", Value: 1, Unit: "5 m3;'\n/s"}, "a=1m/s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.item.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParsePerfdataReadsWhatPluginsPrint(t *testing.T) {
	tests := map[string]struct {
		text, want string // want as printed again
	}{
		"nothing":           {" ", ""},
		"one":               {"load1=0.5;5;10;0;", "load1=0.5;5;10;0"},
		"several":           {" a=1  b=2\tc=3\r\nd=4 ", "a=1 b=2 c=3 d=4"},
		"quoted":            {"'/ var'=5MB;;;0;10 'it''s'=1 ''''=2", "'/ var'=5MB;;;0;10 'it''s'=1 ''''=2"},
		"needless quotes":   {"'a'=1", "a=1"},
		"equals in quotes":  {"'a=b'=1", "a_b=1"},
		"no quotes":         {"Disk C: used=5%;80", "'Disk C: used'=5%;80"},
		"unclosed quote":    {"'a=1 b=2", "'''a'=1 b=2"},
		"unknown":           {"a=U b= c=;;;;5", "a=U b=U c=U;;;;5"},
		"comma":             {"a=1,5s;2,5;3,5;0,1", "a=1.5s;2.5;3.5;0.1"},
		"exponent":          {"a=1e-05s b=2E+3 c=3e", "a=0.00001s b=2000 c=3e"},
		"point":             {"a=.5 b=5. c=+5 d=-0", "a=0.5 b=5 c=5 d=0"},
		"other units":       {"a=21.5°C b=5m/s c=3packets", "a=21.5°C b=5m/s c=3packets"},
		"broken thresholds": {"a=1;20:10;5%;x;y", "a=1"},
		"more fields":       {"a=1;2;3;4;5;6;7", "a=1;2;3;4;5"},
		"range thresholds":  {"a=1;@5:10;~:3", "a=1;@5:10;~:3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			items, err := ParsePerfdata(tt.text)
			var got []string
			for _, item := range items {
				got = append(got, item.String())
			}
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestParsePerfdataLeavesOutWhatItCannotRead(t *testing.T) {
	for _, text := range []string{"=1", "''=1", "x=abc", "x=1.2.3", "x=2026-11-21", "x=0x10", "x=NaN", "x=1e999", "x=5\"", "x=5m3", "[check_disk]"} {
		items, err := ParsePerfdata("a=1 b=2 " + text)
		if !errors.Is(err, ErrInvalid) || len(items) != 2 {
			t.Errorf("%q: %v, %v", text, items, err)
		}
	}
	items, err := ParsePerfdata("x=? a=1 y=? b=2")
	if len(items) != 2 || err == nil || !strings.Contains(err.Error(), `"x=?"`) {
		t.Errorf("%v, %v", items, err)
	}
}

func TestSplitPerfdataLosesNothing(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"empty":          {"", nil},
		"spaces":         {" \t ", nil},
		"plain":          {"a=1;2;3 b=2", []string{"a=1;2;3", "b=2"}},
		"quoted":         {"'a b'=1 'c''d = e'=2 f=3", []string{"'a b'=1", "'c''d = e'=2", "f=3"}},
		"no quotes":      {"Disk C: used=5 b=1", []string{"Disk C: used=5", "b=1"}},
		"rest":           {"a=1 [check_disk] ", []string{"a=1", "[check_disk]"}},
		"unclosed quote": {"'a b=1 c=2", []string{"'a b=1", "c=2"}},
		"odd quotes":     {"it's=1 'b c'd=2 '=3", []string{"it's=1", "'b c'd=2", "'=3"}},
		"bars":           {"a=1|b=2 c=3", []string{"a=1|b=2", "c=3"}},
		"no value":       {"a= b=1", []string{"a=", "b=1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := SplitPerfdata(tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPerfdataStateFollowsItsThresholds(t *testing.T) {
	warning, critical := mustRange(t, "80"), mustRange(t, "90")
	for value, want := range map[float64]State{50: OK, 85: Warning, 95: Critical, -1: Critical, math.Inf(1): Critical} {
		if got := (Perfdata{Value: value, Warning: warning, Critical: critical}).State(); got != want {
			t.Errorf("%v is %v, want %v", value, got, want)
		}
	}
	if got := (Perfdata{Value: math.NaN()}).State(); got != Unknown {
		t.Errorf("NaN is %v", got)
	}
}

func FuzzPerfdata(f *testing.F) {
	for _, s := range []string{"a=1;2;3;4;5", "'a b'=1,5s;@1:2 c=U", "''''=1 '='=2", "Disk C:=5e-3% [x]", "'a=1 ''b=2", "a=\xff\n=1", "a==1", "a=5ee5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		split := SplitPerfdata(text)
		if got, want := strings.Fields(strings.Join(split, " ")), strings.Fields(text); !reflect.DeepEqual(got, want) && isASCII(text) {
			t.Fatalf("%q is split into %q", text, split)
		}
		items, err := ParsePerfdata(text)
		if err == nil && len(items) != len(split) {
			t.Fatalf("%q: %d items, want %d", text, len(items), len(split))
		}
		for _, item := range items {
			printed := item.String()
			if strings.ContainsFunc(printed, unicode.IsControl) {
				t.Fatalf("%q is printed %q", text, printed)
			}
			again, err := ParsePerfdata(printed)
			if err != nil || len(again) != 1 || again[0].String() != printed {
				t.Fatalf("%q is printed %q, which is %v, %v", text, printed, again, err)
			}
			if label := strings.ReplaceAll(item.Label, "=", "_"); again[0].Label != label {
				t.Fatalf("label %q is read back as %q", label, again[0].Label)
			}
		}
	})
}

// isASCII is for strings.Fields, which knows more spaces than the grammar.
func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || r == '\v' || r == '\f' })
}
