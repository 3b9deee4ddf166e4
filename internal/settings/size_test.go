package settings

import "testing"

func TestSizesAreReadWithTheirUnits(t *testing.T) {
	tests := map[string]struct {
		text string
		want Size
		show string
		ok   bool
	}{
		"binary":       {"256KiB", 256 << 10, "256KiB", true},
		"decimal":      {"2MB", 2_000_000, "2000000B", true},
		"gibibyte":     {"1GiB", 1 << 30, "1GiB", true},
		"plain":        {"4096", 4096, "4KiB", true},
		"space":        {"16 KiB", 16 << 10, "16KiB", true},
		"zero":         {"0", 0, "0B", true},
		"no number":    {"KiB", 0, "", false},
		"negative":     {"-1KiB", 0, "", false},
		"unknown unit": {"5 apples", 0, "", false},
		"overflow":     {"9223372036854775807KiB", 0, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var s Size
			err := s.UnmarshalText([]byte(tt.text))
			if (err == nil) != tt.ok {
				t.Fatalf("UnmarshalText(%q) = %v", tt.text, err)
			}
			if tt.ok && (s != tt.want || s.String() != tt.show) {
				t.Errorf("%q = %d (%s), want %d (%s)", tt.text, s, s, tt.want, tt.show)
			}
		})
	}
}
