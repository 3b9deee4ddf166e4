package checks

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Perfdata is one item of performance data by the Monitoring Plugins
// Development Guidelines: 'label'=value[unit];[warn];[crit];[min];[max].
type Perfdata struct {
	// Label may hold any text; graphing tools want it short and stable.
	Label string
	// Value is printed as U, unknown, when it is NaN or infinite.
	Value float64
	// Unit is s, us, ms, %, B, KB, MB, TB, c for a counter, or nothing by the
	// guidelines; cores take others too.
	Unit string
	// Warning and Critical are zero where there is no threshold.
	Warning, Critical Range
	// Min and Max are nil where the value has no bounds.
	Min, Max *float64
}

// State is what the value means by its thresholds; UNKNOWN when it is NaN.
func (p Perfdata) State() State {
	switch {
	case math.IsNaN(p.Value):
		return Unknown
	case p.Critical.Alerts(p.Value):
		return Critical
	case p.Warning.Alerts(p.Value):
		return Warning
	}
	return OK
}

// String prints p as plugins do. What the grammar has no place for is mended:
// "=" in a label becomes "_", control characters become spaces, and of the
// unit digits, quotes, and punctuation between fields are left out.
func (p Perfdata) String() string {
	value := "U"
	if finite(p.Value) {
		value = formatNumber(p.Value) + strings.Map(unitRune, p.Unit)
	}
	fields := []string{value, p.Warning.String(), p.Critical.String(), formatBound(p.Min), formatBound(p.Max)}
	return quoteLabel(p.Label) + "=" + strings.TrimRight(strings.Join(fields, ";"), ";")
}

func formatBound(f *float64) string {
	if f == nil || !finite(*f) {
		return ""
	}
	return formatNumber(*f)
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// unitRune is r where a unit may hold it, else -1.
func unitRune(r rune) rune {
	if r == utf8.RuneError || unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("0123456789.,;='\"|+-", r) {
		return -1
	}
	return r
}

// quoteLabel puts a label in quotes where it needs them.
func quoteLabel(label string) string {
	label = strings.ReplaceAll(cleanString(label, false), "=", "_")
	if label != "" && !strings.ContainsAny(label, " '") {
		return label
	}
	return "'" + strings.ReplaceAll(label, "'", "''") + "'"
}

// ParsePerfdata reads performance data as plugins print it in the wild: also
// with a decimal comma, with exponents, with labels that lack their quotes,
// and without a value, which is unknown like U. Thresholds and bounds that
// cannot be read are left out. So are items without a label, or whose value is
// no number with a unit; the error, which wraps ErrInvalid, names the first.
func ParsePerfdata(s string) ([]Perfdata, error) {
	var items []Perfdata
	var err error
	for {
		text, rest := nextPerfdata(s)
		if text == "" {
			return items, err
		}
		item, ok := parsePerfdata(text)
		if ok {
			items = append(items, item)
		} else if err == nil {
			err = fmt.Errorf("%w: performance data %s: no label with a number and a unit", ErrInvalid, excerpt(text))
		}
		s = rest
	}
}

func parsePerfdata(item string) (Perfdata, bool) {
	var p Perfdata
	var text string
	hasValue := true
	if n := quotedLen(item); n > 0 {
		p.Label, text = strings.ReplaceAll(item[1:n-1], "''", "'"), item[n+1:]
	} else {
		p.Label, text, hasValue = strings.Cut(item, "=")
		p.Label = strings.TrimRight(p.Label, perfSpace)
	}
	p.Label = cleanString(p.Label, false)
	if p.Label == "" || !hasValue {
		return Perfdata{}, false
	}
	var fields [5]string
	copy(fields[:], strings.SplitN(text, ";", len(fields)+1))
	var ok bool
	if p.Value, p.Unit, ok = parseQuantity(fields[0]); !ok {
		return Perfdata{}, false
	}
	p.Warning, _ = ParseRange(withPoint(fields[1]))
	p.Critical, _ = ParseRange(withPoint(fields[2]))
	p.Min, p.Max = parseBound(fields[3]), parseBound(fields[4])
	return p, true
}

// parseQuantity reads a number and its unit.
func parseQuantity(s string) (value float64, unit string, ok bool) {
	if s == "" || s == "U" {
		return math.NaN(), "", true
	}
	s = withPoint(s)
	n := numberLen(s)
	value, ok = parseNumber(s[:n])
	unit = s[n:]
	return value, unit, ok && strings.Map(unitRune, unit) == unit
}

func parseBound(s string) *float64 {
	if f, ok := parseNumber(withPoint(s)); ok {
		return &f
	}
	return nil
}

// withPoint turns a decimal comma into a point.
func withPoint(s string) string {
	if strings.Contains(s, ".") {
		return s
	}
	return strings.Replace(s, ",", ".", 1)
}

// SplitPerfdata parts performance data into its items: a label, which may be
// in single quotes, "=", and what follows up to white space. White space in a
// label that lacks its quotes stays in the label, as in Icinga 2
// (lib/icinga/pluginutility.cpp, SplitPerfdata); text without a "=" at
// the end is one item. Nothing but white space between items is lost.
func SplitPerfdata(s string) []string {
	var items []string
	for {
		item, rest := nextPerfdata(s)
		if item == "" {
			return items
		}
		items = append(items, item)
		s = rest
	}
}

const perfSpace = " \t\r\n"

// nextPerfdata is the first item of s and what follows it; "" when s has none.
func nextPerfdata(s string) (item, rest string) {
	s = strings.TrimLeft(s, perfSpace)
	label := quotedLen(s)
	equals := strings.IndexByte(s[label:], '=')
	if equals < 0 {
		return strings.TrimRight(s, perfSpace), ""
	}
	value := label + equals + 1
	end := strings.IndexAny(s[value:], perfSpace)
	if end < 0 {
		return s, ""
	}
	return s[:value+end], s[value+end:]
}

// quotedLen is the length of the quoted label, two quotes in it standing for
// one, that s begins with before a "=", or 0.
func quotedLen(s string) int {
	if !strings.HasPrefix(s, "'") {
		return 0
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			i++
			continue
		}
		if i+1 < len(s) && s[i+1] == '=' {
			return i + 1
		}
		return 0
	}
	return 0
}

// fitPerfdata cuts s to the items that end within limit bytes.
func fitPerfdata(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := 0
	for rest := s; rest != ""; {
		if _, rest = nextPerfdata(rest); len(s)-len(rest) > limit {
			break
		}
		end = len(s) - len(rest)
	}
	return strings.Clone(s[:end])
}
