package icinga

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"checkbus/checks"
)

// A submission is the body of process-check-result for one object, as Icinga
// reads it.
type submission struct {
	Host    string `json:"host,omitempty"`
	Service string `json:"service,omitempty"` // "host!service"

	ExitStatus int      `json:"exit_status"`
	Output     string   `json:"plugin_output"`
	Perfdata   []string `json:"performance_data,omitempty"`
	Source     string   `json:"check_source,omitempty"`
	Start      float64  `json:"execution_start"` // Unix seconds
	End        float64  `json:"execution_end"`
	TTL        float64  `json:"ttl,omitempty"` // seconds
}

// submissionOf is what r must become.
func submissionOf(r *checks.Result) submission {
	at := float64(r.Executed.UnixMicro()) / 1e6
	s := submission{
		ExitStatus: r.State.ExitCode(),
		Output:     r.Reason,
		Perfdata:   checks.SplitPerfdata(r.Perfdata),
		Source:     r.Source,
		Start:      at,
		End:        at,
		TTL:        r.TTL.Seconds(),
	}
	if r.IsHost() {
		s.Host = r.Host
		s.ExitStatus = min(s.ExitStatus, 1)
	} else {
		s.Service = r.Object.String()
	}
	return s
}

// Whatever a result has, Icinga gets JSON with that in it.
func FuzzSubmission(f *testing.F) {
	f.Add("web1", "disk", "a\nb\t\"\\ <ä>\u2028\x00\x1f\x7f\U0001f600", "'a b'=1;2;3 c=4", "prober", byte(2), int64(1795290003152931), int64(90))
	f.Add("web1", "", "", " ", "", byte(3), int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, host, service, reason, perfdata, source string, state byte, at, ttl int64) {
		for _, s := range []string{host, service, reason, perfdata, source} {
			if !utf8.ValidString(s) {
				t.Skip("decoding has repaired it")
			}
		}
		r := checks.Result{Object: checks.Object{Host: host, Service: service}, State: checks.State(state % 4), Reason: reason,
			Perfdata: perfdata, Source: source, Executed: time.UnixMicro(at % (1 << 52)), TTL: time.Duration(ttl)}
		text := appendSubmission(nil, &r)
		var got submission
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if want := submissionOf(&r); !reflect.DeepEqual(got, want) {
			t.Errorf("%s reads as %+v, want %+v", text, got, want)
		}
	})
}

func TestTextThatIsNoUTF8IsRepaired(t *testing.T) {
	var got string
	if err := json.Unmarshal(appendString(nil, "a\xffb\xc3"), &got); err != nil || got != "a\uFFFDb\uFFFD" {
		t.Errorf("read %q, %v", got, err)
	}
}
