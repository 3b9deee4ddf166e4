package nagios

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
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
	realtest.Eventually(l.t, 20*time.Second, "the core to be followed", l.sink.Follows)
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
	realtest.Eventually(l.t, 20*time.Second, "the retention file", func() bool { return modified(l.retention()) != before })
}

func (l *lapse) retention() string { return l.Dir + "/retention.dat" }

func modified(path string) time.Time {
	fi, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// pass waits until a second has ended, so that what was handed over in it is
// before a status file of the next one, and until the feed has seen that.
func (l *lapse) pass() {
	l.t.Helper()
	second := time.Now().Unix()
	l.WaitStatus("write its status", func(map[checks.Object]realtest.NagiosStatus) bool {
		return modified(l.StatusFile).Unix() > second+1
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

var forgetful = realtest.NagiosOptions{Hosts: 1, Services: 6, Config: []string{"log_external_commands=1"}}

func TestWhatAKilledNagiosForgotIsHandedOverAgain(t *testing.T) {
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
	l.pass()
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
	if got := l.sink.Resent(); got != 2 || strings.Count(l.log.String(), "handed over again") != 1 {
		t.Errorf("%d results handed over again, want 2 and one line in the log", got)
	}
	agree(t, l.Nagios, l.w)
	if got, want := l.w.verdicts(service("s000")), []string{"PENDING;HARD;0", "OK;HARD;1", "CRITICAL;HARD;1"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v: what the core forgot is no news", got, want)
	}

	// The process that comes after a stop has forgotten nothing.
	l.Stop()
	l.Start()
	l.compared()
	l.Reload()
	l.compared()
	if got := l.sink.Resent(); got != 2 {
		t.Errorf("%d results handed over again after a stop and a reload, want none but those 2", got)
	}
}

func TestWhatNagiosForgotWhileTheGatewayWasAwayIsHandedOverAgain(t *testing.T) {
	l := newLapse(t, forgetful)
	l.give("s000", checks.OK, "fine")
	l.save()
	l.pass()
	l.give("s000", checks.Critical, "broken")
	l.give("s001", checks.Critical, "kept")
	l.stop()
	l.begin() // the core knows everything, whatever its last status file says
	l.compared()
	if got := l.sink.Resent(); got != 0 {
		t.Errorf("%d results handed over again to a core that has them", got)
	}
	l.stop()
	l.Kill()
	l.Start()
	l.begin()
	l.is("s000", checks.Critical, "broken")
	l.compared()
	if got := l.sink.Resent(); got != 2 {
		t.Errorf("%d results handed over again, want 2", got)
	}
	agree(t, l.Nagios, l.w)
}

// Only what is missing is handed over again, and nothing overtakes.
func TestNothingNewerIsOvertakenByWhatIsHandedOverAgain(t *testing.T) {
	l := newLapse(t, forgetful)
	for _, name := range []string{"s000", "s001", "s002", "s003"} {
		l.give(name, checks.Critical, "old "+name)
	}
	l.pass()
	l.Kill()

	// Accepted while the core is away, and not yet handed over.
	waiting := l.spool.accept(service("s000"), checks.Warning, "waits")
	// Not handed over by the gateway at all.
	l.Start()
	l.Command("PROCESS_SERVICE_CHECK_RESULT;h0000;s001;1;another's")
	l.is("s002", checks.Critical, "old s002")
	l.compared()
	if got := l.times("old s000"); got != 1 {
		t.Errorf("the result before one that waits was handed over %d times, want once", got)
	}
	l.spool.handOver(t, l.sink, waiting)
	l.is("s000", checks.Warning, "waits")

	// What another has said since the retention file was written stays.
	l.Command("PROCESS_SERVICE_CHECK_RESULT;h0000;s003;1;newer")
	l.is("s003", checks.Warning, "newer")
	l.save()
	l.Kill()
	l.Start()
	l.compared()
	l.is("s003", checks.Warning, "newer")
	l.is("s002", checks.Critical, "old s002")
	agree(t, l.Nagios, l.w)
}

func TestObjectsThatTakeNoResultsAreLeftAlone(t *testing.T) {
	l := newLapse(t, forgetful)
	l.give("s000", checks.Critical, "closed")
	l.give("s001", checks.Critical, "gone")
	l.give("s002", checks.Critical, "open")
	l.pass()
	l.Kill()
	l.SetObjects(realtest.NagiosOptions{
		Objects:  []checks.Object{service("s002")},
		Includes: nil,
	})
	l.Start()
	l.is("s002", checks.Critical, "open")
	l.compared()
	if l.times("gone") != 1 || l.times("open") != 2 || l.sink.Resent() != 1 {
		t.Errorf("gone was handed over %d times, open %d times; want 1 and 2", l.times("gone"), l.times("open"))
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
	realtest.Eventually(t, 20*time.Second, "the first to be handed over again", func() bool { return l.sink.Resent() > 0 })
	began := time.Now()
	r := l.spool.accept(service("s000"), checks.OK, "new")
	l.spool.handOver(t, l.sink, r)
	if took := time.Since(began); took > time.Second {
		t.Errorf("another result waited for %v", took)
	}
	realtest.Eventually(t, 20*time.Second, "all to be handed over again", func() bool { return l.sink.Resent() >= 3999 })
	l.is("s000", checks.OK, "new")
	agree(t, l.Nagios, l.w)
	t.Logf("%d handed over again, another result took %v", l.sink.Resent(), time.Since(began))
}
