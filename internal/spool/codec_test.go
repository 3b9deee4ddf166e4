package spool

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

func TestEncodedResultsComeBack(t *testing.T) {
	tests := map[string]checks.Result{
		"zero": {},
		"full": result(7),
		"host": {Object: checks.Object{Host: "web1"}, State: checks.Up, Reason: "UP\nlong\toutput"},
		"far times": {
			Arrived:  time.Unix(0, 1),
			Time:     time.Date(-200, 1, 1, 0, 0, 0, 0, time.UTC),
			Executed: time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		},
		"long":         {Reason: strings.Repeat("ü", 100_000), Message: 1<<64 - 1},
		"negative ttl": {TTL: -1, State: checks.Pending},
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			data := appendResult(nil, &r)
			head := len(data) - textSize(&r)
			if head > maxEncodedHead {
				t.Errorf("%d bytes are no text, more than %d", head, maxEncodedHead)
			}
			got, err := decodeResult(data)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []*time.Time{&r.Time, &r.Arrived, &r.Executed} {
				*at = at.UTC()
			}
			if got != r {
				t.Errorf("\n got %+v\nwant %+v", got, r)
			}
		})
	}
}

func TestBrokenEncodingsAreErrors(t *testing.T) {
	r := result(1)
	whole := appendResult(nil, &r)
	for n := range whole {
		if _, err := decodeResult(whole[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were decoded", n, len(whole))
		}
	}
	tests := map[string][]byte{
		"longer":         append(bytes.Clone(whole), 0),
		"newer version":  append([]byte{codecVersion + 1}, whole[1:]...),
		"no state":       append([]byte{codecVersion, byte(checks.Pending) + 1}, whole[2:]...),
		"huge text":      append([]byte{codecVersion, 0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"endless length": append([]byte{codecVersion, 0}, bytes.Repeat([]byte{0xff}, 20)...),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			if r, err := decodeResult(data); err == nil {
				t.Errorf("decoded as %+v", r)
			}
		})
	}
}

// FuzzDecodeResult: no bytes may panic, and what decodes is kept by another
// round.
func FuzzDecodeResult(f *testing.F) {
	for _, r := range []checks.Result{{}, result(1), {Object: checks.Object{Host: "web1"}, TTL: -1}} {
		f.Add(appendResult(nil, &r))
	}
	f.Add([]byte{codecVersion, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeResult(data)
		if err != nil {
			return
		}
		again, err := decodeResult(appendResult(nil, &r))
		if err != nil {
			t.Fatal(err)
		}
		if again != r {
			t.Errorf("\n got %+v\nwant %+v", again, r)
		}
	})
}
