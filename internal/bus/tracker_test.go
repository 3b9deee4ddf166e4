package bus

import (
	"testing"
	"time"

	"checkbus/checks"
)

func at(s checks.State, second int64) checks.Result {
	return checks.Result{Object: checks.Object{Host: "db1", Service: "disk"}, State: s, Time: time.Unix(second, 0), Executed: time.Unix(second, 0)}
}

func TestOnlyAnotherStateIsAnEvent(t *testing.T) {
	tests := map[string]struct {
		before []checks.Result
		now    checks.Result
		want   bool
		since  int64
	}{
		"first report good":  {nil, at(checks.OK, 1), false, 1},
		"first report bad":   {nil, at(checks.Critical, 1), true, 1},
		"same again":         {[]checks.Result{at(checks.Critical, 1)}, at(checks.Critical, 2), false, 1},
		"another":            {[]checks.Result{at(checks.OK, 1)}, at(checks.Warning, 2), true, 2},
		"recovery":           {[]checks.Result{at(checks.Critical, 1)}, at(checks.OK, 2), true, 2},
		"same second":        {[]checks.Result{at(checks.OK, 1)}, at(checks.Critical, 1), true, 1},
		"since the first of": {[]checks.Result{at(checks.OK, 1), at(checks.Warning, 3)}, at(checks.Warning, 9), false, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var tr Tracker
			for _, r := range tt.before {
				tr.Observe(r)
			}
			c, got := tr.Observe(tt.now)
			if got != tt.want || c.State != tt.now.State || c.Since.Unix() != tt.since {
				t.Errorf("Observe(%v) = %v since %d, event %t; want event %t since %d", tt.now.State, c.State, c.Since.Unix(), got, tt.want, tt.since)
			}
		})
	}
}

func TestALateStragglerChangesNothing(t *testing.T) {
	var tr Tracker
	tr.Observe(at(checks.OK, 5))
	if c, event := tr.Observe(at(checks.Critical, 1)); event || c.Host != "" {
		t.Errorf("Observe of an older result = %+v, %t", c, event)
	}
	if _, event := tr.Observe(at(checks.OK, 6)); event {
		t.Error("the straggler was remembered as the state")
	}
}

func TestEventsAreCountedWithoutGaps(t *testing.T) {
	var tr Tracker
	var seqs []uint64
	for i, s := range []checks.State{checks.OK, checks.Critical, checks.Critical, checks.OK, checks.Warning} {
		if c, event := tr.Observe(at(s, int64(i))); event {
			seqs = append(seqs, c.Seq)
		}
	}
	for i, s := range seqs {
		if s != uint64(i+1) {
			t.Fatalf("seq = %v", seqs)
		}
	}
	if len(seqs) != 3 {
		t.Errorf("%d events, want 3", len(seqs))
	}
}
