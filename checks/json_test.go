package checks

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// wholeValue reads data as one JSON value and nothing else.
func wholeValue(data []byte) (value, error) {
	s := scanner{data: data}
	s.space()
	v, err := s.value(0)
	if err == nil && !s.end() {
		err = s.unexpected()
	}
	return v, err
}

var jsonSeeds = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `1.5e+3`, `""`, `"a\u00e9\ud83d\ude00\n"`,
	`{"a":[1,{"b":null}],"a":""}`, " \t\r\n1 ", `01`, `1.`, `.5`, `+1`, `1e`, `-`, `--1`, `tru`, `truex`, `nul`,
	`"`, `"\`, `"\x"`, `"\u12"`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00\ud800"`, "\"a\x01\"", "\"\x7f\xff\"",
	`[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1,}`, `{"a":1 "b":2}`, `1 2`, `]`, `}`, ``, "\x00", `{]`, `[}`,
	`NaN`, `Infinity`, `'a'`, `/* */1`, "\ufeff1", `0x1`, `1_0`, "[\"\u2028\"]",
}

func TestScannerTakesJSONAndNothingElse(t *testing.T) {
	for _, text := range jsonSeeds {
		_, err := wholeValue([]byte(text))
		if valid := json.Valid([]byte(text)); valid != (err == nil) {
			t.Errorf("%q: error %v, want valid = %t", text, err, valid)
		}
	}
}

func TestScannerBoundsNesting(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(strings.Repeat(`[{"a":`, n/2) + "1" + strings.Repeat("}]", n/2))
	}
	if _, err := wholeValue(nested(maxDepth)); err != nil {
		t.Errorf("%d deep: %v", maxDepth, err)
	}
	for _, text := range [][]byte{nested(maxDepth + 2), []byte(strings.Repeat("[", 1<<20)), []byte(strings.Repeat(`{"":`, 1<<18))} {
		if _, err := wholeValue(text); !errors.Is(err, errTooDeep) {
			t.Errorf("%.20s... of %d bytes: error %v", text, len(text), err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range jsonSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := wholeValue(data)
		if errors.Is(err, errTooDeep) {
			return
		}
		if valid := json.Valid(data); valid != (err == nil) {
			t.Fatalf("%q: error %v, want valid = %t", data, err, valid)
		}
		if err != nil || v.kind != kindString {
			return
		}
		var want string
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if got := string(v.appendText(nil)); got != want {
			t.Fatalf("%q is %q, want %q", data, got, want)
		}
	})
}
