package checks

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// published are the fields that DESIGN promises to subscribers, for
// encoding/json to read and write.
type published struct {
	Host         string `json:"host"`
	Service      string `json:"service,omitempty"`
	State        string `json:"state"`
	ExitCode     int    `json:"exit_code"`
	Previous     string `json:"previous"`
	StateType    string `json:"state_type"`
	Attempt      int    `json:"attempt"`
	Reason       string `json:"reason"`
	Perfdata     string `json:"perfdata"`
	Time         string `json:"time"`
	Since        string `json:"since"`
	Acknowledged bool   `json:"acknowledged"`
	InDowntime   bool   `json:"in_downtime"`
	Flapping     bool   `json:"flapping"`
	Origin       string `json:"origin"`
	Change       string `json:"change"`
	Seq          uint64 `json:"seq"`
}

// A change is written by hand exactly as encoding/json would write it.
func FuzzChangeIsWrittenAsJSON(f *testing.F) {
	f.Add("web1", "disk", "DISK CRITICAL - / 97%\nmore", "/=97%;90;95", int64(1795284529457), int64(0), uint64(9121), byte(2), true)
	f.Add("w\"\\\t\x00\x7f", "", "<b>&\u2028ü\xff", "'a b'=1", int64(0), int64(-1), uint64(0), byte(4), false)
	f.Fuzz(func(t *testing.T, host, service, reason, perfdata string, at, since int64, seq uint64, state byte, flag bool) {
		c := Change{
			Status: Status{
				Object: Object{Host: host, Service: service}, State: State(state % byte(Pending+1)), Soft: flag, Attempt: int(state),
				Reason: reason, Perfdata: perfdata, Time: moment(at), Since: moment(since), Acknowledged: flag, InDowntime: !flag,
			},
			Origin: "icinga", Kind: KindState, Seq: seq,
		}
		got, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var read published
		if err := json.Unmarshal(got, &read); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		want, _ := json.Marshal(read)
		if utf8.ValidString(strings.Join([]string{host, service, reason, perfdata}, "|")) && string(got) != string(want) {
			t.Errorf("wrote %s, encoding/json %s", got, want)
		}
		var again published
		_ = json.Unmarshal(want, &again)
		if !reflect.DeepEqual(read, again) || read.Seq != seq || read.Attempt != c.Attempt || read.Acknowledged != flag || read.InDowntime == flag {
			t.Errorf("read %+v of %+v", read, c)
		}
	})
}

// moment is a time of the years that JSON can write; 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms % (1 << 46))
}

func BenchmarkChangeJSON(b *testing.B) {
	c := Change{
		Status: Status{Object: Object{Host: "web1", Service: "disk"}, State: Critical, Reason: "DISK CRITICAL - / 97%", Perfdata: "/=97%;90;95",
			Time: time.UnixMilli(1795284529457), Since: time.UnixMilli(1795284529457), Attempt: 3},
		Origin: "icinga", Kind: KindState, Seq: 9121,
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = c.JSON()
	}
}
