package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"time"

	"checkbus/checks"
)

// A probe is one run of a check.
type probe struct {
	*settings
	id      identity
	tls     *tls.Config // nil without TLS
	state   tls.ConnectionState
	phases  phases
	trace   *trace // nil below -vvv
	started time.Time
}

// A finding is what a check found out. Its state is the worst of State and of
// what the performance data says by its thresholds.
type finding struct {
	checks.Output
	passed []checks.Perfdata // printed first, and not judged
	fill   map[string]string // placeholders of --message
}

// errLocal: the fault is on this side, in a file that an option names.
var errLocal = errors.New("cannot begin")

// run checks, and always ends: a part of the time-out is kept back for the mode
// to say what it found, and where it does not come back at all, it is left
// behind for the process's end to stop.
func run(s *settings) finding {
	p := &probe{settings: s, started: time.Now()}
	if s.verbose >= 3 {
		p.trace = new(trace)
	}
	reserve := min(s.timeout/5, 500*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout-reserve)
	defer cancel()
	result := make(chan finding, 1)
	go func() { result <- p.check(ctx) }()
	select {
	case f := <-result:
		return f
	case <-time.After(s.timeout - reserve/5):
	}
	select { // both may have come by the time that a busy machine looks
	case f := <-result:
		return f
	default:
		return p.timedOut(hints[p.phases.current()])
	}
}

// check prepares, runs the mode, and words its error.
func (p *probe) check(ctx context.Context) finding {
	var err error
	if p.id, err = p.identity(); err != nil {
		return p.explain(fmt.Errorf("%w: %w", errLocal, err))
	}
	if p.tls, err = tlsConfig(p.settings); err != nil {
		return p.explain(fmt.Errorf("%w: %w", errLocal, err))
	}
	f, err := p.mode.run(ctx, p)
	p.phases.end()
	if err != nil {
		f = p.explain(err)
	}
	f.Long = append(f.Long, p.details()...)
	return f
}

// explain is the finding for a check that could not be carried through:
// CRITICAL, but UNKNOWN where the fault is on this side, and --timeout-state
// for a time-out. A name that cannot be resolved is the network's fault, by
// the Monitoring Plugins guidelines, section "Plugin Return Codes".
func (p *probe) explain(err error) finding {
	var (
		timeout net.Error
		known   stall
	)
	switch {
	case errors.As(err, &known):
		return p.timedOut(known.hint)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return p.timedOut(hints[p.phases.current()])
	}
	if errors.Is(err, errLocal) {
		return finding{Output: checks.Output{State: checks.Unknown, Text: err.Error()}}
	}
	phase := p.phases.current()
	text := fmt.Sprintf("%s: %s (%s)", phase, reason(err), p.address())
	if isClosed(err) {
		text += p.doubt(phase)
	}
	return finding{Output: checks.Output{State: checks.Critical, Text: text}}
}

// timedOut is the finding for a time-out; hint says what it may mean.
func (p *probe) timedOut(hint string) finding {
	text := fmt.Sprintf("%s: timed out after %v (%s)", p.phases.current(), p.timeout, p.address())
	if hint != "" {
		text += ", " + hint
	}
	return finding{Output: checks.Output{State: p.timeoutState, Text: text}}
}

// doubt says what a connection that the broker closed in a phase may mean.
func (p *probe) doubt(phase string) string {
	switch {
	case phase == "tls":
		return ", perhaps it takes no more connections, or speaks no TLS there"
	case phase == "websocket":
		return ", perhaps it takes no more connections, or speaks no WebSocket there"
	case phase == "connect" && p.transport == "tcp":
		return ", perhaps it takes no more connections, or wants TLS there"
	case phase == "connect" && p.tls != nil && p.cert == "":
		return ", perhaps for want of a client certificate"
	}
	return ""
}

// hints say what a time-out in a phase may mean.
var hints = map[string]string{
	"connect": "the broker did not answer the CONNECT",
	"echo":    "no echo came back: the broker may deny publishing or reading the topic without a word",
	"will":    "the will was not published, or may not be read",
	"witness": "the witness may not do it either",
}

// A stall is a time-out of which the mode knows what it may mean.
type stall struct {
	error
	hint string
}

// reason words an error without what the reader knows already: which call to
// which address.
func reason(err error) string {
	var (
		op     *net.OpError
		lookup *net.DNSError
		number syscall.Errno
	)
	switch {
	case explainTLS(err) != "":
		return explainTLS(err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the broker closed the connection"
	case errors.Is(err, errMalformed):
		return err.Error()
	case errors.As(err, &lookup):
		return lookup.Err
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return err.Error()
}

// details are the lines that -v and -vv add.
func (p *probe) details() []string {
	if p.verbose == 0 {
		return nil
	}
	var lines []string
	if p.given["password"] {
		lines = append(lines, "warning: --password can be read in the process list; use --password-file or "+passwordVariable)
	}
	for _, ph := range p.phases.finished() {
		lines = append(lines, ph.name+" "+showSpan(ph.took))
	}
	if p.verbose >= 2 {
		lines = append(lines, p.tlsDetails()...)
	}
	return append(lines, p.trace.text()...)
}

// found is a finding with a text, judged by its performance data.
func found(text string, perfdata ...checks.Perfdata) finding {
	return finding{Output: checks.Output{Text: text, Perfdata: perfdata}, fill: map[string]string{}}
}

// missing is the finding when the data is not there.
func (p *probe) missing(format string, args ...any) finding {
	return finding{Output: checks.Output{State: p.missingState, Text: fmt.Sprintf(format, args...)}}
}

// with fills a placeholder of --message.
func (f finding) with(name, value string) finding {
	f.fill[name] = value
	return f
}

// seconds is performance data of a time.
func seconds(label string, d time.Duration) checks.Perfdata {
	zero := 0.0
	return checks.Perfdata{Label: label, Value: math.Round(d.Seconds()*1e6) / 1e6, Unit: "s", Min: &zero}
}

// limited is a value with the thresholds of -w and -c.
func (s *settings) limited(p checks.Perfdata) checks.Perfdata {
	p.Warning, p.Critical = s.warn, s.crit
	return p
}

// hasLimits reports whether -w or -c is a threshold: an empty one is none.
func (s *settings) hasLimits() bool { return !s.warn.IsZero() || !s.crit.IsZero() }

// phaseData is performance data of every phase, and of the whole.
func (p *probe) phaseData() []checks.Perfdata {
	data := []checks.Perfdata{seconds("time", time.Since(p.started))}
	for _, ph := range p.phases.finished() {
		data = append(data, seconds(ph.name, ph.took))
	}
	return data
}

// took lists the phases for people.
func (p *probe) took() string {
	var parts []string
	for _, ph := range p.phases.finished() {
		parts = append(parts, ph.name+" "+showSpan(ph.took))
	}
	return strings.Join(parts, ", ")
}
