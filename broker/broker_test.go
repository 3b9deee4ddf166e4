package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// A bus stands in for what lies behind accept: it keeps the messages, and gives
// its verdict at once, or when a test releases it.
type bus struct {
	mu       sync.Mutex
	changed  sync.Cond
	hold     bool
	messages []Message
	denied   []Message
	waiting  []func()
}

func newBus() *bus {
	s := &bus{}
	s.changed.L = &s.mu
	return s
}

func (s *bus) accept(m Message, done func(error)) {
	s.mu.Lock()
	s.messages = append(s.messages, m)
	finish := func() { done(verdictOn(string(m.Payload))) }
	if s.hold {
		s.waiting = append(s.waiting, finish)
		finish = nil
	}
	s.mu.Unlock()
	s.changed.Broadcast()
	if finish != nil {
		finish()
	}
}

// verdictOn reads the wanted verdict from a payload.
func verdictOn(payload string) error {
	switch payload {
	case "invalid":
		return fmt.Errorf("%w: exit_code is missing", checks.ErrInvalid)
	case "unknown":
		return fmt.Errorf("%w web1", checks.ErrUnknownObject)
	case "denied":
		return checks.ErrDenied
	case "stale":
		return checks.ErrStale
	case "full":
		return checks.ErrFull
	case "partial":
		return fmt.Errorf("%w: item 2: exit_code is missing", checks.ErrPartial)
	case "disk":
		return fmt.Errorf("write: input/output error")
	case "long":
		return fmt.Errorf("%w: %s", checks.ErrInvalid, strings.Repeat("ä\n", 5000))
	}
	return nil
}

func (s *bus) deny(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = append(s.denied, m)
	s.changed.Broadcast()
}

// pause keeps verdicts back; release gives those kept and all later ones.
func (s *bus) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = true
}

func (s *bus) release() {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting, s.hold = nil, false
	s.mu.Unlock()
	for _, finish := range waiting {
		finish()
	}
}

// got waits until n messages were accepted and returns them all.
func (s *bus) got(t testing.TB, n int) []Message {
	t.Helper()
	return s.wait(t, "accepted", n, func() []Message { return s.messages })
}

// refused waits until n messages were denied and returns them all.
func (s *bus) refused(t testing.TB, n int) []Message {
	t.Helper()
	return s.wait(t, "denied", n, func() []Message { return s.denied })
}

func (s *bus) wait(t testing.TB, what string, n int, list func() []Message) []Message {
	t.Helper()
	late := false
	timer := time.AfterFunc(mqtttest.Patience, func() {
		s.mu.Lock()
		late = true
		s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(list()) < n && !late {
		s.changed.Wait()
	}
	if len(list()) != n {
		t.Fatalf("%d messages were %s, want %d", len(list()), what, n)
	}
	return list()
}

// A gateway is a broker under test.
type gateway struct {
	*Broker
	*bus
	t    testing.TB
	addr string
	log  *locked
	stop func()
}

// start runs a broker on a free port, with results below nagios. adapt may
// change its settings.
func start(t testing.TB, adapt ...func(*Config)) *gateway {
	t.Helper()
	cfg := Default()
	cfg.Listeners[0].Address = "127.0.0.1:0"
	cfg.SysInterval, cfg.Dir = 0, t.TempDir()
	for _, f := range adapt {
		f(&cfg)
	}
	g := &gateway{bus: newBus(), t: t, log: &locked{}}
	b, err := New(cfg, slog.New(slog.NewTextHandler(g.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	g.Broker = b
	b.Handle("nagios", g.accept)
	b.HandleDenied(g.deny)
	if err := b.Listen(); err != nil {
		t.Fatal(err)
	}
	g.addr = b.Addr().String()
	if strings.HasPrefix(cfg.Listeners[0].Address, "unix:") {
		g.addr = cfg.Listeners[0].Address
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	eventually(t, "the library's own $SYS topics are gone", b.running.Load)
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		g.release()
		g.stop()
	})
	return g
}

// inMemory keeps nothing on disk.
func inMemory(c *Config) { c.Dir = "" }

// accept of bus, not of Broker.
func (g *gateway) accept(m Message, done func(error)) { g.bus.accept(m, done) }

// dial connects a client that must be let in.
func (g *gateway) dial(o mqtttest.Options) *mqtttest.Client {
	g.t.Helper()
	return mqtttest.Dial(g.t, g.addr, o)
}

// subscriber connects a client that is subscribed to filter, and to end.
func (g *gateway) subscriber(filter string) *mqtttest.Client {
	g.t.Helper()
	id := "subscriber-" + strings.ReplaceAll(filter, "/", "-")
	c := g.dial(mqtttest.Options{ID: id})
	c.Subscribe(filter, 0)
	c.Subscribe("end", 0) // once that is answered, what was retained is being sent
	eventually(g.t, "what was retained is sent: later messages do not come twice", func() bool { return g.replayed(id) })
	return c
}

// nothingMore makes sure that sub was delivered nothing else.
func (g *gateway) nothingMore(sub *mqtttest.Client) {
	g.t.Helper()
	if err := g.Publish("end", nil, false); err != nil {
		g.t.Fatal(err)
	}
	if p := sub.Next(mqtttest.PUBLISH); p.Topic() != "end" {
		g.t.Fatalf("delivered: %v", p)
	}
}

// allAway waits until no client is connected, and the broker is done with all.
func (g *gateway) allAway() {
	g.t.Helper()
	eventually(g.t, "all clients are away", func() bool {
		g.Broker.mu.Lock()
		defer g.Broker.mu.Unlock()
		for _, s := range g.sessions {
			if s.refs > 0 {
				return false
			}
		}
		return true
	})
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	realtest.Eventually(t, mqtttest.Patience, what, ok)
}

// secondPasses waits until messages have expired whose interval is a second, the
// shortest there is.
func secondPasses(t testing.TB) {
	t.Helper()
	until := time.Now().Unix() + 1
	eventually(t, "a second passes", func() bool { return time.Now().Unix() >= until })
}

// locked is a buffer for several goroutines.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// versions are those that tests run with.
var versions = map[string]bool{"3.1.1": false, "5": true}

func TestTakenPortIsAnErrorThatNamesIt(t *testing.T) {
	g := start(t)
	cfg := Default()
	cfg.Listeners = []Listener{{Address: "127.0.0.1:0"}, {Address: g.addr}}
	second, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Listen(); err == nil || !strings.Contains(err.Error(), g.addr) {
		t.Errorf("Listen on a taken port: %v", err)
	}
}

func TestGatewaysOwnMessagesDoNotPassAccept(t *testing.T) {
	g := start(t)
	if err := g.Publish("nagios/web1", []byte("kept"), true); err != nil {
		t.Fatal(err)
	}
	sub := g.subscriber("nagios/#")
	if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "kept" || !p.Retain() {
		t.Errorf("got %v, retain %t", p, p.Retain())
	}
	if err := g.Publish("nagios/web1", nil, true); err != nil {
		t.Fatal(err)
	}
	sub.Next(mqtttest.PUBLISH)
	g.nothingMore(g.subscriber("nagios/+"))
	g.got(t, 0)
}

func TestPublishRefusesWhatIsNoTopic(t *testing.T) {
	g := start(t)
	for name, topic := range map[string]string{
		"empty":    "",
		"wildcard": "checkbus/state/#",
		"zero":     "a\x00b",
		"too deep": strings.Repeat("/", maxLevels+1),
		"too long": strings.Repeat("x", 65536),
	} {
		if g.Publish(topic, nil, false) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestNoSysTopicOfTheLibraryIsPublished(t *testing.T) {
	g := start(t)
	g.nothingMore(g.subscriber("$SYS/#"))
}

func TestUnixSocketIsServedAndTakenOverFromADeadProcess(t *testing.T) {
	path := t.TempDir() + "/mqtt"
	for range 2 {
		g := start(t, func(c *Config) { c.Listeners[0].Address = "unix:" + path })
		c := g.dial(mqtttest.Options{ID: "local"})
		c.Publish(mqtttest.Message{Topic: "nagios/web1", QoS: 1, ID: 1})
		c.Acked(mqtttest.PUBACK, 1)
		g.stop()
	}
}

// tell publishes as the gateway itself.
func (g *gateway) tell(topic, payload string) {
	g.t.Helper()
	if err := g.Publish(topic, []byte(payload), false); err != nil {
		g.t.Fatal(err)
	}
}

// tellRetained is tell with the retain flag.
func (g *gateway) tellRetained(topic, payload string) {
	g.t.Helper()
	if err := g.Publish(topic, []byte(payload), true); err != nil {
		g.t.Fatal(err)
	}
}
