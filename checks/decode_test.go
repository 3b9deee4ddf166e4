package checks

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var arrival = time.Date(2026, 11, 21, 18, 8, 49, 457_123_456, time.UTC)

func decode(topic, payload string) []Item {
	d := Decoder{Root: "nagios"}
	return slices.Collect(d.Decode(topic, []byte(payload), arrival, "client-7"))
}

// one is the only item of a message.
func one(t *testing.T, topic, payload string) Item {
	t.Helper()
	items := decode(topic, payload)
	if len(items) != 1 {
		t.Fatalf("%d items, want 1: %+v", len(items), items)
	}
	return items[0]
}

func TestDecodeFillsAllOfAResult(t *testing.T) {
	item := one(t, "nagios/web1/disk", ` {"exit_code": 2, "reason": "mail server 001 is broke"} `)
	want := Result{
		Object:   Object{"web1", "disk"},
		State:    Critical,
		Reason:   "mail server 001 is broke",
		Time:     arrival,
		Arrived:  arrival,
		Executed: arrival.Truncate(time.Microsecond),
		Source:   "client-7",
		Client:   "client-7",
	}
	if item.Err != nil || item.Result != want || item.Clamped {
		t.Errorf("got  %+v\nwant %+v", item, want)
	}
	if want := `{"exit_code": 2, "reason": "mail server 001 is broke"}`; string(item.Raw) != want {
		t.Errorf("raw %q, want %q", item.Raw, want)
	}
}

func TestDecodeReadsFieldsByAllTheirNames(t *testing.T) {
	want := Result{
		Object:   Object{"web1", "disk"},
		State:    Warning,
		Reason:   "slow",
		Perfdata: "time=5s",
		Time:     time.Unix(1795284000, 0).UTC(),
		Arrived:  arrival,
		Executed: time.Unix(1795284000, 0).UTC(),
		TTL:      5 * time.Minute,
		Source:   "probe",
		Client:   "client-7",
	}
	payloads := map[string]string{
		"first names": `{"exit_code":1,"reason":"slow","perfdata":"time=5s","host":"web1","service":"disk","time":1795284000,"ttl":300,"source":"probe"}`,
		"Icinga":      `{"exit_status":1,"plugin_output":"slow","performance_data":["time=5s"],"host_name":"web1","service_description":"disk","execution_end":1795284000,"ttl":"300","check_source":"probe"}`,
		"others":      `{"return_code":"1","output":"slow | time=5s","host":"web1","service":"disk","timestamp":"1795284000","ttl":"5m","source":"probe"}`,
		"escaped":     `{"exit\u005fcode":1,"reason":"\u0073low","perfdata":"time=5s","host":"w\u0065b1","service":"disk","time":1795284000.0,"ttl":3e2,"source":"probe"}`,
		"unknown too": `{"x":[{"exit_code":9}],"exit_code":1,"Reason":1,"reason":"slow","perfdata":"time=5s","host":"web1","service":"disk","time":1795284000,"ttl":300,"source":"probe","":null}`,
		"null absent": `{"exit_code":"warning","reason":"slow|time=5s","perfdata":null,"performance_data":null,"host":"web1","service":"disk","time":"2026-11-21T17:00:00-01:00","ttl":"4m60s","source":"probe"}`,
	}
	want.Time = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	want.Executed = want.Time
	for name, payload := range payloads {
		payload = strings.ReplaceAll(payload, "1795284000", fmt.Sprint(want.Time.Unix()))
		t.Run(name, func(t *testing.T) {
			if item := one(t, "nagios", payload); item.Err != nil || item.Result != want {
				t.Errorf("%v\ngot  %+v\nwant %+v", item.Err, item.Result, want)
			}
		})
	}
}

func TestDecodeSplitsOutputAsNagiosDoes(t *testing.T) {
	tests := map[string]struct{ fields, reason, perfdata string }{
		"empty":                  {`"reason":""`, "", ""},
		"text":                   {`"reason":"OK - fine"`, "OK - fine", ""},
		"text and perfdata":      {`"reason":"OK - fine | a=1 b=2 "`, "OK - fine", "a=1 b=2"},
		"perfdata only":          {`"reason":"|a=1"`, "", "a=1"},
		"long output":            {`"reason":"OK\nline 1\n\nline 3\n\n"`, "OK\nline 1\n\nline 3", ""},
		"all":                    {`"reason":"OK|a=1\nline 1\nline 2 | b=2\nc=3\n d=4"`, "OK\nline 1\nline 2", "a=1 b=2 c=3  d=4"},
		"perfdata after text":    {`"reason":"OK\n|a=1"`, "OK", "a=1"},
		"several bars":           {`"reason":"OK|a=1|b=2\nx|c=3|d=4"`, "OK\nx", "a=1|b=2 c=3|d=4"},
		"long output only":       {`"reason":"\nlong"`, "\nlong", ""},
		"spaces kept":            {`"reason":"  a  b "`, "  a  b ", ""},
		"perfdata field wins":    {`"reason":"OK|a=1\nx|b=2","perfdata":"c=3"`, "OK\nx", "c=3"},
		"perfdata array":         {`"reason":"OK","perfdata":["a=1"," 'b c'=2 ","","d=3"]`, "OK", "a=1 'b c'=2 d=3"},
		"perfdata empty":         {`"reason":"OK|a=1","perfdata":[]`, "OK", "a=1"},
		"perfdata with newlines": {`"reason":"OK","perfdata":"a=1\r\nb=2\tc=3"`, "OK", "a=1 b=2 c=3"},
		"CR LF":                  {`"reason":"OK\r\nlong\r\n"`, "OK\nlong", ""},
		"control characters":     {`"reason":"a\u0000b\u001b[1mc\rd\te\u007f\u0085f"`, "a b [1mc d\te  f", ""},
		"raw DEL and C1":         {"\"reason\":\"a\x7fb\u009bc\u00a0\"", "a b c\u00a0", ""},
		"invalid UTF-8":          {"\"reason\":\"a\xffb\xc3\"", "a\uFFFDb\uFFFD", ""},
		"lone surrogates":        {`"reason":"a\ud800b\udc00\ud83d\ude00\ud800\u0041"`, "a\uFFFDb\uFFFD😀\uFFFDA", ""},
		"backslashes":            {`"reason":"C:\\new\\\\x \"q\" \/"`, `C:\new\\x "q" /`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := one(t, "nagios/web1/disk", `{"exit_code":0,`+tt.fields+`}`)
			if r := item.Result; item.Err != nil || r.Reason != tt.reason || r.Perfdata != tt.perfdata {
				t.Errorf("%v, %q %q, want %q %q", item.Err, r.Reason, r.Perfdata, tt.reason, tt.perfdata)
			}
		})
	}
}

func TestDecodeRefusesWithTheFieldsName(t *testing.T) {
	const service = "nagios/web1/disk"
	tests := map[string]struct{ topic, payload, want string }{
		"no exit code":         {service, `{"reason":""}`, "exit_code: missing"},
		"no reason":            {service, `{"exit_code":0}`, "reason: missing"},
		"reason is null":       {service, `{"exit_code":0,"reason":null}`, "reason: missing"},
		"reason is a number":   {service, `{"exit_code":0,"output":5}`, "output: 5 is not a string"},
		"perfdata is a number": {service, `{"exit_code":0,"reason":"","perfdata":5}`, "perfdata: 5 is neither"},
		"perfdata of numbers":  {service, `{"exit_code":0,"reason":"","perfdata":["a=1",{}]}`, "perfdata: an object is not a string"},
		"given twice":          {service, `{"exit_code":0,"reason":"","exit_code":0}`, "exit_code: given twice"},
		"given by two names":   {service, `{"exit_code":0,"reason":"","return_code":0}`, "exit_code: given as return_code too"},
		"escaped second name":  {service, `{"exit_code":0,"reason":"","exit\u005fcode":2}`, "exit_code: given twice"},
		"other host":           {service, `{"exit_code":0,"reason":"","host":"web2"}`, `host: "web2" is not the topic's "web1"`},
		"other service":        {service, `{"exit_code":0,"reason":"","service_description":"cpu"}`, `service_description: "cpu" is not the topic's "disk"`},
		"empty host":           {service, `{"exit_code":0,"reason":"","host":""}`, "host: empty"},
		"empty service":        {"nagios/web1", `{"exit_code":0,"reason":"","service":""}`, "service: empty"},
		"no host at all":       {"nagios", `{"exit_code":0,"reason":"","service":"disk"}`, "host: missing"},
		"host with a newline":  {"nagios", `{"exit_code":0,"reason":"","host":"a\nb"}`, "host: holds"},
		"host with a ;":        {"nagios", `{"exit_code":0,"reason":"","host":"a;b"}`, "host: holds"},
		"service with a !":     {"nagios/web1", `{"exit_code":0,"reason":"","service":"a!b"}`, "service: holds"},
		"broken host":          {"nagios", `{"exit_code":0,"reason":"","host":"a\ud800"}`, "host: not UTF-8"},
		"host is a number":     {"nagios", `{"exit_code":0,"reason":"","host":1}`, "host: 1 is not a string"},
		"source is a number":   {service, `{"exit_code":0,"reason":"","source":1}`, "source: 1 is not a string"},
		"empty payload":        {service, ``, "payload: empty"},
		"white space":          {service, " \r\n", "payload: empty"},
		"byte order mark only": {service, "\ufeff", "payload: empty"},
		"empty array":          {service, `[ ]`, "payload: an empty array"},
		"text":                 {service, `OK - fine`, `not JSON: unexpected 'O' at byte 1`},
		"broken literal":       {service, `nope`, `not JSON: unexpected 'o' at byte 2`},
		"NUL":                  {service, "\x00", `not JSON: unexpected '\x00' at byte 1`},
		"unfinished":           {service, `{"exit_code":0,"reason":"`, "not JSON: ends too early"},
		"trailing garbage":     {service, `{"exit_code":0,"reason":""} x`, "not JSON: unexpected 'x' at byte 29"},
		"a number":             {service, `2`, "an item must be a JSON object"},
		"damaged, many lines":  {service, "{\n\"exit_code\": 0\n\"reason\": \"\"\n}", "not JSON: unexpected '\"' at byte 18"},
		"deep":                 {service, `{"a":` + strings.Repeat("[", 300), "JSON nested more than 100 deep"},
		"bad topic":            {"nagios/a;b", `{"exit_code":0,"reason":""}`, "host: holds"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := one(t, tt.topic, tt.payload)
			if !errors.Is(item.Err, ErrInvalid) || !strings.HasPrefix(item.Err.Error(), "invalid: "+tt.want) {
				t.Fatalf("error %v, want invalid: %s", item.Err, tt.want)
			}
			if item.Result.Client != "client-7" || item.Result.Arrived != arrival {
				t.Errorf("refused without its client and arrival: %+v", item.Result)
			}
		})
	}
}

func TestDecodeBatchKeepsTheNeighboursOfABadItem(t *testing.T) {
	const good = `{"exit_code":0,"reason":"a"}`
	const more = `{"exit_code":1,"reason":"b","service":"disk"}`
	tests := map[string]struct {
		payload string
		want    []string // "" is a good one, else the error
	}{
		"array":                      {`[` + good + `,` + more + `]`, []string{"", ""}},
		"spaced array":               {" [\n" + good + "\n,\n" + more + "\n]\n", []string{"", ""}},
		"array of one":               {`[` + good + `]`, []string{""}},
		"bad items":                  {`[` + good + `,{"reason":""},5,{},` + more + `]`, []string{"", "item 2: exit_code: missing", "item 3: an item must be", "item 4: exit_code: missing", ""}},
		"syntax error":               {`[` + good + `,{"exit_code":oops},` + more + `]`, []string{"", "item 2: not JSON: unexpected 'o'"}},
		"missing comma":              {`[` + good + good + `]`, []string{"", "item 2: not JSON: unexpected '{'"}},
		"trailing comma":             {`[` + good + `,]`, []string{"", "item 2: not JSON: unexpected ']'"}},
		"unfinished array":           {`[` + good, []string{"", "item 2: not JSON: ends too early"}},
		"text after the array":       {`[` + good + `] x`, []string{"", "item 2: not JSON: unexpected 'x'"}},
		"lines":                      {good + "\n" + more, []string{"", ""}},
		"lines, CR LF and blank":     {"\r\n" + good + "\r\n\r\n \t\r\n" + more + "\r\n", []string{"", ""}},
		"lines after a mark":         {"\ufeff" + good + "\n" + more, []string{"", ""}},
		"bad lines":                  {good + "\n{\"exit_code\":\n" + "oops\n5\n[]\n" + more, []string{"", "item 2: not JSON: ends", "item 3: not JSON: unexpected 'o'", "item 4: an item", "item 5: an item", ""}},
		"bad first line":             {"oops\n" + good, []string{"item 1: not JSON", ""}},
		"unfinished first line":      {`{"reason":"` + "\n" + good, []string{"item 1: not JSON", ""}},
		"text behind a line":         {good + " x\n" + good, []string{"item 1: not JSON: unexpected 'x'", ""}},
		"two on a line":              {good + good + "\n" + good, []string{"item 1: not JSON: unexpected '{'", ""}},
		"bad last line":              {good + "\noops", []string{"", "item 2: not JSON"}},
		"one object over many lines": {"{\n\"exit_code\": 0,\n\"reason\": \"\"\n}\n", []string{""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			items := decode("nagios/web1", tt.payload)
			if len(items) != len(tt.want) {
				t.Fatalf("%d items, want %d: %+v", len(items), len(tt.want), items)
			}
			for i, item := range items {
				if tt.want[i] == "" {
					if item.Err != nil {
						t.Errorf("item %d: %v", i+1, item.Err)
					}
				} else if !errors.Is(item.Err, ErrInvalid) || !strings.HasPrefix(item.Err.Error(), "invalid: "+tt.want[i]) {
					t.Errorf("item %d: error %v, want invalid: %s", i+1, item.Err, tt.want[i])
				}
			}
		})
	}
}

func TestDecodeStopsWhenItsReaderDoes(t *testing.T) {
	for _, payload := range []string{"[{},{},{}]", "{}\n{}\n{}"} {
		n := 0
		for range (Decoder{Root: "nagios"}).Decode("nagios/web1", []byte(payload), arrival, "c") {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%q: %d items", payload, n)
		}
	}
}

func TestDecodeKeepsWithinItsLimits(t *testing.T) {
	d := Decoder{Root: "nagios", MaxPayload: 400, MaxReason: 128}
	decode := func(payload string) Item {
		return slices.Collect(d.Decode("nagios/web1/disk", []byte(payload), arrival, "c"))[0]
	}
	if item := decode(strings.Repeat(" ", 401)); item.Err == nil || !strings.Contains(item.Err.Error(), "401 bytes are over the limit of 400") {
		t.Errorf("long payload: %v", item.Err)
	}
	tests := map[string]struct{ code, reason, perfdata, wantReason, wantPerfdata string }{
		"at the limit":       {"0", strings.Repeat("x", 128), "", strings.Repeat("x", 128), ""},
		"over it":            {"0", strings.Repeat("x", 129), "", strings.Repeat("x", 122) + " [cut]", ""},
		"between characters": {"0", strings.Repeat("é", 70), "", strings.Repeat("é", 61) + " [cut]", ""},
		"long output":        {"0", `a\n` + strings.Repeat("x", 140), "", "a\n" + strings.Repeat("x", 120) + " [cut]", ""},
		"note in long text":  {"9", strings.Repeat("x", 140), "", strings.Repeat("x", 92) + " [cut] (exit code 9 is out of range)", ""},
		"note before a cut":  {"9", `a\n` + strings.Repeat("x", 140), "", "a (exit code 9 is out of range)\n" + strings.Repeat("x", 90) + " [cut]", ""},
		"note alone":         {"9", "", "", "(exit code 9 is out of range)", ""},
		"perfdata":           {"0", "a", strings.Repeat("'a b'=1 ", 20), "a", strings.TrimSpace(strings.Repeat("'a b'=1 ", 16))},
		"one long item":      {"0", "a", "b=1 " + strings.Repeat("x", 140) + "=1", "a", "b=1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := decode(`{"exit_code":` + tt.code + `,"reason":"` + tt.reason + `","perfdata":"` + tt.perfdata + `"}`)
			if r := item.Result; item.Err != nil || r.Reason != tt.wantReason || r.Perfdata != tt.wantPerfdata {
				t.Errorf("%v\ngot  %q %q\nwant %q %q", item.Err, r.Reason, r.Perfdata, tt.wantReason, tt.wantPerfdata)
			}
		})
	}
}

func TestDecodeAllocatesNoMoreThanItsInputJustifies(t *testing.T) {
	const size = DefaultMaxPayload - 100
	fill := func(before, part, after string) string {
		return before + strings.Repeat(part, (size-len(before)-len(after))/len(part)) + after
	}
	payloads := map[string]string{
		"empty items":     fill("[", "{},", "{}]"),
		"empty lines":     fill("", "{}\n", ""),
		"lines of text":   fill("{\n", "x\n", "\n{"),
		"brackets":        fill("", "[", ""),
		"braces":          fill("", `{"":`, ""),
		"escaped names":   fill("{", `"\u0061":1,`, `"b":1}`),
		"long names":      fill("", `{"`+strings.Repeat(`\u0061`, 100)+`":1}`+"\n", ""),
		"exit codes":      fill("{", `"exit_code":1,`, `"exit_code":1}`),
		"escaped text":    fill(`{"exit_code":0,"reason":"`, `\ud800`, `"}`),
		"broken text":     fill(`{"exit_code":0,"reason":"`, "\xff", `"}`),
		"perfdata array":  fill(`{"exit_code":0,"reason":"","perfdata":[`, `"x",`, `"x"]}`),
		"perfdata quotes": fill(`{"exit_code":0,"reason":"","perfdata":"`, `''' `, `"}`),
		"long number":     fill(`{"reason":"","exit_code":`, "9", `}`),
	}
	d := Decoder{Root: "nagios"}
	for name, payload := range payloads {
		t.Run(name, func(t *testing.T) {
			data := []byte(payload)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range d.Decode("nagios/web1/disk", data, arrival, "c") {
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 32*size {
				t.Errorf("%d bytes allocated for a payload of %d", got, len(payload))
			}
		})
	}
}

func TestDecodeLeavesThePayloadAlone(t *testing.T) {
	payload := []byte("{\"exit_code\":0,\"reason\":\"a\x7f\\r\\n|b\x7f=1\",\"source\":\"s\x7f\"}")
	before := string(payload)
	for range (Decoder{Root: "nagios"}).Decode("nagios/web1", payload, arrival, "c") {
	}
	if string(payload) != before {
		t.Errorf("payload became %q", payload)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("nagios/web1", []byte(`{"exit_code":2,"reason":"a|b=1\nc|d=2","perfdata":["x=1"],"time":1.5,"ttl":"1d5m","service":"s"}`))
	f.Add("nagios", []byte("{\"exit_code\":\"warning\",\"output\":\"\\u001b\\ud800\\r\\n|\",\"host\":\"h\"}\r\noops\n[]"))
	f.Add("nagios/h/s", []byte(`[{"exit_code":127,"reason":"a"},{},5,{"time":"2026-11-21T18:00:00Z","exit_code":0,"reason":"","source":"x"},`))
	f.Add("nagios/%2f", []byte("\ufeff{\n}"))
	d := Decoder{Root: "nagios", MaxPayload: 4096, MaxReason: 128}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		n := 0
		for item := range d.Decode(topic, payload, arrival, "client-7") {
			if n++; n > len(payload)+1 {
				t.Fatal("more items than bytes")
			}
			if item.Err != nil {
				if !errors.Is(item.Err, ErrInvalid) || !utf8.ValidString(item.Err.Error()) || len(item.Err.Error()) > 400 {
					t.Fatalf("error %q", item.Err)
				}
				continue
			}
			checkResult(t, item.Result)
		}
		if n == 0 {
			t.Fatal("no item")
		}
	})
}

// checkResult tests what Decode promises of every result.
func checkResult(t *testing.T, r Result) {
	t.Helper()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	control := func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }
	if !utf8.ValidString(r.Reason) || strings.ContainsFunc(r.Reason, control) || strings.Contains(r.Reason, "|") || len(r.Reason) > 128 {
		t.Fatalf("reason %q", r.Reason)
	}
	if !utf8.ValidString(r.Perfdata) || strings.ContainsFunc(r.Perfdata, unicode.IsControl) || len(r.Perfdata) > 128 {
		t.Fatalf("perfdata %q", r.Perfdata)
	}
	if r.Source == "" || len(r.Source) > maxSource || strings.ContainsFunc(r.Source, unicode.IsControl) {
		t.Fatalf("source %q", r.Source)
	}
	if r.Executed.After(r.Arrived) || r.Executed.After(r.Time) || r.Time.Year() < 1970 || r.TTL < 0 {
		t.Fatalf("times %+v", r)
	}
	if r.IsHost() != (r.State == Up || r.State == Down) || !r.IsHost() && r.State > Unknown {
		t.Fatalf("%v is %v", r.Object, r.State)
	}
}

func BenchmarkDecode(b *testing.B) {
	long := strings.Repeat("x", 10_000)
	benchmarks := map[string]string{
		"one":        `{"exit_code": 2, "reason": "DISK CRITICAL - / 97% | /=97%;90;95", "time": 1795284000.457, "ttl": "5m"}`,
		"escaped":    `{"exit_code": 2, "reason": "DISK CRITICAL\n\u00e9 / 97%\r\n/var 5% | /=97%;90;95", "ttl": "5m"}`,
		"long":       `{"exit_code": 2, "reason": "` + long + `"}`,
		"batch":      "[" + strings.Repeat(`{"exit_code": 2, "reason": "text | a=1"},`, 99) + `{"exit_code": 2, "reason": "text | a=1"}]`,
		"lines":      strings.Repeat(`{"exit_code": 2, "reason": "text | a=1"}`+"\n", 100),
		"empty ones": "[" + strings.Repeat("{},", 80_000) + "{}]",
		"deep":       `{"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`,
		"brackets":   strings.Repeat("[{\n", 80_000),
	}
	d := Decoder{Root: "nagios"}
	for name, payload := range benchmarks {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				for range d.Decode("nagios/web1/disk", []byte(payload), arrival, "client-7") {
				}
			}
		})
	}
}
