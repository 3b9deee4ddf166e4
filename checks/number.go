package checks

import (
	"strconv"
)

// numberLen is the length of the decimal number that s begins with, or 0: an
// optional sign, digits with an optional point, and an optional exponent.
// Unlike strconv it knows no hexadecimal, underscores, NaN or infinity.
func numberLen(s string) int {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	whole := digitsLen(s[i:])
	i += whole
	if i < len(s) && s[i] == '.' {
		fraction := digitsLen(s[i+1:])
		if whole+fraction == 0 {
			return 0
		}
		i += 1 + fraction
	} else if whole == 0 {
		return 0
	}
	if i == len(s) || s[i] != 'e' && s[i] != 'E' {
		return i
	}
	exponent := i + 1
	if exponent < len(s) && (s[exponent] == '+' || s[exponent] == '-') {
		exponent++
	}
	if n := digitsLen(s[exponent:]); n > 0 {
		return exponent + n
	}
	return i
}

func digitsLen(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func isNumber(s string) bool { return s != "" && numberLen(s) == len(s) }

// parseNumber reads a decimal number that a float64 can hold.
func parseNumber(s string) (float64, bool) {
	if !isNumber(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// formatNumber writes f without an exponent, so that parseNumber reads it back
// exactly, and without a sign before zero.
func formatNumber(f float64) string {
	if f == 0 {
		return "0"
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
