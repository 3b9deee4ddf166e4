package icinga

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"checkbus/checks"
)

// submit offers r once. The error is that no answer came, so that r may have
// been taken or not.
func (l *link) submit(ctx context.Context, r *checks.Result) (outcome, string, error) {
	l.body = appendSubmission(l.body[:0], r)
	status, answer, err := l.do(ctx, http.MethodPost, "/v1/actions/process-check-result", l.body)
	if err != nil {
		return outage, "", err
	}
	what, why := judge(status, answer)
	return what, why, nil
}

// appendSubmission appends the body of process-check-result for r to b. Icinga
// addresses by name: a filter would cost it a hundred times the CPU.
func appendSubmission(b []byte, r *checks.Result) []byte {
	code := r.State.ExitCode()
	if r.IsHost() {
		b = append(b, `{"host":`...)
		code = min(code, 1) // Icinga finds out itself which hosts are unreachable
	} else {
		b = append(b, `{"service":`...)
	}
	b = appendString(b, r.Object.String())
	b = append(b, `,"exit_status":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"plugin_output":`...)
	b = appendString(b, r.Reason)
	if items := checks.SplitPerfdata(r.Perfdata); len(items) > 0 {
		b = append(b, `,"performance_data":`...)
		for i, item := range items {
			b = append(b, "[,"[min(i, 1)])
			b = appendString(b, item)
		}
		b = append(b, ']')
	}
	if r.Source != "" {
		b = append(b, `,"check_source":`...)
		b = appendString(b, r.Source)
	}
	// Unix seconds to the microsecond. Icinga orders by the start.
	at := float64(r.Executed.UnixMicro()) / 1e6
	b = append(b, `,"execution_start":`...)
	b = appendNumber(b, at)
	b = append(b, `,"execution_end":`...)
	b = appendNumber(b, at)
	if r.TTL != 0 {
		b = append(b, `,"ttl":`...)
		b = appendNumber(b, r.TTL.Seconds())
	}
	return append(b, '}')
}

// appendNumber appends the shortest decimal that reads as f.
func appendNumber(b []byte, f float64) []byte { return strconv.AppendFloat(b, f, 'f', -1, 64) }

// appendString appends s as a JSON string (RFC 8259, section 7). What is no
// UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	s = strings.ToValidUTF8(s, "\uFFFD")
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
