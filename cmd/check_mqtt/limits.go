package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
)

// parseLimit reads a threshold: a range by the Monitoring Plugins guidelines
// whose bounds may be times, such as 30d: or @10m:2h, which become numbers in
// base. With a base of 0 the value is no time, and no unit is taken. Nothing
// is no threshold.
func parseLimit(text string, base time.Duration) (checks.Range, error) {
	if text == "" {
		return checks.Range{}, nil
	}
	plain, at := strings.CutPrefix(text, "@")
	bounds := strings.Split(plain, ":")
	for i, b := range bounds {
		bounds[i] = inBase(b, base)
	}
	plain = strings.Join(bounds, ":")
	if at {
		plain = "@" + plain
	}
	r, err := checks.ParseRange(plain)
	if err != nil && plain != text {
		return r, fmt.Errorf("%q: %w", text, err)
	}
	return r, err
}

// inBase turns a number with a unit into a number of bases. What has no unit
// is left as it is.
func inBase(bound string, base time.Duration) string {
	digits := strings.TrimRight(bound, "mshd")
	unit, ok := units[bound[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	if base == 0 || !ok || err != nil {
		return bound
	}
	return strconv.FormatFloat(n*float64(unit)/float64(base), 'f', -1, 64)
}
