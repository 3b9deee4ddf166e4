package nagios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A spooled stands for the spool: it numbers results, keeps the newest of each
// object, and knows how far they are handed over.
type spooled struct {
	mu             sync.Mutex
	seq, committed uint64
	last           map[checks.Object]checks.Result
}

func newSpooled() *spooled { return &spooled{last: make(map[checks.Object]checks.Result)} }

func (p *spooled) history() History { return History{Last: p.newest, Committed: p.handedOver} }

func (p *spooled) newest(o checks.Object) (checks.Result, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.last[o]
	return r, ok, nil
}

func (p *spooled) handedOver() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed
}

// accept takes a result that was executed now.
func (p *spooled) accept(o checks.Object, state checks.State, reason string) checks.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	now := time.Now().Truncate(time.Microsecond)
	r := checks.Result{Object: o, State: state, Reason: reason, Executed: now, Time: now, Seq: p.seq}
	p.last[o] = r
	return r
}

// handOver submits all of batch, up to 1000 at a time.
func (p *spooled) handOver(t testing.TB, s *Sink, batch ...checks.Result) {
	t.Helper()
	for some := range slices.Chunk(batch, 1000) {
		wantTaken(t, s.Submit(t.Context(), some))
		p.mu.Lock()
		p.committed = some[len(some)-1].Seq
		p.mu.Unlock()
	}
}

// A lapse is a Nagios that forgets over a kill, and what stands before it.
type lapse struct {
	*realtest.Nagios
	t     testing.TB
	spool *spooled
	sink  *Sink
	w     *witness
	log   logBuffer
	stop  func()
}

func newLapse(t testing.TB, o realtest.NagiosOptions) *lapse {
	t.Helper()
	l := &lapse{Nagios: realtest.StartNagios(t, o), t: t, spool: newSpooled()}
	l.begin()
	t.Cleanup(func() {
		l.stop()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", l.log.String())
		}
	})
	return l
}

// begin starts the gateway, and returns when it follows the core.
func (l *lapse) begin() {
	l.t.Helper()
	cfg := Config{CommandFile: l.CommandFile, BatchDir: l.BatchDir, ObjectCache: l.ObjectCache}
	withFeed(l.Nagios)(&cfg)
	l.sink, l.w = New(cfg, l.spool.history(), l.log.logger()), newWitness()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.sink.Follow(ctx, l.w) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
		if err := l.sink.Close(); err != nil {
			l.t.Error(err)
		}
	})
	realtest.Eventually(l.t, time.Minute, "the core to be followed", l.sink.Follows)
	settle(l.t, l.sink)
}

// give hands over one result of one of h0000's services.
func (l *lapse) give(name string, state checks.State, reason string) checks.Result {
	l.t.Helper()
	r := l.spool.accept(service(name), state, reason)
	l.spool.handOver(l.t, l.sink, r)
	return r
}

// save makes Nagios write its retention file with what it holds now.
func (l *lapse) save() {
	l.t.Helper()
	before := modified(l.retention())
	l.Command("SAVE_STATE_INFORMATION")
	realtest.Eventually(l.t, time.Minute, "the retention file", func() bool { return modified(l.retention()) != before })
}

func (l *lapse) retention() string { return l.Dir + "/retention.dat" }

func modified(path string) time.Time {
	fi, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// pass waits for a status file that Nagios began after this second.
func (l *lapse) pass() {
	l.t.Helper()
	second := time.Now().Unix()
	realtest.Eventually(l.t, time.Minute, "the next status file", func() bool {
		text, _ := os.ReadFile(l.StatusFile) // there is none while Nagios begins
		_, text, _ = bytes.Cut(text, []byte("created="))
		created, _, _ := bytes.Cut(text, []byte("\n"))
		return number(created) > second
	})
}

// compared waits until what was lost over the last start has been looked for.
func (l *lapse) compared() {
	l.t.Helper()
	l.pass()
	l.pass()
}

func (l *lapse) is(name string, state checks.State, output string) {
	l.t.Helper()
	l.WaitStatus(fmt.Sprintf("have %s as %v %q", name, state, output), func(m map[checks.Object]realtest.NagiosStatus) bool {
		s := m[service(name)]
		return s.State == state.ExitCode() && s.Output == output
	})
}

// times is how often Nagios has processed a result with this text.
func (l *lapse) times(text string) int {
	l.t.Helper()
	n := 0
	for _, line := range l.Log() {
		if strings.Contains(line, " PROCESS_SERVICE_CHECK_RESULT;") && strings.HasSuffix(line, ";"+text) {
			n++
		}
	}
	return n
}

// forgetful logs what it is told, and saves nothing by itself.
var forgetful = realtest.NagiosOptions{Hosts: 1, Services: 6, Config: []string{"log_external_commands=1"}}

func TestWhatAKilledNagiosForgotIsHandedOverAgain(t *testing.T) {
	t.Parallel() // mostly it waits for status files
	l := newLapse(t, forgetful)
	l.give("s000", checks.OK, "fine")
	l.give("s001", checks.OK, "stays")
	l.give("s002", checks.Warning, "kept")
	l.save()
	l.pass() // in another second than "fine"
	l.give("s000", checks.Critical, "broken")
	l.give("s003", checks.Critical, "first")
	l.w.await(t, service("s000"), "critical", func(s checks.Status) bool { return s.State == checks.Critical })
	l.w.await(t, service("s003"), "critical", func(s checks.Status) bool { return s.State == checks.Critical })
	l.pass() // the gateway notes how far it is once a second,
	l.pass() // and a status file of the next second is compared with that
	l.Kill()
	l.Start()
	l.is("s000", checks.Critical, "broken")
	l.is("s003", checks.Critical, "first")
	l.compared()
	for text, want := range map[string]int{"fine": 1, "stays": 1, "kept": 1, "broken": 2, "first": 2} {
		if got := l.times(text); got != want {
			t.Errorf("%q was handed over %d times, want %d", text, got, want)
		}
	}
	if got := l.sink.resent.Load(); got != 2 || strings.Count(l.log.String(), "handed over again") != 1 {
		t.Errorf("%d results handed over again, want 2 and one line in the log", got)
	}
	agree(t, l.Nagios, l.w)
	if got, want := l.w.verdicts(service("s000")), []string{"PENDING;HARD;0", "OK;HARD;1", "CRITICAL;HARD;1"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v: what the core forgot is no news", got, want)
	}

	// What comes after a stop or a reload has forgotten nothing.
	l.Stop()
	l.Start()
	l.Reload()
	l.compared()
	if got := l.sink.resent.Load(); got != 2 {
		t.Errorf("%d results handed over again after a stop and a reload, want none but those 2", got)
	}
}

func TestWhatNagiosForgotWhileTheGatewayWasAwayIsHandedOverAgain(t *testing.T) {
	t.Parallel() // mostly it waits for status files
	l := newLapse(t, forgetful)
	l.give("s000", checks.OK, "fine")
	l.save()
	l.pass()
	l.give("s000", checks.Critical, "broken")
	l.give("s001", checks.Critical, "kept")
	l.stop()
	l.begin() // the core knows everything, whatever its last status file says
	l.compared()
	if got := l.sink.resent.Load(); got != 0 {
		t.Errorf("%d results handed over again to a core that has them", got)
	}
	l.stop()
	l.Kill()
	l.Start()
	l.begin()
	l.is("s000", checks.Critical, "broken")
	l.compared()
	if got := l.sink.resent.Load(); got != 2 {
		t.Errorf("%d results handed over again, want 2", got)
	}
	agree(t, l.Nagios, l.w)
}

// Only what is missing is handed over again, and nothing overtakes.
func TestNothingNewerIsOvertakenByWhatIsHandedOverAgain(t *testing.T) {
	t.Parallel() // mostly it waits for status files
	l := newLapse(t, forgetful)
	for _, name := range []string{"s000", "s002", "s003"} {
		l.give(name, checks.Critical, "old "+name)
	}
	l.pass()
	l.Kill()

	waiting := l.spool.accept(service("s000"), checks.Warning, "waits")
	l.Start()
	l.is("s002", checks.Critical, "old s002")
	l.compared()
	if before, itself := l.times("old s000"), l.times("waits"); before != 1 || itself != 0 {
		t.Errorf("handed over %d times: the result before one that waits, which itself was %d times; want 1 and 0", before, itself)
	}
	l.spool.handOver(t, l.sink, waiting)
	l.is("s000", checks.Warning, "waits")

	// One may be accepted, and handed over, while the others are compared.
	lost, err := l.sink.lost([]holding{{service("s002"), 0}}, l.spool.handedOver())
	if err != nil || len(lost) != 1 {
		t.Fatalf("lost %v, %v; want one", lost, err)
	}
	l.give("s002", checks.OK, "just now")
	if err := l.sink.resend(t.Context(), lost); err != nil {
		t.Error(err)
	}
	l.is("s002", checks.OK, "just now")

	// What another has said since the retention file was written stays.
	l.Command("PROCESS_SERVICE_CHECK_RESULT;h0000;s003;1;newer")
	l.is("s003", checks.Warning, "newer")
	l.save()
	l.Kill()
	l.Start()
	l.compared()
	l.is("s003", checks.Warning, "newer")
	l.is("s002", checks.OK, "just now")
	if got := l.times("just now"); got != 1 {
		t.Errorf("what was accepted meanwhile was handed over %d times, want once", got)
	}
	agree(t, l.Nagios, l.w)
}

func TestObjectsThatTakeNoResultsAreLeftAlone(t *testing.T) {
	t.Parallel() // mostly it waits for status files
	objects := objectFile(t, serviceWith("closed")+serviceWith("gone"))
	l := newLapse(t, realtest.NagiosOptions{Hosts: 1, Services: 1, Includes: []string{objects}, Config: forgetful.Config})
	for _, name := range []string{"closed", "gone", "s000"} {
		l.give(name, checks.Critical, name)
	}
	l.pass()
	l.Kill()
	if err := os.WriteFile(objects, []byte(serviceWith("closed", "passive_checks_enabled 0")), 0o644); err != nil {
		t.Fatal(err)
	}
	l.Start()
	l.is("s000", checks.Critical, "s000")
	l.compared()
	for name, want := range map[string]int{"closed": 1, "gone": 1, "s000": 2} {
		if got := l.times(name); got != want {
			t.Errorf("%s was handed over %d times, want %d", name, got, want)
		}
	}
}

func TestFourThousandForgottenResultsComeAtOnce(t *testing.T) {
	l := newLapse(t, realtest.NagiosOptions{Hosts: 40, Services: 100})
	var all []checks.Result
	for h := range 40 {
		for i := range 100 {
			o := checks.Object{Host: fmt.Sprintf("h%04d", h), Service: fmt.Sprintf("s%03d", i)}
			all = append(all, l.spool.accept(o, checks.Critical, "broken"))
		}
	}
	l.spool.handOver(t, l.sink, all...)
	l.pass()
	l.Kill()
	l.Start()
	realtest.Eventually(t, time.Minute, "the first to be handed over again", func() bool { return l.sink.resent.Load() > 0 })
	began := time.Now()
	r := l.spool.accept(service("s000"), checks.OK, "new")
	l.spool.handOver(t, l.sink, r)
	took := time.Since(began)
	if took > restorePatience {
		t.Errorf("another result waited for %v", took)
	}
	realtest.Eventually(t, time.Minute, "all to be handed over again", func() bool { return l.sink.resent.Load() >= 3999 })
	l.is("s000", checks.OK, "new")
	agree(t, l.Nagios, l.w)
	t.Logf("%d handed over again, another result took %v", l.sink.resent.Load(), took)
}

// A status file has what was handed over before the second in which it was
// begun. The first one of a process is compared at once, and those after it up
// to one that was begun after the process was seen.
func TestAProcessIsComparedUntilAFileHasAllThatWasHandedOverToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handedOver uint64
		var failure error
		var compared []uint64
		r := &resync{
			log: logTo(t), committed: func() uint64 { return handedOver },
			restore: func(_ context.Context, _ []holding, upTo uint64) error {
				compared = append(compared, upTo)
				return failure
			},
		}
		p := newPicture(format{}, newWitness())
		began := time.Now()
		file := func(ago time.Duration, isFirst bool) {
			p.program.created = time.Now().Add(-ago).Unix()
			r.compare(t.Context(), p, isFirst)
			r.await(t.Context())
		}
		at := func(after time.Duration, seq uint64) {
			time.Sleep(time.Until(began.Add(after)))
			handedOver = seq
			r.note(time.Now())
		}
		want := func(seqs ...uint64) {
			t.Helper()
			if !slices.Equal(compared, seqs) {
				t.Errorf("compared up to %v, want %v", compared, seqs)
			}
			compared = nil
		}
		at(500*time.Millisecond, 10) // from before the start
		file(0, true)
		want()
		at(1500*time.Millisecond, 20)
		file(0, false)
		want(10)
		at(9*time.Second, 30)
		file(0, false)
		want()
		at(20300*time.Millisecond, 40) // another process
		file(0, true)
		want(30)
		at(20900*time.Millisecond, 45) // within the second of the hand-over
		file(0, false)
		want()
		failure = errors.New("disk")
		at(22*time.Second, 50)
		file(0, false)
		want(40)
		failure = nil
		at(23*time.Second, 50)
		file(0, false)
		want(50)
		file(0, false)
		want()
	})
}

// What is left behind would come after a newer result.
func TestWhatIsNotHandedOverAgainInTimeIsTakenBack(t *testing.T) {
	core := newFakeCore(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	core.process = func(path string) bool { // what comes again is not taken in time
		isAgain := strings.HasPrefix(filepath.Base(path), string(again))
		if isAgain {
			cancel()
		}
		return !isAgain
	}
	core.start()
	spool := newSpooled()
	s := core.newSink(nil)
	s.history = spool.history()
	old := spool.accept(service("s000"), checks.Critical, "old")
	if err := s.resend(ctx, []loss{{old.Object, old.Seq}}); err == nil {
		t.Error("handed over to a core that takes nothing")
	}
	if files := core.files(); len(files) > 0 {
		t.Errorf("left in the folder: %v", files)
	}
	spool.handOver(t, s, spool.accept(service("s000"), checks.OK, "new"))
	if lines := core.processed(); len(lines) != 1 || !strings.HasSuffix(lines[0], ";new") {
		t.Errorf("processed %q, want the new one only", lines)
	}
}
