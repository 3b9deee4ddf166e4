package checks

import (
	"errors"
	"flag"
	"math"
	"strings"
	"testing"
)

func TestRangeAlertsAsTheGuidelinesSay(t *testing.T) {
	const below = -1e-9
	inf := math.Inf(1)
	tests := map[string]struct{ alerts, fine []float64 }{
		"":         {nil, []float64{-inf, -1, 0, 1, inf, math.NaN()}},
		"10":       {[]float64{-inf, -5, below, 10.1, 100, inf, math.NaN()}, []float64{0, 5, 10}},
		"10:":      {[]float64{-inf, 0, 9.9, math.NaN()}, []float64{10, 11, inf}},
		"~:10":     {[]float64{10.1, inf}, []float64{-inf, -10, 0, 10}},
		"10:20":    {[]float64{-10, 0, 9.9, 20.1, inf}, []float64{10, 15, 20}},
		"@10:20":   {[]float64{10, 15, 20}, []float64{-10, 9.9, 20.1, inf, math.NaN()}},
		"@10":      {[]float64{0, 5, 10}, []float64{below, 10.1}},
		"@~:0":     {[]float64{-inf, -5, 0}, []float64{0.1, inf}},
		"0":        {[]float64{below, 1}, []float64{0}},
		"-20:-10":  {[]float64{-20.1, -9.9, 0}, []float64{-20, -15, -10}},
		"0.5:1.25": {[]float64{0.49, 1.26}, []float64{0.5, 1, 1.25}},
		"~:":       {nil, []float64{-inf, 0, inf}},
		"5:5":      {[]float64{4, 6}, []float64{5}},
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			var r Range
			if text != "" {
				var err error
				if r, err = ParseRange(text); err != nil {
					t.Fatal(err)
				}
			}
			for _, v := range tt.alerts {
				if !r.Alerts(v) {
					t.Errorf("no alert at %v", v)
				}
			}
			for _, v := range tt.fine {
				if r.Alerts(v) {
					t.Errorf("alert at %v", v)
				}
			}
			if r.String() != text || r.IsZero() != (text == "") {
				t.Errorf("String = %q, IsZero = %t", r.String(), r.IsZero())
			}
		})
	}
}

func TestRangeContainsWhatItsBoundsSay(t *testing.T) {
	r, err := ParseRange("@10:20")
	if err != nil || !r.Contains(10) || !r.Contains(20) || r.Contains(9) || r.Contains(21) {
		t.Errorf("%v, %v", r, err)
	}
	if !(Range{}).Contains(-1) {
		t.Error("the zero Range does not contain -1")
	}
}

func TestRangeIsPrintedShortAndWithoutExponent(t *testing.T) {
	tests := map[string]string{
		"0:10": "10", "0:": "0:", "@0:5": "@5", "010:0020": "10:20", "1.50:2.": "1.5:2", ".5": "0.5", "+1:+2": "1:2",
		"1e3:1E+6": "1000:1000000", "-0": "0", "-0:1": "1", "1e-7": "0.0000001", "~:-5": "~:-5",
	}
	for text, want := range tests {
		if r, err := ParseRange(text); err != nil || r.String() != want {
			t.Errorf("ParseRange(%q) = %q, %v, want %q", text, r, err, want)
		}
	}
}

func TestParseRangeRefuses(t *testing.T) {
	for _, text := range []string{
		"", "@", ":", "~", "@~", "20:10", "-10", "10,20", "NaN", "nan:", "Inf", "~:inf", "10:~", ":10", "@:10", "~5:10",
		"1:2:3", "1::2", " 10", "10 ", "1: 2", "0x10", "1_0", "1e", "1e999", "--1", "@@1", "10@", "1.2.3", ".", "10%", "٣",
	} {
		r, err := ParseRange(text)
		if !errors.Is(err, ErrInvalid) || !r.IsZero() {
			t.Errorf("ParseRange(%q) = %q, %v, want an error", text, r, err)
		}
	}
}

func TestRangeIsAFlag(t *testing.T) {
	var warning, critical Range
	flags := flag.NewFlagSet("check_x", flag.ContinueOnError)
	flags.SetOutput(&strings.Builder{})
	flags.TextVar(&warning, "w", Range{}, "")
	flags.TextVar(&critical, "c", Range{}, "")
	if err := flags.Parse([]string{"-w", "10:20"}); err != nil || warning.String() != "10:20" || !critical.IsZero() {
		t.Errorf("%v, %q, %q", err, warning, critical)
	}
	if err := flags.Parse([]string{"-w", "20:10"}); err == nil || warning.String() != "10:20" {
		t.Errorf("%v, %q", err, warning)
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"10", "10:", "~:10", "10:20", "@10:20", "@", "~:", "1e300", "-.5:.5", "0x1p4", "1e-400"} {
		f.Add(s, 1.5)
	}
	f.Fuzz(func(t *testing.T, text string, value float64) {
		r, err := ParseRange(text)
		if err != nil {
			return
		}
		again, err := ParseRange(r.String())
		if err != nil || again.String() != r.String() || again.Alerts(value) != r.Alerts(value) {
			t.Fatalf("%q is %q is %q, %v", text, r, again, err)
		}
		if strings.ContainsAny(r.String(), "eE+ ") {
			t.Fatalf("%q is printed %q", text, r)
		}
	})
}
