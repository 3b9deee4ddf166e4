package nagios

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"checkbus/checks"
)

// cutMark ends a text that was cut to fit.
const cutMark = " [cut]"

// A format writes results as external commands, one a line, for one core.
//
// Nagios turns \\ and \n in the output back into a backslash and a newline
// (Nagios Core 4.4.6, utils.c:2695), splits the first line from the long
// output and, at the first "|", from the performance data. Naemon undoes no
// escapes in commands: there a backslash stands for itself, and long output,
// which cannot be expressed, follows the first line after a visible \n.
//
// What a core does to the text itself is left to it: Nagios stores ";" in the
// first line as ":" (checks.c:37) and trims blanks around it and after the
// last line. A "|" in the text cannot be told from the start of the
// performance data.
type format struct {
	naemon bool
}

// append adds the command line of r to dst, newline included. The error wraps
// checks.ErrRejected: r's names cannot be expressed.
func (f format) append(dst []byte, r checks.Result) ([]byte, error) {
	dst, err := appendHead(dst, r)
	if err != nil {
		return dst, err
	}
	first, long, _ := strings.Cut(r.Reason, "\n")
	return append(f.appendOutput(dst, first, long, r.Perfdata), '\n'), nil
}

// appendFit is append for a line of at most limit bytes. A longer one loses
// the end of its long output, then its performance data, then the end of its
// first line.
func (f format) appendFit(dst []byte, r checks.Result, limit int) ([]byte, error) {
	start := len(dst)
	dst, err := f.append(dst, r)
	if err != nil {
		return dst, err
	}
	first, long, _ := strings.Cut(r.Reason, "\n")
	for _, shorten := range []func(over int){
		func(over int) { long = f.cutText(long, over) },
		func(int) { r.Perfdata = "" },
		func(over int) { first = f.cutText(first, over) },
	} {
		over := len(dst) - start - limit
		if over <= 0 {
			return dst, nil
		}
		shorten(over)
		r.Reason = first
		if long != "" {
			r.Reason += "\n" + long
		}
		if dst, err = f.append(dst[:start], r); err != nil {
			return dst, err
		}
	}
	if len(dst)-start > limit {
		return dst[:start], fmt.Errorf("%w: the names do not fit into a command of %d bytes", checks.ErrRejected, limit)
	}
	return dst, nil
}

// cutText takes at least over bytes, as s is escaped, off the end of s, or all
// of it, and marks that.
func (f format) cutText(s string, over int) string {
	escaped := f.appendEscaped(nil, s)
	room := len(escaped) - over - len(cutMark)
	escaped = escaped[:0]
	for i, r := range s {
		escaped = f.appendEscaped(escaped, string(r))
		if len(escaped) > room {
			return s[:i] + cutMark
		}
	}
	return s
}

// appendHead adds everything before the output. The time is when the check
// was executed, in whole seconds and never negative, as the core reads digits.
func appendHead(dst []byte, r checks.Result) ([]byte, error) {
	if err := checkName("host", r.Host); err != nil {
		return dst, err
	}
	if err := checkName("service", r.Service); err != nil && !r.IsHost() {
		return dst, err
	}
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, max(0, r.Executed.Unix()), 10)
	if r.IsHost() {
		dst = append(dst, "] PROCESS_HOST_CHECK_RESULT;"...)
		dst = append(dst, r.Host...)
	} else {
		dst = append(dst, "] PROCESS_SERVICE_CHECK_RESULT;"...)
		dst = append(dst, r.Host...)
		dst = append(dst, ';')
		dst = append(dst, r.Service...)
	}
	dst = append(dst, ';')
	dst = strconv.AppendInt(dst, int64(r.State.ExitCode()), 10)
	return append(dst, ';'), nil
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s without a name", checks.ErrRejected, what)
	case strings.ContainsFunc(name, isSeparator):
		return fmt.Errorf("%w: %s %q holds a semicolon or a control character", checks.ErrRejected, what, name)
	}
	return nil
}

// isSeparator reports whether r would end a field or a line of a command.
func isSeparator(r rune) bool { return r == ';' || r < ' ' || r == 0x7f }

// appendOutput adds first line, long output and performance data as the core
// takes them. An empty output is written "|", that is, as empty performance
// data: Nagios would put a text of its own there, and Naemon refuses the
// command (naemon-core, commands.c, parse_arguments).
func (f format) appendOutput(dst []byte, first, long, perfdata string) []byte {
	if first == "" && long != "" {
		first = " " // a core skips an empty first line
	}
	dst = f.appendEscaped(dst, first)
	if f.naemon {
		dst = f.appendLong(dst, long)
	}
	if perfdata != "" || first == "" {
		dst = append(dst, '|')
		dst = f.appendEscaped(dst, strings.ReplaceAll(perfdata, "\n", " "))
	}
	if !f.naemon {
		dst = f.appendLong(dst, long)
	}
	return dst
}

func (f format) appendLong(dst []byte, long string) []byte {
	if long == "" {
		return dst
	}
	return f.appendEscaped(append(dst, `\n`...), long)
}

// appendEscaped adds s as part of one line. Control characters but newline
// and tab become blanks, as they should have before: what they do to a
// command, a log or a terminal is nothing a publisher may choose.
func (f format) appendEscaped(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\\' && !f.naemon:
			dst = append(dst, `\\`...)
		case c != '\t' && (c < ' ' || c == 0x7f):
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
