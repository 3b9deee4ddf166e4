package nagios

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"checkbus/checks"
)

const (
	// nerdPause lies between attempts to reach Naemon's query handler.
	nerdPause = time.Second
	// subscription asks for a line about each check (naemon-core, nerd.c).
	subscription = "@nerd subscribe servicechecks\x00@nerd subscribe hostchecks\x00"
)

// A checkLine is what Naemon's event radio says of a check that it has
// processed. It tells neither soft from hard nor the attempt, and some are lost
// when the reader is slow, so states come from the log, which is written before:
// this is for checks that change nothing, of which the log is silent.
type checkLine struct {
	checks.Object
	state    checks.State
	reason   string // its first line
	perfdata string
}

// parseCheck reads "host[;service] from 0 -> 2: output". The other lines are
// the rest of a long output.
func parseCheck(line []byte) (checkLine, bool) {
	const from, arrow = " from ", " -> "
	for at := 0; ; {
		i := bytes.Index(line[at:], []byte(from))
		if i < 0 {
			return checkLine{}, false
		}
		at += i
		// "d -> d: "
		states := line[at+len(from):]
		if len(states) < 8 || string(states[1:1+len(arrow)]) != arrow || string(states[6:8]) != ": " {
			at += len(from)
			continue
		}
		host, service, isService := bytes.Cut(line[:at], []byte(";"))
		e := entry{isService: isService, checked: true, state: number(states[5:6])}
		output, perfdata, _ := strings.Cut(text(states[8:]), "|")
		return checkLine{
			Object: checks.Object{Host: text(host), Service: text(service)}, state: e.verdict(),
			reason: strings.TrimSpace(output), perfdata: strings.TrimSpace(perfdata),
		}, len(host) > 0
	}
}

// listen hands each check that Naemon processes to out, until ctx ends.
func (f *feed) listen(ctx context.Context, out chan<- checkLine) {
	away := absence{log: f.log, what: "query handler", path: f.querySocket}
	for ctx.Err() == nil {
		away.note(f.subscribe(ctx, out, func() { away.note(nil) }))
		select {
		case <-ctx.Done():
		case <-time.After(nerdPause):
		}
	}
}

// subscribe hands checks to out until the connection fails, as it does when
// Naemon reads its configuration again. It calls connected when it has one.
func (f *feed) subscribe(ctx context.Context, out chan<- checkLine, connected func()) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", f.querySocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte(subscription)); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(conn, maxLogLine)
	for {
		line, whole, err := readLine(lines)
		if err != nil {
			return err
		}
		line = bytes.Trim(line, "\x00\r\n")
		if bytes.HasPrefix(line, []byte("400: ")) {
			return fmt.Errorf("naemon refused the subscription: %.100q", line)
		}
		connected()
		if c, ok := parseCheck(line); ok && whole {
			select {
			case out <- c:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// checked takes up a check that Naemon has processed, with all known that it
// logged about it.
func (p *picture) checked(c checkLine, at time.Time) {
	o := p.objects[c.Object]
	if o == nil || !o.agrees(c.state) {
		return
	}
	first, _, _ := strings.Cut(o.Reason, "\n")
	if known := first == c.reason && at.Sub(o.judged) < time.Second; known {
		if o.Perfdata != "" || c.perfdata == "" {
			return
		}
		o.Perfdata = c.perfdata
		p.tell(o)
		return
	}
	if o.State == checks.Pending {
		o.enter(c.state, at, at)
		o.Soft, o.Attempt = false, 1
	}
	o.Reason, o.Perfdata, o.Time, o.checked, o.judged = c.reason, c.perfdata, at, at.Unix(), at
	p.tell(o)
}
