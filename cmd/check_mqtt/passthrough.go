package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"checkbus/checks"
)

// passthrough takes a result as the gateway's publishers write it, and makes
// it this check's own.
func passthrough(ctx context.Context, p *probe) (finding, error) {
	m, err := p.receive(ctx)
	if err != nil {
		return finding{}, err
	}
	if m == nil {
		return p.missing("no %sresult on %s within %v", p.kind(), p.topic, p.listening()), nil
	}
	return p.passOn(*m), nil
}

// passOn makes a finding of a result.
func (p *probe) passOn(m message) finding {
	f, err := decodeResult(m)
	f = f.with("topic", m.topic).with("payload", string(m.payload))
	if err != nil {
		return p.faulty(f, m, []error{err})
	}
	if p.timePath == "" {
		return f
	}
	if err := p.judgeAge(&f, m); err != nil {
		f.State = checks.Worst(f.State, p.stateOf(err))
		f.Text += ", " + err.Error()
	}
	return f
}

// decodeResult reads one result with the gateway's own decoder. The object it
// is about does not matter here: whoever runs this check knows.
func decodeResult(m message) (finding, error) {
	f := found("")
	document, err := parseJSON(m.payload)
	if err != nil {
		return f, err
	}
	fields, ok := document.(map[string]any)
	if !ok {
		return f, errors.New("the payload is no JSON object")
	}
	for _, name := range []string{"host", "host_name", "service", "service_description"} {
		delete(fields, name)
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return f, err
	}
	d := checks.Decoder{Root: "result", MaxPayload: maxPacket, MaxReason: 64 << 10}
	for item := range d.Decode("result/host/service", payload, m.at, "check_mqtt") {
		if item.Err != nil {
			return f, item.Err
		}
		f.take(item.Result)
	}
	return f, nil
}

// take makes a result the finding.
func (f *finding) take(r checks.Result) {
	text, long, more := strings.Cut(r.Reason, "\n")
	f.State, f.Text = r.State, text
	if more {
		f.Long = strings.Split(long, "\n")
	}
	// Items that cannot be read are left out, as a core would.
	f.passed, _ = checks.ParsePerfdata(r.Perfdata)
}
