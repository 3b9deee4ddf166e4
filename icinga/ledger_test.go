package icinga

import (
	"slices"
	"testing"
	"time"

	"checkbus/checks"
)

// at is a reading of disk, of a result executed in that second.
func at(second int64, state checks.State) reading {
	return reading{
		Status:  checks.Status{Object: service("disk"), State: state, Attempt: 1, Time: time.Unix(second, 0).UTC()},
		checked: second * 1e6,
	}
}

func resultAt(second int64, state checks.State) *checks.Result {
	return &checks.Result{Object: service("disk"), State: state, Reason: "new", Perfdata: "a=1", Executed: time.Unix(second, 0)}
}

func TestWhatAResultLeavesToAsk(t *testing.T) {
	soft, flapping := at(10, checks.OK), at(10, checks.OK)
	soft.Soft, flapping.Flapping = true, true
	tests := map[string]struct {
		told    []reading
		results []*checks.Result
		asked   bool
		told2   bool // without asking
	}{
		"good after good":       {[]reading{at(10, checks.OK)}, []*checks.Result{resultAt(11, checks.OK)}, false, true},
		"several good":          {[]reading{at(10, checks.OK)}, []*checks.Result{resultAt(11, checks.OK), resultAt(12, checks.OK)}, false, true},
		"good, then bad":        {[]reading{at(10, checks.OK)}, []*checks.Result{resultAt(11, checks.OK), resultAt(12, checks.Warning)}, true, false},
		"bad, then good":        {[]reading{at(10, checks.OK)}, []*checks.Result{resultAt(11, checks.Warning), resultAt(12, checks.OK)}, true, false},
		"good after bad":        {[]reading{at(10, checks.Critical)}, []*checks.Result{resultAt(11, checks.OK)}, true, false},
		"bad after bad":         {[]reading{at(10, checks.Critical)}, []*checks.Result{resultAt(11, checks.Critical)}, true, false},
		"good, known otherwise": {[]reading{at(11, checks.OK)}, []*checks.Result{resultAt(11, checks.OK)}, false, false},
		"good while soft":       {[]reading{soft}, []*checks.Result{resultAt(11, checks.OK)}, true, false},
		"good while flapping":   {[]reading{flapping}, []*checks.Result{resultAt(11, checks.OK)}, true, false},
		"of an unknown object":  {nil, []*checks.Result{resultAt(11, checks.OK)}, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := listening().ledger
			for _, r := range tt.told {
				l.note(r)
			}
			for _, r := range tt.results {
				l.took(r)
			}
			if l.isUnread(service("disk")) != tt.asked {
				t.Errorf("unread = %t", !tt.asked)
			}
			news := l.take()
			if (len(news.unread) == 1) != tt.asked || (len(news.states) == 1) != tt.told2 {
				t.Fatalf("news = %+v", news)
			}
			if tt.told2 {
				want := tt.told[0].Status
				last := tt.results[len(tt.results)-1]
				want.Reason, want.Perfdata, want.Time = last.Reason, last.Perfdata, last.Executed.UTC()
				if news.states[0] != want {
					t.Errorf("told %s, want %s", show(news.states[0]), show(want))
				}
			}
			if l.isUnread(service("disk")) != tt.asked {
				t.Error("an object is read when it is answered, not when it is asked for")
			}
			l.answered(news.unread)
			if l.isUnread(service("disk")) {
				t.Error("still unread after the answer")
			}
		})
	}
}

// A lane reads what a result made of an object before it sends the next one,
// while the object is being asked for; the answer may be older or newer.
func TestAnswersAndPassedStatesAreToldInOrder(t *testing.T) {
	tests := map[string]struct {
		passed []int64
		answer int64
		want   []int64
	}{
		"nothing passed":        {nil, 12, []int64{12}},
		"the answer is newer":   {[]int64{11, 12}, 13, []int64{11, 12, 13}},
		"the answer is one":     {[]int64{11, 12}, 12, []int64{11, 12}},
		"the answer is older":   {[]int64{11, 12, 13}, 11, []int64{11, 12, 13}},
		"passed what was told":  {[]int64{10, 11}, 11, []int64{11}},
		"nothing new at all":    {[]int64{10}, 10, nil},
		"nothing new, unpassed": {nil, 10, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWatcher(t)
			w.SawAll(nil)
			l := listening().ledger
			l.note(at(10, checks.Critical))
			l.took(resultAt(11, checks.Critical))
			unread := l.take().unread
			for _, second := range tt.passed {
				l.pass(at(second, checks.Critical))
			}
			f := follower{ledger: l, watcher: w}
			f.answer(at(tt.answer, checks.Critical))
			l.answered(unread)
			var got []int64
			for _, s := range w.history(service("disk")) {
				got = append(got, s.Time.Unix())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("told %v, want %v", got, tt.want)
			}
			if l.passes != 0 || len(l.passed) != 0 {
				t.Errorf("%d passed states are kept", l.passes)
			}
		})
	}
}

func TestAGlanceFindsWhatIsNewAndWhatIsGone(t *testing.T) {
	glimpse := func(attrs func(*entry)) *entry {
		e := &entry{Name: "web1!disk"}
		e.Attrs.State, e.Attrs.LastCheck, e.Attrs.LastStateOK = 0, 10, 10
		attrs(e)
		return e
	}
	tests := map[string]struct {
		told  *reading
		entry *entry // nil: the object is not there
		asked bool
		gone  bool
	}{
		"nothing new":       {ptr(at(10, checks.OK)), glimpse(func(*entry) {}), false, false},
		"a check":           {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.LastCheck = 11 }), true, false},
		"acknowledged":      {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.Acknowledgement = 1 }), true, false},
		"was until then":    {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.Acknowledgement, e.Attrs.AckExpiry = 1, 11 }), false, false},
		"in downtime":       {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.DowntimeDepth = 1 }), true, false},
		"flapping":          {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.Flapping, e.Attrs.FlapDetection = true, true }), true, false},
		"flapping unheeded": {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.Flapping = true }), false, false},
		"a new object":      {nil, glimpse(func(*entry) {}), true, false},
		"stopping":          {ptr(at(10, checks.OK)), glimpse(func(e *entry) { e.Attrs.Active, e.Attrs.DowntimeDepth = ptr(false), 1 }), false, false},
		"new, and stopping": {nil, glimpse(func(e *entry) { e.Attrs.Active = ptr(false) }), false, false},
		"a gone object":     {ptr(at(10, checks.OK)), nil, false, true},
		"told unasked":      {ptr(derived(at(10, checks.OK))), glimpse(func(e *entry) { e.Attrs.LastCheck = 10.5 }), false, false},
		"told since":        {ptr(derived(at(11, checks.OK))), glimpse(func(*entry) {}), false, false},
		"another since":     {ptr(derived(at(10, checks.OK))), glimpse(func(e *entry) { e.Attrs.LastCheck, e.Attrs.LastStateOK = 11, 11 }), true, false},
		"a bad one since":   {ptr(derived(at(10, checks.OK))), glimpse(func(e *entry) { e.Attrs.LastCheck, e.Attrs.State = 11, 1 }), true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := listening().ledger
			if tt.told != nil {
				l.note(*tt.told)
			}
			for range 2 { // the second finds no more than the first
				n := l.beginGlance()
				if tt.entry != nil {
					l.compare(tt.entry, n)
				}
				l.endGlance(n)
			}
			if news := l.take(); (len(news.unread) == 1) != tt.asked || (len(news.removed) == 1) != tt.gone {
				t.Errorf("news = %+v", news)
			}
		})
	}
}

func TestAGlanceDoesNotAskForAResultThatIsAboutToBeTold(t *testing.T) {
	l := listening().ledger
	l.note(at(10, checks.OK))
	l.took(resultAt(11, checks.OK))
	e := &entry{Name: "web1!disk"}
	e.Attrs.LastCheck, e.Attrs.LastStateOK = 11.5, 11
	l.compare(e, l.beginGlance())
	if news := l.take(); len(news.unread) != 0 || len(news.states) != 1 {
		t.Errorf("news = %+v", news)
	}
	l.took(resultAt(12, checks.OK))
	e.Attrs.LastCheck, e.Attrs.LastStateOK = 13.5, 13 // another's
	l.compare(e, l.beginGlance())
	if news := l.take(); len(news.unread) != 1 {
		t.Errorf("news = %+v", news)
	}
}

func TestAnObjectToldDuringAGlanceIsNotGone(t *testing.T) {
	l := listening().ledger
	n := l.beginGlance()
	l.note(at(10, checks.OK))
	l.endGlance(n)
	if news := l.take(); len(news.removed) != 0 {
		t.Errorf("news = %+v", news)
	}
	l.endGlance(l.beginGlance())
	l.note(at(11, checks.OK)) // answered after the glance
	if news := l.take(); len(news.removed) != 0 {
		t.Errorf("news = %+v", news)
	}
}

func derived(r reading) reading {
	r.checked = 0
	return r
}

func ptr[T any](v T) *T { return &v }
