package checks

import "strings"

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
