package broker

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// stopTimeout is how long Run waits, at its end, for verdicts on results that
// were given to accept.
const stopTimeout = 5 * time.Second

// A Message is a publish by a client on the results root or below, or its will.
type Message struct {
	Topic    string
	Payload  []byte // not to be changed
	Client   string // the MQTT client identifier
	User     string // who the client authenticated as; empty for an anonymous one
	QoS      byte
	PacketID uint16 // 0 for QoS 0 and for a will
	Dup      bool   // the client may have sent it before
	Retain   bool
	Will     bool
	Held     bool // given to accept again, and refused to nobody, when it cannot be stored
}

// A Broker is an MQTT server. Call Handle, Listen and Run once each, in this
// order; Publish and Stats may be called at any time.
type Broker struct {
	cfg      Config
	log      *slog.Logger
	server   *mqtt.Server
	root     string
	bridges  []*bridge
	identity string // in the paths of messages, see pathProperty
	accept   func(Message, func(error))
	denied   func(Message)

	access    atomic.Pointer[access]
	attempts  *Attempts
	hashers   chan struct{} // has an element for each password that is being checked
	reloading sync.Mutex    // held by Reload

	listeners  []*listener
	clients    sync.WaitGroup // goroutines of connections
	finisher   *finisher
	running    atomic.Bool   // Run takes connections
	stopping   chan struct{} // closed when Run is about to end, b.mu held
	count      counters
	sequence   atomic.Int64 // of messages delivered
	retaining  sync.Mutex   // held by retain and retainedTopics
	retained   retainedSizes
	outboxes   atomic.Int64 // bytes of memory in all of them
	kept       atomic.Int64 // bytes, see keep
	leveling   sync.Mutex   // held by level
	store      *store       // nil where nothing is kept on disk; from Listen on
	sweeper    sweeper
	stored     atomic.Int64            // sessions that are
	storing    sync.Mutex              // held by storePublication
	keeping    map[string]*publication // by topic: the newest with the retain flag that goes to disk; under storing
	storingOwn atomic.Int32            // the gateway's own publishes that go to disk before they go on
	routes     routes
	crowd      crowd
	ackTime    ackTime
	outside    *outside // nil: there is none

	addresses addresses
	seldom    lines

	mu       sync.Mutex
	sessions map[string]*session // by client identifier
	mostSeen int                 // the most that sessions ever had
	conns    map[*conn]struct{}  // open now

	strangers list.List // of *conn, those that are not let in yet, in the order in which they came
}

// New builds a broker from settings. It logs to log, little that a stranger can
// cause. The error is about cfg.
func New(cfg Config, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg:      cfg,
		log:      log,
		attempts: NewAttempts(loginAttempts),
		hashers:  make(chan struct{}, hashers(runtime.GOMAXPROCS(0))),
		finisher: newFinisher(),
		retained: retainedSizes{seed: maphash.MakeSeed(), byTopic: map[uint64]retainedSize{}},
		stopping: make(chan struct{}),
		sessions: map[string]*session{},
		keeping:  map[string]*publication{},
		conns:    map[*conn]struct{}{},
	}
	if b.identity = cfg.Identity; b.identity == "" {
		b.identity = newIdentity()
	}
	b.cfg.Queues = map[string]Queue{}
	maps.Copy(b.cfg.Queues, cfg.Queues)
	for _, settings := range cfg.Bridges {
		br := newBridge(b, settings)
		b.bridges = append(b.bridges, br)
		b.cfg.Queues[br.session()] = Queue{bridgeQueue * cfg.Queue.Messages, bridgeQueue * cfg.Queue.Bytes}
	}
	b.server = mqtt.New(&mqtt.Options{
		Capabilities:           capabilities(),
		Logger:                 slog.New(libraryLog{log.Handler()}),
		SysTopicResendInterval: math.MaxInt32, // s: never, see silenceSys
	})
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if cfg.Subscribe != nil {
		var err error
		if b.outside, err = newOutside(*cfg.Subscribe, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func capabilities() *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumMessageExpiryInterval = 0 // the default makes retained messages vanish after a day
	c.ReceiveMaximum = receiveMaximum
	c.TopicAliasMaximum = topicAliases
	c.MaximumClientWritesPending = 0 // send does without the queue, which takes 64 KiB a client
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

// Handle gives every message on root and below to accept, before it is
// acknowledged. accept must not block. It must call done once, from any
// goroutine, and in the order of the accept calls per client: with nil, the
// message is acknowledged and delivered to subscribers; with an error that
// wraps checks.ErrPartial, too, and the publisher is told the error; with any
// other, it is refused, or, for an error that wraps none of those in checks,
// was not stored.
func (b *Broker) Handle(root string, accept func(m Message, done func(error))) {
	b.root, b.accept = root, accept
}

// HandleDenied gives denied those messages on the results root and below that
// access control refuses. accept does not see them. denied must not block.
func (b *Broker) HandleDenied(denied func(Message)) { b.denied = denied }

// Run serves clients until ctx ends. Then it takes no more connections and
// messages, waits up to 5 s for verdicts on those it took, tells MQTT 5 clients
// that it shuts down (0x8B), and closes all connections. Wills are not
// published then: it is not the clients that are lost.
func (b *Broker) Run(ctx context.Context) error {
	if len(b.listeners) == 0 {
		return errors.New("broker: Run before Listen")
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	b.silenceSys()

	var finishing, accepting, bridging sync.WaitGroup
	finishing.Go(b.finish)
	finishing.Go(b.keepTime)
	finishing.Go(func() { b.watchCertificates(ctx) })
	finishing.Go(b.publishSys)
	b.prepareBridges(ctx)
	var subscribing sync.WaitGroup
	if b.outside != nil {
		subscribing.Go(func() { b.outside.run(ctx) })
	}
	for _, ln := range b.listeners {
		accepting.Go(func() { b.acceptFrom(ln) })
		b.log.Info("listening", "address", ln.Addr().String(), "transport", ln.settings.transport())
	}
	b.running.Store(true)

	for _, br := range b.bridges {
		bridging.Go(func() { br.run(ctx) })
	}

	<-ctx.Done()
	bridging.Wait()
	b.mu.Lock()
	close(b.stopping)
	b.mu.Unlock()
	b.closeListeners()
	accepting.Wait()
	subscribing.Wait()
	b.drain()
	b.closeConns()
	b.clients.Wait()
	var err error
	if b.store != nil {
		err = b.store.close()
	}
	b.finisher.stop()
	finishing.Wait()
	b.flushLines(true)
	return errors.Join(err, b.server.Close())
}

// ending reports whether Run is about to end.
func (b *Broker) ending() bool {
	select {
	case <-b.stopping:
		return true
	default:
		return false
	}
}

// silenceSys removes the $SYS topics that the library publishes once when it
// starts: their names are not Mosquitto's.
func (b *Broker) silenceSys() {
	for topic := range b.server.Topics.Retained.GetAll() {
		if strings.HasPrefix(topic, sysRoot) {
			b.server.Topics.RetainMessage(packets.Packet{TopicName: topic})
		}
	}
}

// keepTime ends sessions, sends delayed wills, and logs, when they are due.
func (b *Broker) keepTime() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			b.expire(now)
			b.flushLines(false)
		case <-b.stopping:
			return
		}
	}
}

// drain waits for the verdicts on messages given to accept.
func (b *Broker) drain() {
	timeout := time.After(stopTimeout)
	for b.finisher.pending.Load() > 0 {
		select {
		case <-b.finisher.idle:
		case <-timeout:
			b.log.Warn("stopping without all verdicts", "pending", b.finisher.pending.Load())
			return
		}
	}
}

// closeConns ends all connections; each tells its client that the broker shuts
// down.
func (b *Broker) closeConns() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.Close()
	}
}
