package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/broker"
	"checkbus/checks"
	"checkbus/internal/realtest"
	"checkbus/internal/spool"
)

// A bench is a bus over a real spool, whose publishes are kept.
type bench struct {
	*Bus
	dir    string
	cancel func() // ends Run
	stop   func()

	mu        sync.Mutex
	published map[string][]string
}

func start(t *testing.T, dir string, cores ...Core) *bench {
	t.Helper()
	var names []string
	for _, c := range cores {
		names = append(names, c.Name)
	}
	log := slog.New(slog.DiscardHandler)
	queue, err := spool.Open(dir+"/spool", spool.Options{MaxBytes: 1 << 20, Cursors: names, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	refusals, err := OpenRefusals(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, published: map[string][]string{}}
	b.Bus, err = New(Options{
		Decoder: checks.Decoder{Root: "nagios"}, Queue: queue, Cores: cores, Refusals: refusals, Publish: b.keep,
		SysInterval: time.Millisecond, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	b.cancel = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	b.stop = sync.OnceFunc(func() {
		b.cancel()
		if err := errors.Join(queue.Close(), refusals.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func (b *bench) keep(topic string, payload []byte, _ bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published[topic] = append(b.published[topic], string(payload))
	return nil
}

// wait returns what was published on topic, once that is n messages.
func (b *bench) wait(t *testing.T, topic string, n int) []string {
	t.Helper()
	realtest.Eventually(t, time.Minute, fmt.Sprintf("%d messages on %s", n, topic), func() bool { return len(b.on(topic)) >= n })
	return b.on(topic)
}

func (b *bench) on(topic string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.published[topic])
}

// offer publishes m and returns the answer to the publisher.
func (b *bench) offer(m broker.Message) error {
	answer := make(chan error, 1)
	b.Accept(m, func(err error) { answer <- err })
	return <-answer
}

func message(topic, payload string) broker.Message {
	return broker.Message{Topic: topic, Payload: []byte(payload), Client: "host1", QoS: 1, PacketID: 1}
}

// A core keeps what it is handed; verdict may refuse.
type core struct {
	mu      sync.Mutex
	taken   []checks.Result
	knows   func(checks.Object) bool
	verdict func(checks.Result) error
	down    atomic.Bool
	wake    chan struct{}
}

func newCore() *core { return &core{wake: make(chan struct{}, 1000)} }

func (c *core) Submit(_ context.Context, batch []checks.Result) []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	verdicts := make([]error, len(batch))
	failed := map[checks.Object]bool{}
	for i, r := range batch {
		switch {
		case failed[r.Object]:
			verdicts[i] = errors.New("behind one that failed")
		case c.verdict != nil:
			verdicts[i] = c.verdict(r)
		}
		if verdicts[i] == nil {
			c.taken = append(c.taken, r)
		} else if !errors.Is(verdicts[i], checks.ErrRejected) {
			failed[r.Object] = true
		}
	}
	c.wake <- struct{}{}
	return verdicts
}

func (c *core) Knows(o checks.Object) bool { return c.knows == nil || c.knows(o) }

func (c *core) Up() bool { return !c.down.Load() }

func (c *core) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// wait returns what the core has taken, once that is n results.
func (c *core) wait(t *testing.T, n int) []checks.Result {
	t.Helper()
	late := time.After(time.Minute)
	for {
		c.mu.Lock()
		taken := slices.Clone(c.taken)
		c.mu.Unlock()
		if len(taken) >= n {
			return taken
		}
		select {
		case <-c.wake:
		case <-late:
			t.Fatalf("the core has %d results, want %d", len(taken), n)
		}
	}
}

func TestAnswersToThePublisher(t *testing.T) {
	tests := map[string]struct {
		topic, payload string
		want           error
		refused        []string
	}{
		"one good result": {"nagios/web1/disk", `{"exit_code":0,"reason":"ok"}`, nil, nil},
		"one bad result":  {"nagios/web1/disk", `{"reason":"ok"}`, checks.ErrInvalid, []string{"exit_code"}},
		"a good batch":    {"nagios/web1", `[{"exit_code":0,"reason":""},{"exit_code":1,"reason":"","service":"disk"}]`, nil, nil},
		"a bad item leaves its neighbours": {"nagios/web1", `[{"exit_code":0,"reason":""},{"exit_code":"x","reason":""},{"exit_code":1,"reason":"","service":"disk"}]`,
			checks.ErrPartial, []string{"item 2"}},
		"nothing good in a batch": {"nagios/web1", `[{},{}]`, checks.ErrInvalid, []string{"item 1", "item 2"}},
		"an unknown service":      {"nagios/web1/nosuch", `{"exit_code":0,"reason":"ok"}`, checks.ErrUnknownObject, []string{`no core has a service "nosuch" on host "web1"`}},
		"an older one":            {"nagios/web1/old", `[{"exit_code":0,"reason":"","time":2000},{"exit_code":0,"reason":"","time":1000}]`, checks.ErrPartial, []string{"stale"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCore()
			c.knows = func(o checks.Object) bool { return o.Service != "nosuch" }
			b := start(t, t.TempDir(), Core{Name: "core", Sink: c})
			if err := b.offer(message(tt.topic, tt.payload)); !errors.Is(err, tt.want) {
				t.Errorf("answer %v, want %v", err, tt.want)
			}
			refused := b.on("checkbus/rejected/host1")
			if len(refused) != len(tt.refused) {
				t.Fatalf("refused %q, want %d", refused, len(tt.refused))
			}
			for i, want := range tt.refused {
				var r Refusal
				if err := json.Unmarshal([]byte(refused[i]), &r); err != nil || !strings.Contains(r.Reason, want) || r.Topic != tt.topic || r.Payload == "" {
					t.Errorf("refusal %s, want %s", refused[i], want)
				}
			}
		})
	}
}

func TestAMessageOfManyBadItemsIsToldInPart(t *testing.T) {
	b := start(t, t.TempDir())
	if err := b.offer(message("nagios/web1", strings.Repeat("{}\n", 5000))); !errors.Is(err, checks.ErrInvalid) {
		t.Fatal(err)
	}
	told := b.on("checkbus/rejected/host1")
	if len(told) != maxTold+1 || !strings.Contains(told[maxTold], "4900 more items") {
		t.Errorf("%d refusals told, the last %s", len(told), told[len(told)-1])
	}
	if n := b.Counters().Refused(Invalid); n != 5000 {
		t.Errorf("%d counted", n)
	}
}

func TestClearingARetainedMessageIsNoResult(t *testing.T) {
	b := start(t, t.TempDir())
	m := message("nagios/web1/disk", "")
	if err := b.offer(m); !errors.Is(err, checks.ErrInvalid) {
		t.Errorf("an empty payload is answered %v", err)
	}
	m.Retain = true
	if err := b.offer(m); err != nil || b.Counters().Received.Load() != 1 {
		t.Errorf("an empty retained message is answered %v", err)
	}
}

func TestOneCoreThatKnowsTheObjectIsEnough(t *testing.T) {
	a, z := newCore(), newCore()
	a.knows = func(checks.Object) bool { return false }
	b := start(t, t.TempDir(), Core{Name: "a", Sink: a}, Core{Name: "z", Sink: z})
	if err := b.offer(message("nagios/web1", `{"exit_code":0,"reason":""}`)); err != nil {
		t.Error(err)
	}
	z.wait(t, 1)
}

func TestWhatTheCoreWasNotYetHandedIsHandedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	down := newCore()
	down.verdict = func(checks.Result) error { return errors.New("unreachable") }
	b := start(t, dir, Core{Name: "core", Sink: down})
	for i := range 10 {
		m := message("nagios/web1/disk", fmt.Sprintf(`{"exit_code":0,"reason":"%d"}`, i))
		m.PacketID = uint16(i + 1)
		if err := b.offer(m); err != nil {
			t.Fatal(err)
		}
	}
	b.stop()

	up := newCore()
	start(t, dir, Core{Name: "core", Sink: up})
	for i, r := range up.wait(t, 10) {
		if r.Reason != fmt.Sprint(i) {
			t.Errorf("result %d is %q", i, r.Reason)
		}
	}
}

func TestAnObjectsOrderSurvivesFailures(t *testing.T) {
	c := newCore()
	fails := 0
	c.verdict = func(r checks.Result) error {
		if fails++; fails%3 != 0 {
			return errors.New("unreachable")
		}
		return nil
	}
	b := start(t, t.TempDir(), Core{Name: "core", Sink: c})
	var batch []string
	for i := range 30 {
		batch = append(batch, fmt.Sprintf(`{"exit_code":0,"reason":"%d","service":"s%d"}`, i, i%3))
	}
	if err := b.offer(message("nagios/web1", strings.Join(batch, "\n"))); err != nil {
		t.Fatal(err)
	}
	last := map[string]int{"s0": -1, "s1": -1, "s2": -1}
	for _, r := range c.wait(t, 30) {
		var n int
		_, _ = fmt.Sscan(r.Reason, &n)
		if n <= last[r.Service] {
			t.Errorf("%s: %d after %d", r.Service, n, last[r.Service])
		}
		last[r.Service] = n
	}
}

func TestWhatTheCoreRejectsIsToldOnTheTopic(t *testing.T) {
	c := newCore()
	c.verdict = func(r checks.Result) error {
		if r.Service == "bad" {
			return fmt.Errorf("%w: passive checks are off", checks.ErrRejected)
		}
		return nil
	}
	b := start(t, t.TempDir(), Core{Name: "core", Sink: c})
	if err := b.offer(message("nagios/web1", `[{"exit_code":2,"reason":"x","service":"bad"},{"exit_code":0,"reason":"y","service":"good"}]`)); err != nil {
		t.Fatal(err)
	}
	c.wait(t, 1)
	b.stop()
	refused := b.on("checkbus/rejected/host1")
	if len(refused) != 1 {
		t.Fatalf("refused %q", refused)
	}
	var r Refusal
	if err := json.Unmarshal([]byte(refused[0]), &r); err != nil || r.Core != "core" || r.Topic != "nagios/web1/bad" || !strings.Contains(r.Reason, "passive checks are off") {
		t.Errorf("refusal %s", refused[0])
	}
	if got := b.Counters().Cores[0].Rejected.Load(); got != 1 {
		t.Errorf("rejected = %d", got)
	}
}

func TestRedeliveriesAfterARestartAreNoSecondResults(t *testing.T) {
	dir := t.TempDir()
	c := newCore()
	b := start(t, dir, Core{Name: "core", Sink: c})
	var sent []broker.Message
	for i := range 3 {
		m := message("nagios/web1/disk", fmt.Sprintf(`{"exit_code":2,"reason":"%d"}`, i))
		m.PacketID = uint16(i + 1)
		if err := b.offer(m); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m)
	}
	c.wait(t, 3)
	b.stop()

	b = start(t, dir, Core{Name: "core", Sink: c})
	for _, m := range sent {
		m.Dup = true
		if err := b.offer(m); err != nil {
			t.Errorf("a redelivery is answered %v", err)
		}
	}
	another := sent[2] // not marked as a redelivery
	if err := b.offer(another); err != nil {
		t.Fatal(err)
	}
	if taken := c.wait(t, 4); len(taken) != 4 || b.Counters().Duplicate.Load() != 3 {
		t.Errorf("%d results, %d duplicates", len(taken), b.Counters().Duplicate.Load())
	}
}

func TestWithoutACoreStatesAreBackAfterARestart(t *testing.T) {
	dir := t.TempDir()
	b := start(t, dir)
	if err := b.offer(message("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)); err != nil {
		t.Fatal(err)
	}
	b.wait(t, "checkbus/event/web1/disk", 1)
	b.stop()
	b = start(t, dir)
	if states := b.on("checkbus/state/web1/disk"); len(states) != 1 || !strings.Contains(states[0], `"CRITICAL"`) {
		t.Errorf("states %q", states)
	}
	if events := b.on("checkbus/event/web1/disk"); len(events) != 0 {
		t.Errorf("events %q", events)
	}
}

func TestAFullSpoolRefusesAndTakesTheSameMessageLater(t *testing.T) {
	c := newCore()
	var mu sync.Mutex
	down := true
	c.verdict = func(checks.Result) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			return errors.New("unreachable")
		}
		return nil
	}
	b := start(t, t.TempDir(), Core{Name: "core", Sink: c})
	long := strings.Repeat("x", 10_000)
	var err error
	var m broker.Message
	sent := 0
	for ; err == nil && sent < 200; sent++ {
		m = message("nagios/web1/disk", fmt.Sprintf(`{"exit_code":0,"reason":"%d %s"}`, sent, long))
		m.PacketID = uint16(sent + 1)
		err = b.offer(m)
	}
	if !errors.Is(err, checks.ErrFull) {
		t.Fatalf("after %d messages: %v", sent, err)
	}
	mu.Lock()
	down = false
	mu.Unlock()
	c.wait(t, sent-1)
	m.Dup = true
	for late := time.Now().Add(time.Minute); ; { // the last commit makes room
		if err = b.offer(m); err == nil || time.Now().After(late) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if taken := c.wait(t, sent); len(taken) != sent {
		t.Errorf("%d results, want %d", len(taken), sent)
	}
}

// TestWhatComesAgainByItselfIsNotRefusedByAFullSpool has messages that their
// broker holds, and one that has no room in any spool.
func TestWhatComesAgainByItselfIsNotRefusedByAFullSpool(t *testing.T) {
	c := newCore()
	c.verdict = func(checks.Result) error { return errors.New("unreachable") }
	b := start(t, t.TempDir(), Core{Name: "core", Sink: c})
	held := func(payload string) error {
		m := message("nagios/web1/"+strings.Repeat("x", 500), payload)
		m.Held = true
		return b.offer(m)
	}
	item := `{"exit_code":0,"reason":"` + strings.Repeat("x", 10_000) + `"}`
	var err error
	for sent := 0; err == nil && sent < 200; sent++ {
		err = held(item)
	}
	if !errors.Is(err, checks.ErrFull) {
		t.Fatal(err)
	}
	if told := b.on("checkbus/rejected/host1"); len(told) > 0 || b.Counters().Refused(Full) > 0 {
		t.Errorf("told %.200q", told)
	}
	if err := held(strings.Repeat(`{"exit_code":0,"reason":""}`+"\n", 5000)); !errors.Is(err, checks.ErrInvalid) {
		t.Errorf("what no spool can hold: %v", err)
	}
	if told := b.on("checkbus/rejected/host1"); len(told) != 1 || !strings.Contains(told[0], "at once") {
		t.Errorf("told %.200q", told)
	}
}

func TestWithoutACoreTheGatewayJudges(t *testing.T) {
	b := start(t, t.TempDir())
	for i, code := range []int{0, 2, 2, 0} {
		if err := b.offer(message("nagios/web1/disk", fmt.Sprintf(`{"exit_code":%d,"reason":"now %d"}`, code, i))); err != nil {
			t.Fatal(err)
		}
	}
	b.wait(t, "checkbus/state/web1/disk", 4)
	events := b.wait(t, "checkbus/event/web1/disk", 2)
	var e struct {
		State, Previous, Origin, Change string
		StateType                       string `json:"state_type"`
		Seq                             int
	}
	if err := json.Unmarshal([]byte(events[1]), &e); err != nil || e.State != "OK" || e.Previous != "CRITICAL" || e.Origin != "gateway" || e.Change != "state" || e.StateType != "hard" || e.Seq != 2 {
		t.Errorf("event %s", events[1])
	}
}
