package icinga

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

func TestIcingaHoldsWhatWasSubmitted(t *testing.T) {
	web1 := checks.Object{Host: "web1"}
	disk := service("disk")
	long := strings.Repeat("sixteen bytes. é", 1024)
	tests := map[string]struct {
		result   checks.Result
		state    float64 // as check_result has it: a host that is down has 2
		perfdata []string
	}{
		"host up":          {checks.Result{Object: web1, State: checks.Up, Reason: "PING OK"}, 0, nil},
		"host down":        {checks.Result{Object: web1, State: checks.Down, Reason: "no answer"}, 2, nil},
		"host unreachable": {checks.Result{Object: web1, State: checks.Unreachable, Reason: "router away"}, 2, nil},
		"ok":               {checks.Result{Object: disk, State: checks.OK, Reason: "DISK OK"}, 0, nil},
		"warning":          {checks.Result{Object: disk, State: checks.Warning, Reason: "DISK WARNING"}, 1, nil},
		"critical":         {checks.Result{Object: disk, State: checks.Critical, Reason: "mail server 001 is broke"}, 2, nil},
		"unknown":          {checks.Result{Object: disk, State: checks.Unknown, Reason: ""}, 3, nil},
		"lines":            {checks.Result{Object: disk, Reason: "first\nsecond\n\nfourth"}, 0, nil},
		"characters":       {checks.Result{Object: disk, Reason: "a\tb \"quoted\" 'single' \\n \\ | ; $HOSTNAME$ <b>&amp;</b> äöü 日本語 \U0001f600"}, 0, nil},
		"16 KiB":           {checks.Result{Object: disk, Reason: long}, 0, nil},
		"perfdata":         {checks.Result{Object: disk, Perfdata: "/=97%;90;95;0;100 time=0.5s"}, 0, []string{"/=97%;90;95;0;100", "time=0.5s"}},
		"quoted labels":    {checks.Result{Object: disk, Perfdata: "'a b'=1 'it''s'=2c 'x=y'=3"}, 0, []string{"'a b'=1", "'it''s'=2c", "'x=y'=3"}},
		"odd names":        {checks.Result{Object: service("Disk /var + 100% ä&b=c?d#e:f"), Reason: "odd"}, 0, nil},
		"odd host":         {checks.Result{Object: checks.Object{Host: "web 2/ä%41+", Service: "x"}, Reason: "odd"}, 0, nil},
		"ttl":              {checks.Result{Object: disk, Reason: "ttl", TTL: 90 * time.Second, Source: "prober ä"}, 0, nil},
	}
	var all []checks.Object
	for _, tt := range tests {
		all = append(all, tt.result.Object)
	}
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: all})
	g := newGateway(t, configOf(ic))
	g.start()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if rejected := g.deliver(tt.result); rejected != nil {
				t.Fatal(rejected)
			}
			want := g.last[tt.result.Object]
			got := ic.LastCheckResult(tt.result.Object)
			if got == nil {
				t.Fatal("icinga holds nothing")
			}
			if got.State != tt.state || got.Output != want.Reason || !slices.Equal(got.PerformanceData, tt.perfdata) {
				t.Errorf("icinga holds state %v, output %q, performance data %q", got.State, got.Output, got.PerformanceData)
			}
			if got.Active || got.CheckSource != want.Source || got.TTL != want.TTL.Seconds() {
				t.Errorf("icinga holds active %t, source %q, ttl %v", got.Active, got.CheckSource, got.TTL)
			}
			if at := want.Executed.UnixMicro(); micros(got.ExecutionStart) != at || micros(got.ExecutionEnd) != at {
				t.Errorf("icinga holds execution %f to %f, want %d", got.ExecutionStart, got.ExecutionEnd, at)
			}
		})
	}
}

func TestResultsOfAnObjectAreProcessedOnceAndInOrder(t *testing.T) {
	objects := fleet(20)
	ic := realtest.StartIcinga(t, realtest.IcingaOptions{Objects: objects})
	g := newGateway(t, configOf(ic))
	g.start()
	var batch []checks.Result
	for i := range 400 {
		batch = append(batch, checks.Result{Object: objects[i%20], State: checks.State(i / 20 % 4), Reason: fmt.Sprint(i)})
	}
	if rejected := g.deliver(batch...); rejected != nil {
		t.Fatal(rejected)
	}
	g.verify(ic)
	if got := g.Stats(); got.Taken != 400 || got.Objects != 22 || got.URL != ic.URL {
		t.Errorf("stats = %+v", got)
	}
	if rejected := g.handOver(batch); rejected != nil {
		t.Fatal(rejected)
	}
	if got := g.Stats(); got.Taken != 400 || got.Repeated != 400 {
		t.Errorf("submitted again: %+v", got)
	}
}
