package checks

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// cutMark ends output that was cut.
	cutMark = " [cut]"
	// maxExcerpt bounds what a message repeats of the publisher's text, in bytes.
	maxExcerpt = 40
)

// clean replaces the control characters of b, which is valid UTF-8, in place:
// CR LF becomes a newline, every other one a space, but for newline and tab
// where lines is true.
func clean(b []byte, lines bool) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n':
			continue
		case lines && (c == '\n' || c == '\t'):
			out = append(out, c)
		case c < ' ' || c == 0x7f:
			out = append(out, ' ')
		case c == 0xc2 && b[i+1] < 0xa0: // U+0080 to U+009F
			out = append(out, ' ')
			i++
		default:
			out = append(out, c)
		}
	}
	return out
}

// cleanString is clean for any text.
func cleanString(s string, lines bool) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return s
	}
	return string(clean([]byte(strings.ToValidUTF8(s, "\uFFFD")), lines))
}

// splitOutput parts a plugin's output as Nagios does (base/utils.c,
// parse_check_output): performance data follows the first "|" of the first
// line, and from the first "|" of the later lines on all is performance data,
// which may so run over several lines. White space before a "|" and newlines
// at the end belong to neither.
func splitOutput(out []byte) (text, long, perf, morePerf []byte) {
	text, long, _ = bytes.Cut(out, []byte{'\n'})
	if before, after, found := bytes.Cut(text, []byte{'|'}); found {
		text, perf = bytes.TrimRight(before, " \t"), after
	}
	if before, after, found := bytes.Cut(long, []byte{'|'}); found {
		long, morePerf = bytes.TrimRight(before, " \t"), after
	}
	return text, bytes.TrimRight(long, "\n"), perf, morePerf
}

// joinReason puts what splitOutput parted together without performance data,
// with the note, if there is one, at the end of the first line, within limit
// bytes.
func joinReason(first, long []byte, note string, limit int) string {
	reason := string(first)
	if len(long) > 0 {
		reason += "\n" + string(long)
	}
	if note == "" {
		return cut(reason, limit, cutMark)
	}
	line, rest, hasRest := strings.Cut(cut(reason, limit-len(note)-1, cutMark), "\n")
	reason = strings.TrimLeft(line+" "+note, " ")
	if hasRest {
		reason += "\n" + rest
	}
	return reason
}

// cut shortens s to limit bytes, the mark at its end included, without
// breaking a character. A limit below the mark's length cuts without a mark.
func cut(s string, limit int, mark string) string {
	if len(s) <= limit {
		return s
	}
	if limit < len(mark) {
		mark = ""
	}
	end := max(limit-len(mark), 0)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// excerpt quotes the beginning of s for a message.
func excerpt(s string) string {
	return strconv.Quote(cut(s, maxExcerpt, "..."))
}
