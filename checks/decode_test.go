package checks

import (
	"errors"
	"fmt"
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
		"null absent": `{"exit_code":"warning","reason":"slow|time=5s","perfdata":null,"host":"web1","service":"disk","time":"2026-11-21T17:00:00-01:00","ttl":"4m60s","source":"probe"}`,
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

func TestDecodeExitCode(t *testing.T) {
	tests := map[string]struct {
		code          string
		service, host State // Pending: refused
		note          string
	}{
		"0":                  {`0`, OK, Up, ""},
		"1":                  {`1`, Warning, Down, ""},
		"2":                  {`2`, Critical, Down, ""},
		"3":                  {`3`, Unknown, Down, ""},
		"digits as a string": {`"2"`, Critical, Down, ""},
		"escaped digits":     {`"\u0032"`, Critical, Down, ""},
		"OK":                 {`"ok"`, OK, Up, ""},
		"WARNING":            {`"Warning"`, Warning, Down, ""},
		"CRITICAL":           {`"CRITICAL"`, Critical, Down, ""},
		"UNKNOWN":            {`"unknown"`, Unknown, Down, ""},
		"UP":                 {`"up"`, OK, Up, ""},
		"DOWN":               {`"Down"`, Critical, Down, ""},
		"UNREACHABLE":        {`"UNREACHABLE"`, Unknown, Down, ""},
		"127":                {`127`, Unknown, Pending, " (exit code 127 is out of range)"},
		"4 as a string":      {`"4"`, Unknown, Pending, " (exit code 4 is out of range)"},
		"negative":           {`-1`, Unknown, Pending, " (exit code -1 is out of range)"},
		"minus zero":         {`-0`, Unknown, Pending, " (exit code -0 is out of range)"},
		"huge":               {strings.Repeat("9", 99), Unknown, Pending, " (exit code " + strings.Repeat("9", 37) + "... is out of range)"},
		"fraction":           {`2.5`, Pending, Pending, ""},
		"whole fraction":     {`2.0`, Pending, Pending, ""},
		"exponent":           {`1e0`, Pending, Pending, ""},
		"true":               {`true`, Pending, Pending, ""},
		"null":               {`null`, Pending, Pending, ""},
		"empty":              {`""`, Pending, Pending, ""},
		"text":               {`"abc"`, Pending, Pending, ""},
		"pending":            {`"PENDING"`, Pending, Pending, ""},
		"space":              {`" 2"`, Pending, Pending, ""},
		"leading zero":       {`"02"`, Pending, Pending, ""},
		"plus":               {`"+2"`, Pending, Pending, ""},
		"array":              {`[2]`, Pending, Pending, ""},
		"object":             {`{"a":2}`, Pending, Pending, ""},
		"Kelvin sign":        {`"O\u212a"`, Pending, Pending, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			payload := `{"exit_code":` + tt.code + `,"reason":"text|a=1\nlong"}`
			for topic, want := range map[string]State{"nagios/web1/disk": tt.service, "nagios/web1": tt.host} {
				item := one(t, topic, payload)
				if want == Pending {
					if !errors.Is(item.Err, ErrInvalid) || !strings.HasPrefix(item.Err.Error(), "invalid: exit_code: ") {
						t.Errorf("%s: error %v, result %+v", topic, item.Err, item.Result)
					}
					continue
				}
				r := item.Result
				if item.Err != nil || r.State != want || r.Reason != "text"+tt.note+"\nlong" || r.Perfdata != "a=1" {
					t.Errorf("%s: %v, %v %q %q, want %v", topic, item.Err, r.State, r.Reason, r.Perfdata, want)
				}
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

func TestDecodeTime(t *testing.T) {
	tests := map[string]struct {
		time    string
		want    time.Time // zero: refused
		clamped bool
	}{
		"seconds":            {`1795284000`, time.Unix(1795284000, 0), false},
		"fraction":           {`1795284000.457001`, time.Unix(1795284000, 457_001_000), false},
		"long fraction":      {`1795284000.4570019999999`, time.Unix(1795284000, 457_001_999), false},
		"digits in a string": {`"1795284000.5"`, time.Unix(1795284000, 500_000_000), false},
		"exponent":           {`1.795284e+09`, time.Unix(1795284000, 0), false},
		"begin of 1970":      {`0`, time.Unix(0, 0), false},
		"RFC 3339":           {`"2026-11-21T19:00:00.25+01:00"`, time.Date(2026, 11, 21, 18, 0, 0, 250_000_000, time.UTC), false},
		"RFC 3339 relaxed":   {`"2026-11-21 18:00:00z"`, time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC), false},
		"null":               {`null`, arrival, false},
		"a minute ahead":     {`"2026-11-21T18:09:49Z"`, time.Date(2026, 11, 21, 18, 9, 49, 0, time.UTC), false},
		"further ahead":      {`"2026-11-21T18:09:50Z"`, arrival, true},
		"year 9999":          {`253402300799`, arrival, true},
		"year 10000":         {`253402300800`, time.Time{}, false},
		"milliseconds":       {`1795284000000`, time.Time{}, false},
		"overflow":           {`99999999999999999999`, time.Time{}, false},
		"huge exponent":      {`1e400`, time.Time{}, false},
		"negative":           {`-1`, time.Time{}, false},
		"negative fraction":  {`-0.5`, time.Time{}, false},
		"before 1970":        {`"1969-12-31T23:59:59Z"`, time.Time{}, false},
		"NaN":                {`"NaN"`, time.Time{}, false},
		"hexadecimal":        {`"0x10"`, time.Time{}, false},
		"empty":              {`""`, time.Time{}, false},
		"sign":               {`"-"`, time.Time{}, false},
		"words":              {`"yesterday"`, time.Time{}, false},
		"true":               {`true`, time.Time{}, false},
		"array":              {`[1]`, time.Time{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := one(t, "nagios/web1", `{"exit_code":0,"reason":"","time":`+tt.time+`}`)
			if tt.want.IsZero() {
				if !errors.Is(item.Err, ErrInvalid) || !strings.HasPrefix(item.Err.Error(), "invalid: time: ") {
					t.Fatalf("error %v, time %v", item.Err, item.Result.Time)
				}
				return
			}
			r := item.Result
			if item.Err != nil || !r.Time.Equal(tt.want) || item.Clamped != tt.clamped {
				t.Fatalf("%v, time %v, clamped %t, want %v, %t", item.Err, r.Time, item.Clamped, tt.want, tt.clamped)
			}
			if want := tt.want.Truncate(time.Microsecond); r.Executed.After(arrival) || want.Before(arrival) && !r.Executed.Equal(want) {
				t.Errorf("executed %v at %v, want %v", r.Executed, arrival, want)
			}
		})
	}
}

func TestDecodeTTL(t *testing.T) {
	tests := map[string]struct {
		ttl  string
		want time.Duration // 0: refused
	}{
		"seconds":         {`300`, 5 * time.Minute},
		"fraction":        {`1.5`, 1500 * time.Millisecond},
		"digits":          {`"300"`, 5 * time.Minute},
		"minutes":         {`"5m"`, 5 * time.Minute},
		"compound":        {`"1h30m"`, 90 * time.Minute},
		"days":            {`"2d"`, 48 * time.Hour},
		"days and hours":  {`"1d12h"`, 36 * time.Hour},
		"longest":         {`"3650d"`, 3650 * 24 * time.Hour},
		"zero":            {`0`, 0},
		"under a second":  {`0.5`, 0},
		"negative":        {`-5`, 0},
		"negative days":   {`"-1d"`, 0},
		"minus in days":   {`"9999d-90000h"`, 0},
		"too long":        {`"3651d"`, 0},
		"far too long":    {`1e300`, 0},
		"overflow":        {`"99999999999d5m"`, 0},
		"overflow behind": {`"1d2000000h"`, 0},
		"empty":           {`""`, 0},
		"unit only":       {`"d"`, 0},
		"two days":        {`"1d1d"`, 0},
		"words":           {`"soon"`, 0},
		"true":            {`true`, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := one(t, "nagios/web1", `{"exit_code":0,"reason":"","ttl":`+tt.ttl+`}`)
			if refused := item.Err != nil && strings.HasPrefix(item.Err.Error(), "invalid: ttl: "); refused != (tt.want == 0) || item.Result.TTL != tt.want {
				t.Errorf("%v, ttl %v, want %v", item.Err, item.Result.TTL, tt.want)
			}
		})
	}
}

func TestDecodeSource(t *testing.T) {
	tests := map[string]struct{ source, want string }{
		"given":   {`"probe 1"`, "probe 1"},
		"null":    {`null`, "client-7"},
		"blank":   {`" "`, "client-7"},
		"control": {`"a\nb\tc\u0000d"`, "a b c d"},
		"long":    {`"` + strings.Repeat("é", 200) + `"`, strings.Repeat("é", 127)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			item := one(t, "nagios/web1", `{"exit_code":0,"reason":"","source":`+tt.source+`}`)
			if item.Err != nil || item.Result.Source != tt.want {
				t.Errorf("%v, source %q, want %q", item.Err, item.Result.Source, tt.want)
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
