package bus

import (
	"errors"
	"testing"
	"time"

	"checkbus/checks"
)

func at(s checks.State, second int64) checks.Result {
	return checks.Result{Object: disk, State: s, Time: time.Unix(second, 0), Executed: time.Unix(second, 0)}
}

func TestResultsOfAnObjectAreAcceptedInTheirOrder(t *testing.T) {
	tests := map[string]struct {
		times []int64
		want  []error
	}{
		"growing":                   {[]int64{1, 2, 3}, []error{nil, nil, nil}},
		"an older one is stale":     {[]int64{5, 3, 6}, []error{nil, checks.ErrStale, nil}},
		"equals follow each other":  {[]int64{5, 5, 5, 5}, []error{nil, nil, nil, nil}},
		"the stale is not the mark": {[]int64{5, 3, 4, 5}, []error{nil, checks.ErrStale, checks.ErrStale, nil}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := order{newest: map[checks.Object]mark{}}
			var executed time.Time
			for i, s := range tt.times {
				r := at(checks.OK, s)
				r.Arrived = time.Unix(100, 0)
				err := o.admit(&r)
				if !errors.Is(err, tt.want[i]) {
					t.Fatalf("result %d at %d: %v, want %v", i, s, err, tt.want[i])
				}
				if err == nil {
					if !r.Executed.After(executed) {
						t.Fatalf("result %d: executed %v does not follow %v", i, r.Executed, executed)
					}
					executed = r.Executed
				}
			}
		})
	}
}

func TestTheOrderSurvivesARestart(t *testing.T) {
	o := order{newest: map[checks.Object]mark{}}
	a, b := at(checks.OK, 5), at(checks.OK, 5)
	a.Arrived, b.Arrived = time.Unix(9, 0), time.Unix(9, 0)
	if err := errors.Join(o.admit(&a), o.admit(&b)); err != nil {
		t.Fatal(err)
	}
	again := order{newest: map[checks.Object]mark{}}
	again.note(b) // as the spool gives it back
	c := at(checks.OK, 5)
	if err := again.admit(&c); err != nil || !c.Executed.After(b.Executed) {
		t.Errorf("admit = %v, executed %v after %v", err, c.Executed, b.Executed)
	}
}

func TestAnObjectTooManyIsRefused(t *testing.T) {
	o := order{newest: map[checks.Object]mark{}, max: 2}
	for i, want := range []error{nil, nil, checks.ErrUnknownObject} {
		r := at(checks.OK, 1)
		r.Host = string(rune('a' + i))
		if err := o.admit(&r); !errors.Is(err, want) {
			t.Errorf("object %d: %v, want %v", i, err, want)
		}
	}
	known := at(checks.OK, 2)
	known.Host = "a"
	if err := o.admit(&known); err != nil {
		t.Errorf("a known object: %v", err)
	}
}

func TestAResultWithoutATimeIsNeverStale(t *testing.T) {
	o := order{newest: map[checks.Object]mark{}}
	var executed time.Time
	for i, arrived := range []int64{3600, 3599, 1, 2} { // the clock is set back
		r := at(checks.OK, arrived)
		r.Arrived = r.Time
		if err := o.admit(&r); err != nil || !r.Executed.After(executed) {
			t.Fatalf("result %d: %v, executed %v after %v", i, err, r.Executed, executed)
		}
		executed = r.Executed
	}
	late := at(checks.OK, 2000)
	late.Arrived = time.Unix(4000, 0)
	if err := o.admit(&late); !errors.Is(err, checks.ErrStale) {
		t.Errorf("a result that says it is older: %v", err)
	}
}
