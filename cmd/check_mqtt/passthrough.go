package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
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
	payload, err := withoutObject(m.payload)
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

// objectFields are those of a result that name its object.
var objectFields = []any{"host", "host_name", "service", "service_description"}

// withoutObject is a result without objectFields. What it has twice stays
// there twice, for the decoder to refuse.
func withoutObject(payload []byte) ([]byte, error) {
	document, err := parseJSON(payload)
	if err != nil {
		return nil, err
	}
	if _, ok := document.(map[string]any); !ok {
		return nil, errors.New("the payload is no JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	_, err = dec.Token() // the brace that opens it
	var members [][]byte
	for err == nil && dec.More() {
		var name json.Token
		var value json.RawMessage
		name, err = dec.Token()
		quoted, err2 := json.Marshal(name)
		err = errors.Join(err, err2, dec.Decode(&value))
		if !slices.Contains(objectFields, any(name)) {
			members = append(members, slices.Concat(quoted, []byte(":"), value))
		}
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}")), err
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
