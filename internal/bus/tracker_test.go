package bus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
)

var disk = checks.Object{Host: "db1", Service: "disk"}

// is is a status of the disk, hard, second seconds after 1970.
func is(s checks.State, second int64, change ...func(*checks.Status)) checks.Status {
	status := checks.Status{Object: disk, State: s, Attempt: 1, Time: time.Unix(second, 0)}
	for _, f := range change {
		f(&status)
	}
	return status
}

func soft(attempt int) func(*checks.Status) {
	return func(s *checks.Status) { s.Soft, s.Attempt = true, attempt }
}

func because(reason string) func(*checks.Status) {
	return func(s *checks.Status) { s.Reason = reason }
}

func on(service string) func(*checks.Status) {
	return func(s *checks.Status) { s.Service = service }
}

func acknowledged(s *checks.Status) { s.Acknowledged = true }
func inDowntime(s *checks.Status)   { s.InDowntime = true }
func flapping(s *checks.Status)     { s.Flapping = true }

// A record of what a tracker tells.
type record struct {
	*tracker
	told []news
}

func track(sources ...string) *record {
	r := &record{}
	r.tracker = newTracker(sources, false, func(n news) { r.told = append(r.told, n) })
	return r
}

// events are those told since it was asked last, as "kind state was previous".
func (r *record) events() (events []string) {
	for _, n := range r.told {
		for _, c := range n.events {
			events = append(events, fmt.Sprintf("%s %v was %v", c.Kind, c.State, c.Previous))
		}
	}
	r.told = nil
	return events
}

func TestWhatIsAnEvent(t *testing.T) {
	tests := map[string]struct {
		before []checks.Status
		now    checks.Status
		want   []string
	}{
		"first report good":      {nil, is(checks.OK, 1), nil},
		"first report bad":       {nil, is(checks.Critical, 1), []string{"state CRITICAL was PENDING"}},
		"nothing reported":       {nil, is(checks.Pending, 0), nil},
		"first good after none":  {[]checks.Status{is(checks.Pending, 0)}, is(checks.Up, 1), nil},
		"first bad after none":   {[]checks.Status{is(checks.Pending, 0)}, is(checks.Down, 1), []string{"state DOWN was PENDING"}},
		"a problem is forgotten": {[]checks.Status{is(checks.Critical, 1)}, is(checks.Pending, 0), []string{"state PENDING was CRITICAL"}},
		"same again":             {[]checks.Status{is(checks.Critical, 1)}, is(checks.Critical, 2), nil},
		"another":                {[]checks.Status{is(checks.OK, 1)}, is(checks.Warning, 2), []string{"state WARNING was OK"}},
		"recovery":               {[]checks.Status{is(checks.Critical, 1)}, is(checks.OK, 2), []string{"state OK was CRITICAL"}},
		"retry":                  {[]checks.Status{is(checks.Critical, 1, soft(1))}, is(checks.Critical, 2, soft(2)), nil},
		"soft gets hard":         {[]checks.Status{is(checks.OK, 1), is(checks.Critical, 2, soft(1))}, is(checks.Critical, 3), []string{"hard CRITICAL was OK"}},
		"another, and hard":      {[]checks.Status{is(checks.Warning, 1, soft(1))}, is(checks.Critical, 2), []string{"state CRITICAL was WARNING"}},
		"soft good gets hard":    {[]checks.Status{is(checks.Critical, 1, soft(1)), is(checks.OK, 2, soft(1))}, is(checks.OK, 3), nil},
		"hard gets soft":         {[]checks.Status{is(checks.Critical, 1)}, is(checks.Critical, 2, soft(1)), nil},
		"acknowledged":           {[]checks.Status{is(checks.Critical, 1)}, is(checks.Critical, 1, acknowledged), []string{"acknowledged CRITICAL was PENDING"}},
		"downtime ends":          {[]checks.Status{is(checks.OK, 1, inDowntime)}, is(checks.OK, 1), []string{"downtime OK was PENDING"}},
		"flapping":               {[]checks.Status{is(checks.OK, 1)}, is(checks.OK, 1, flapping), []string{"flapping OK was PENDING"}},
		"new, and in downtime":   {nil, is(checks.Critical, 1, inDowntime), []string{"state CRITICAL was PENDING"}},
		"all at once, state first": {[]checks.Status{is(checks.Critical, 1, acknowledged, inDowntime)}, is(checks.OK, 2, flapping), []string{
			"state OK was CRITICAL", "acknowledged OK was CRITICAL", "downtime OK was CRITICAL", "flapping OK was CRITICAL"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := track("icinga")
			for _, s := range tt.before {
				r.saw(0, s)
			}
			r.told = nil
			r.saw(0, tt.now)
			if got := r.events(); !slices.Equal(got, tt.want) {
				t.Errorf("events %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEveryAttemptIsAnEventWhereAskedFor(t *testing.T) {
	r := track("icinga")
	r.everyAttempt = true
	for _, s := range []checks.Status{is(checks.OK, 1), is(checks.OK, 2), is(checks.Critical, 3, soft(1)), is(checks.Critical, 4, soft(2)),
		is(checks.Critical, 4, soft(2)), is(checks.Critical, 5), is(checks.Critical, 6)} {
		r.saw(0, s)
	}
	want := []string{"state CRITICAL was OK", "attempt CRITICAL was OK", "hard CRITICAL was OK"}
	if got := r.events(); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestOnlyWhatIsNewIsPublished(t *testing.T) {
	same := is(checks.OK, 5, because("fine"))
	tests := map[string]struct {
		now       checks.Status
		published bool
		keep      bool
	}{
		"the same":     {same, false, false},
		"later":        {is(checks.OK, 6, because("fine")), true, false},
		"other text":   {is(checks.OK, 5, because("well")), true, false},
		"perfdata":     {is(checks.OK, 5, because("fine"), func(s *checks.Status) { s.Perfdata = "a=1" }), true, false},
		"attempt":      {is(checks.OK, 5, because("fine"), func(s *checks.Status) { s.Attempt = 2 }), true, false},
		"since":        {is(checks.OK, 5, because("fine"), func(s *checks.Status) { s.Since = time.Unix(4, 0) }), true, true},
		"soft":         {is(checks.OK, 5, because("fine"), soft(1)), true, true},
		"acknowledged": {is(checks.OK, 5, because("fine"), acknowledged), true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := track("icinga")
			r.saw(0, same)
			r.told = nil
			r.saw(0, tt.now)
			if published := len(r.told) == 1; published != tt.published || published && r.told[0].keep != tt.keep {
				t.Errorf("told %+v", r.told)
			}
		})
	}
}

func TestSinceIsWhenTheStateBegan(t *testing.T) {
	told := func(s checks.Status) checks.Status {
		s.Since = time.Unix(100, 0)
		return s
	}
	tests := map[string]struct {
		say  []checks.Status
		want int64
	}{
		"first":                 {[]checks.Status{is(checks.OK, 1)}, 1},
		"goes on":               {[]checks.Status{is(checks.OK, 1), is(checks.OK, 2)}, 1},
		"another":               {[]checks.Status{is(checks.OK, 1), is(checks.OK, 2), is(checks.Warning, 3), is(checks.Warning, 4)}, 3},
		"the core knows better": {[]checks.Status{is(checks.OK, 1), told(is(checks.OK, 200))}, 100},
		"and says it no more":   {[]checks.Status{told(is(checks.OK, 200)), is(checks.OK, 300)}, 100},
		"soft and hard are one": {[]checks.Status{is(checks.OK, 1), is(checks.Warning, 3, soft(1)), is(checks.Warning, 4)}, 3},
		"nothing is known":      {[]checks.Status{is(checks.Pending, 0, func(s *checks.Status) { s.Time = time.Time{} })}, -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := track("icinga")
			for _, s := range tt.say {
				r.saw(0, s)
			}
			since := r.told[len(r.told)-1].now.Since
			if tt.want < 0 && !since.IsZero() || tt.want >= 0 && since.Unix() != tt.want {
				t.Errorf("since %v, want %d", since, tt.want)
			}
		})
	}
}

func TestEventsAreCountedWithoutGaps(t *testing.T) {
	r := track("icinga")
	r.sawAll(0, nil)
	for i, s := range []checks.State{checks.OK, checks.Critical, checks.Critical, checks.OK, checks.Warning} {
		r.saw(0, is(s, int64(i)))
	}
	r.lost(0, disk)
	seq := uint64(0)
	for _, n := range r.told {
		for _, c := range n.events {
			if seq++; c.Seq != seq {
				t.Errorf("seq %d, want %d", c.Seq, seq)
			}
		}
		if n.now.Seq != seq {
			t.Errorf("the state says seq %d, want that of its last event, %d", n.now.Seq, seq)
		}
	}
	if seq != 4 {
		t.Errorf("%d events, want 4", seq)
	}
}

func TestASnapshotIsComparedAndPublishedInOrder(t *testing.T) {
	r := track("icinga")
	r.sawAll(0, []checks.Status{is(checks.OK, 1, on("a")), is(checks.OK, 1, on("b")), is(checks.OK, 1, on("c")), is(checks.OK, 1, on("d")), is(checks.Warning, 1, on("e"))})
	if got := r.events(); !slices.Equal(got, []string{"state WARNING was PENDING"}) {
		t.Errorf("first %q", got)
	}
	r.sawAll(0, []checks.Status{is(checks.Critical, 9, on("a")), is(checks.Warning, 8, on("b")), is(checks.OK, 1, on("c"))})
	var got []string
	for _, n := range r.told {
		got = append(got, n.now.Service+" "+n.now.Kind)
		if n.gone != (n.now.Kind == checks.KindRemoved) {
			t.Errorf("%s: gone %t", n.now.Service, n.gone)
		}
	}
	if want := []string{"b state", "a state", "d removed", "e removed"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	last := r.told[len(r.told)-1].now
	if last.State != checks.Warning || last.Origin != "icinga" || last.Since.Unix() != 1 {
		t.Errorf("the last word on an object that is gone: %+v", last)
	}
	if n := r.counts[checks.OK].Load() + r.counts[checks.Critical].Load() + r.counts[checks.Warning].Load(); n != 3 || len(r.objects) != 3 {
		t.Errorf("%d objects counted", n)
	}
}

func TestAnObjectIsThatOfTheFirstCoreThatHasIt(t *testing.T) {
	r := track("first", "second")
	r.sawAll(1, []checks.Status{is(checks.OK, 1, on("both")), is(checks.OK, 1, on("mine"))})
	r.sawAll(0, []checks.Status{is(checks.OK, 1, on("both")), is(checks.OK, 1, on("theirs"))})
	steps := []struct {
		say  func()
		want string
	}{
		{func() { r.saw(0, is(checks.Critical, 2, on("both"))) }, "both state by first"},
		{func() { r.saw(1, is(checks.Critical, 2, on("both"))) }, ""},
		{func() { r.saw(1, is(checks.Warning, 3, on("both"))) }, ""},
		{func() { r.saw(1, is(checks.Warning, 3, on("mine"))) }, "mine state by second"},
		{func() { r.lost(1, is(0, 0, on("theirs")).Object) }, ""},
		{func() { r.lost(0, is(0, 0, on("both")).Object) }, "both state by second"},
		{func() { r.saw(0, is(checks.Warning, 4, on("both"))) }, "both state by first"},
		{func() { r.lost(1, is(0, 0, on("both")).Object) }, ""},
		{func() { r.sawAll(0, nil) }, "both removed by first theirs removed by first"},
		{func() { r.lost(1, is(0, 0, on("mine")).Object) }, "mine removed by second"},
	}
	r.told = nil
	for i, step := range steps {
		step.say()
		var got []string
		for _, n := range r.told {
			got = append(got, fmt.Sprintf("%s %s by %s", n.now.Service, n.now.Kind, n.now.Origin))
		}
		r.told = nil
		if got := strings.Join(got, " "); got != step.want {
			t.Errorf("step %d: told %q, want %q", i, got, step.want)
		}
	}
}

func TestAfterARestartStatesAreComparedWithWhatWasPublished(t *testing.T) {
	before := track("first", "second")
	before.sawAll(0, []checks.Status{is(checks.OK, 1, on("a")), is(checks.Critical, 1, on("b"))})
	before.sawAll(1, []checks.Status{is(checks.OK, 1, on("c")), is(checks.OK, 1, on("d"))})

	after := track("first", "second")
	for _, n := range before.told {
		after.restore(n.now, true)
	}
	after.seq = before.seq
	after.sawAll(1, []checks.Status{is(checks.Warning, 2, on("a")), is(checks.OK, 1, on("c"))}) // a is not its own
	if len(after.told) != 0 {
		t.Errorf("the second core's snapshot: %+v", after.told)
	}
	after.sawAll(0, []checks.Status{is(checks.OK, 1, on("a")), is(checks.OK, 3, on("b"))})
	if len(after.told) != 2 || after.told[0].now.Seq != 2 {
		t.Fatalf("told %+v", after.told)
	}
	if got := after.events(); !slices.Equal(got, []string{"state OK was CRITICAL", "removed OK was PENDING"}) {
		t.Errorf("events %q", got)
	}
}

func TestStatesOfACoreThatIsNoLongerConfiguredGo(t *testing.T) {
	r := track("first", "second")
	r.restore(checks.Change{Status: is(checks.OK, 1, on("a")), Origin: "third"}, true)
	r.restore(checks.Change{Status: is(checks.OK, 1, on("b")), Origin: "third"}, true)
	r.sawAll(0, nil)
	if len(r.told) != 0 {
		t.Errorf("told %+v before all cores have spoken", r.told)
	}
	r.sawAll(1, []checks.Status{is(checks.Critical, 2, on("b"))})
	if got := r.events(); !slices.Equal(got, []string{"state CRITICAL was OK", "removed OK was OK"}) {
		t.Errorf("events %q", got)
	}
}
