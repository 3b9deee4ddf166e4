package icinga

import (
	"encoding/json"
	"strings"

	"checkbus/checks"
)

// A perfItem is one item of performance data as plugins print it; "" for what
// is none.
type perfItem string

// UnmarshalJSON reads what a plugin printed, or the object that Icinga's
// built-in checks give (lib/base/perfdatavalue.ti).
func (p *perfItem) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*p = perfItem(quoted(text))
		return nil
	}
	var v struct {
		Label   string   `json:"label"`
		Value   *float64 `json:"value"`
		Unit    string   `json:"unit"`
		Counter bool     `json:"counter"`
		Warn    *float64 `json:"warn"`
		Crit    *float64 `json:"crit"`
		Min     *float64 `json:"min"`
		Max     *float64 `json:"max"`
	}
	if json.Unmarshal(b, &v) != nil || v.Label == "" || v.Value == nil {
		return nil // one odd item must not hide the state
	}
	if v.Counter {
		v.Unit = "c"
	}
	*p = perfItem(checks.Perfdata{
		Label: v.Label, Value: *v.Value, Unit: v.Unit,
		Warning: upTo(v.Warn), Critical: upTo(v.Crit), Min: v.Min, Max: v.Max,
	}.String())
	return nil
}

// upTo is the range from 0 to a threshold; none where there is no such range.
func upTo(threshold *float64) checks.Range {
	if threshold == nil {
		return checks.Range{}
	}
	r, _ := checks.ParseRange(string(appendNumber(nil, *threshold)))
	return r
}

// quoted is an item whose label is in quotes where it needs them: Icinga takes
// those of its plugins' labels away.
func quoted(item string) string {
	label, value, ok := strings.Cut(item, "=")
	if !ok || strings.HasPrefix(label, "'") || !strings.ContainsAny(label, " \t'") {
		return item
	}
	return "'" + strings.ReplaceAll(label, "'", "''") + "'=" + value
}

func joinPerfdata(items []perfItem) string {
	var b strings.Builder
	for _, item := range items {
		if b.Len() > 0 && item != "" {
			b.WriteByte(' ')
		}
		b.WriteString(string(item))
	}
	return b.String()
}

// itemsOf parts performance data as it is handed to Icinga.
func itemsOf(perfdata string) []perfItem {
	var items []perfItem
	for _, item := range checks.SplitPerfdata(perfdata) {
		items = append(items, perfItem(quoted(item)))
	}
	return items
}
