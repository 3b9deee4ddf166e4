package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A feed is a core that says what a test makes it say.
type feed struct{ says chan func(checks.Watcher) }

func newFeed() *feed { return &feed{says: make(chan func(checks.Watcher))} }

func (f *feed) Follow(ctx context.Context, w checks.Watcher) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case say := <-f.says:
			say(w)
		}
	}
}

func (f *feed) Follows() bool { return true }

func (f *feed) saw(s checks.Status) { f.says <- func(w checks.Watcher) { w.Saw(s) } }

func (f *feed) sawAll(all ...checks.Status) { f.says <- func(w checks.Watcher) { w.SawAll(all) } }

func (f *feed) core(name string) Core { return Core{Name: name, Sink: newCore(), Feed: f} }

const (
	stateTopic = "checkbus/state/db1/disk"
	eventTopic = "checkbus/event/db1/disk"
)

func TestWhatIsPublishedIsAsDesigned(t *testing.T) {
	f := newFeed()
	b := start(t, t.TempDir(), f.core("icinga"))
	now := time.Date(2026, 11, 21, 18, 8, 49, 457_000_000, time.UTC)
	f.sawAll(checks.Status{Object: disk, State: checks.OK, Time: now.Add(-time.Minute)})
	f.saw(checks.Status{Object: disk, State: checks.Critical, Attempt: 3, Reason: "DISK CRITICAL - / 97%", Perfdata: "/=97%;90;95", Time: now, Since: now})
	want := `{"host":"db1","service":"disk","state":"CRITICAL","exit_code":2,"previous":"OK","state_type":"hard","attempt":3,` +
		`"reason":"DISK CRITICAL - / 97%","perfdata":"/=97%;90;95","time":"2026-11-21T18:08:49.457Z","since":"2026-11-21T18:08:49.457Z",` +
		`"acknowledged":false,"in_downtime":false,"flapping":false,"origin":"icinga","change":"state","seq":1}`
	if got := b.wait(t, eventTopic, 1); got[0] != want {
		t.Errorf("event\n got %s\nwant %s", got[0], want)
	}
	if got := b.wait(t, stateTopic, 2); got[1] != want {
		t.Errorf("state\n got %s\nwant %s", got[1], want)
	}
}

func TestWhatTheCoreNoLongerHasIsCleared(t *testing.T) {
	f := newFeed()
	b := start(t, t.TempDir(), f.core("nagios"))
	f.sawAll(is(checks.Pending, 0, func(s *checks.Status) { s.Time = time.Time{} }))
	if got := b.wait(t, stateTopic, 1); !strings.Contains(got[0], `"PENDING"`) || !strings.Contains(got[0], `"time":"","since":""`) {
		t.Errorf("state %s", got[0])
	}
	f.sawAll()
	if got := b.wait(t, stateTopic, 2); got[1] != "" {
		t.Errorf("state %q, want none", got[1])
	}
	if got := b.wait(t, eventTopic, 1); !strings.Contains(got[0], `"change":"removed"`) {
		t.Errorf("event %s", got[0])
	}
	b.says(t, map[string]string{"states/count": "0", "events/published": "1"})
}

func TestWithAFeedTheGatewayDoesNotJudge(t *testing.T) {
	f := newFeed()
	b := start(t, t.TempDir(), f.core("nagios"))
	if err := b.offer(message("nagios/db1/disk", `{"exit_code":2,"reason":"full"}`)); err != nil {
		t.Fatal(err)
	}
	f.sawAll(is(checks.OK, 1))
	if got := b.wait(t, stateTopic, 1); len(got) != 1 || !strings.Contains(got[0], `"nagios"`) {
		t.Errorf("states %s", got)
	}
}

// seqs are the numbers of the events in payloads.
func seqs(t *testing.T, payloads []string) (all []int) {
	t.Helper()
	for _, p := range payloads {
		var e struct{ Seq int }
		if err := json.Unmarshal([]byte(p), &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Seq)
	}
	return all
}

func TestARestartTellsOnlyWhatChangedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	f := newFeed()
	b := start(t, dir, f.core("icinga"))
	ill := is(checks.Critical, 1, because("full"), acknowledged)
	f.sawAll(is(checks.OK, 1, on("a")), is(checks.OK, 1, on("gone")), ill)
	b.wait(t, eventTopic, 1)
	b.stop()

	f = newFeed()
	b = start(t, dir, f.core("icinga"))
	for _, topic := range []string{stateTopic, "checkbus/state/db1/a", "checkbus/state/db1/gone"} {
		if got := b.on(topic); len(got) != 1 {
			t.Errorf("%s before the core has spoken: %q", topic, got)
		}
	}
	f.sawAll(is(checks.Warning, 2, on("a")), ill)
	if got := b.wait(t, "checkbus/event/db1/a", 1); len(got) != 1 || !strings.Contains(got[0], `"previous":"OK"`) || seqs(t, got)[0] != 2 {
		t.Errorf("event %s", got)
	}
	if got := b.wait(t, "checkbus/event/db1/gone", 1); seqs(t, got)[0] != 3 || !strings.Contains(got[0], `"removed"`) {
		t.Errorf("event %s", got)
	}
	if got := b.on(stateTopic); len(got) != 1 || !strings.Contains(got[0], `"reason":"full"`) || !strings.Contains(got[0], `"acknowledged":true`) {
		t.Errorf("an unchanged state: %q", got)
	}
	if got := b.on(eventTopic); len(got) != 0 {
		t.Errorf("an unchanged state is an event: %q", got)
	}
	b.says(t, map[string]string{"states/count": "2", "states/warning": "1", "states/critical": "1", "states/ok": "0", "events/published": "2"})
}

func TestWithoutACoreARestartTellsWhatWasNotToldBefore(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	for i, service := range []string{"b", "a"} {
		if err := b.offer(message("nagios/db1/"+service, `{"exit_code":0,"reason":""}`)); err != nil {
			t.Fatal(i, err)
		}
		b.wait(t, "checkbus/state/db1/"+service, 1)
	}
	queue := b.Queue
	b.cancel() // as if nothing were published from here on
	for _, service := range []string{"b", "a"} {
		if err := b.offer(message("nagios/db1/"+service, `{"exit_code":1,"reason":""}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := queue.SaveStates([]checks.Change{{Status: is(checks.OK, 1, on("old")), Origin: "icinga"}}, 7); err != nil {
		t.Fatal(err)
	}
	b.stop()

	b = start(t, dir)
	for i, service := range []string{"b", "a", "old"} { // in the order of the results
		got := b.wait(t, "checkbus/event/db1/"+service, 1)
		if seq := seqs(t, got); !slices.Equal(seq, []int{8 + i}) {
			t.Errorf("%s: seq %v, want %d", service, seq, 8+i)
		}
	}
}

func TestFourThousandChangesAtOnce(t *testing.T) {
	const n = 4000
	f := newFeed()
	b := start(t, t.TempDir(), f.core("icinga"))
	var before, after []checks.Status
	for i := range n {
		before = append(before, is(checks.OK, 1, on(fmt.Sprint(i))))
		after = append(after, is(checks.Critical, 2, on(fmt.Sprint(i)), because("unreachable")))
	}
	f.sawAll(before...)
	b.wait(t, fmt.Sprintf("checkbus/state/db1/%d", n-1), 1)
	began := time.Now()
	for _, s := range after {
		f.saw(s)
	}
	realtest.Eventually(t, time.Minute, "all events", func() bool { return b.Stats().Events == n })
	t.Logf("all out after %v", time.Since(began))
	b.stop()
	for i := range n {
		if got := b.on(fmt.Sprintf("checkbus/event/db1/%d", i)); len(got) != 1 || seqs(t, got)[0] != i+1 {
			t.Fatalf("events of object %d: %s", i, got)
		}
	}
}

func TestASlowSubscriberHoldsUpNoAcknowledgement(t *testing.T) {
	release := make(chan struct{})
	b := start(t, t.TempDir())
	b.states.send = func(string, []byte, bool) { <-release }
	for i := range 100 {
		if err := b.offer(message("nagios/db1/disk", fmt.Sprintf(`{"exit_code":0,"reason":"%d"}`, i))); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
}

func TestStatesAreSavedWhenTheDiskWorksAgain(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	s := newSaver(b.Queue, b.Log)
	for i := range 2*saveBatch + 1 {
		s.add(checks.Change{Status: is(checks.OK, 1, on(fmt.Sprint(i))), Seq: uint64(i)})
	}
	b.stop()
	if err := s.save(); err == nil || len(s.unsaved) != 2*saveBatch+1 || len(s.wake) != 1 {
		t.Fatalf("save = %v, %d unsaved", err, len(s.unsaved))
	}
	newer := checks.Change{Status: is(checks.Critical, 1, on("0")), Seq: 3 * saveBatch}
	s.add(newer)
	s.queue = start(t, dir).Queue
	if err := s.save(); err != nil || len(s.unsaved) != 0 {
		t.Fatalf("save = %v, %d unsaved", err, len(s.unsaved))
	}
	saved := 0
	seq, err := s.queue.EachState(func(c checks.Change) error {
		saved++
		if c.Object == newer.Object && c.State != newer.State {
			t.Errorf("an older state was saved: %+v", c)
		}
		return nil
	})
	if err != nil || saved != 2*saveBatch+1 || seq != newer.Seq {
		t.Errorf("%d saved, seq %d, %v", saved, seq, err)
	}
}

func TestWhatIsUnsavedAtTheEndIsSaved(t *testing.T) {
	s := newSaver(start(t, t.TempDir()).Queue, slog.New(slog.DiscardHandler))
	s.add(checks.Change{Status: is(checks.OK, 1), Seq: 1})
	<-s.wake
	ended := make(chan struct{})
	close(ended)
	if err := s.run(t.Context(), ended); err != nil || len(s.unsaved) != 0 || s.seq != 1 {
		t.Errorf("run = %v, %d unsaved", err, len(s.unsaved))
	}
}
