package checks

import (
	"errors"
	"strings"
	"testing"
	"time"
)

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
		"year 10000":         {`253402300800`, arrival, true},
		"milliseconds":       {`1795284000000`, arrival, true},
		"overflow":           {`99999999999999999999`, arrival, true},
		"huge exponent":      {`1e400`, arrival, true},
		"end of 9999 behind": {`"9999-12-31T23:59:59-01:00"`, arrival, true},
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
