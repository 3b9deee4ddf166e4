package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// bridgeSteady is how long a connection must last to end an outage, or
	// restart_max where that is shorter.
	bridgeSteady = 5 * time.Second
	// bridgeQueue is how many times as much may wait for a bridge as for another
	// client: it stands for a whole site.
	bridgeQueue = 10
	// mostReturns bounds the pause between looks at the first address, in times
	// of restart_max.
	mostReturns = 60
)

var errPreferred = errors.New("the first address is well again")

// A bridge keeps up the connection to another broker that its settings ask for.
type bridge struct {
	broker   *Broker
	settings Bridge // complete
	topics   bridgeMap
	redial   redial
	log      *slog.Logger

	replayed bool // this broker's retained messages were all sent once
	outage   bool // was logged
	begun    bool // was up once
	returns  int  // how often in a row the first address was not well after all
	// oldWindow is how much another broker seems to take at once in MQTT 3.1.1,
	// which cannot say so: see adapt.
	oldWindow uint16

	refused                 seldom // subscriptions, by the other broker
	up                      atomic.Bool
	failed                  atomic.Pointer[error] // why it is not up; nil until that is known
	sent, received, dropped atomic.Int64
}

func newBridge(b *Broker, settings Bridge) *bridge {
	settings = settings.withDefaults()
	topics, _ := parseMappings(settings.Topics)
	return &bridge{
		broker:   b,
		settings: settings,
		topics:   topics,
		redial:   redial{remote: settings.Remote, roundRobin: settings.RoundRobin, least: settings.RestartMin, most: settings.RestartMax},
		log:      b.log.With("bridge", settings.Name),

		oldWindow: bridgesReceiveMax,
	}
}

// prepareBridges has messages kept for all bridges from here on, and ends the
// sessions of bridges that are no more.
func (b *Broker) prepareBridges(ctx context.Context) {
	for _, br := range b.bridges {
		if err := br.prepare(ctx); err != nil && ctx.Err() == nil {
			br.log.Error("nothing is kept for the bridge before it is up", "err", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.sessions {
		if strings.HasPrefix(id, bridgePrefix) && !slices.ContainsFunc(b.bridges, func(br *bridge) bool { return br.session() == id }) {
			s.ends = time.Now() // see expire
		}
	}
}

// run keeps the bridge up until ctx ends.
func (br *bridge) run(ctx context.Context) {
	br.tellHere(false)
	for ctx.Err() == nil {
		nc, address, err := br.redial.dial(ctx)
		if err == nil {
			err = br.connect(ctx, nc, address)
			_ = nc.Close() // again, where it came that far
		}
		br.failed.Store(&err)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errPreferred):
			br.redial.restart()
			br.log.Info("bridge goes back to its first address", "address", br.settings.Address[0])
		case !br.outage:
			br.outage = true
			br.log.Warn("bridge down", "address", address, "err", err)
		}
	}
}

// connect makes nc, a connection to the other broker, a bridge for as long as
// it lasts.
func (br *bridge) connect(ctx context.Context, nc net.Conn, address string) error {
	abort := context.AfterFunc(ctx, func() { _ = nc.Close() })
	c := &crossing{bridge: br, failed: make(chan error, 4)}
	err := c.connectFar(nc)
	if err == nil {
		c.near, err = br.openNear(ctx, c.window)
	}
	if err != nil {
		abort()
		return err
	}
	if !abort() { // ctx has ended
		_ = c.near.nc.Close()
		return ctx.Err()
	}
	looking, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { c.failed <- c.outward() })
	running.Go(func() { c.failed <- c.inward() })
	running.Go(func() { c.failed <- c.ping(looking) })
	if address != br.settings.Address[0] && !br.settings.RoundRobin {
		running.Go(func() { c.failed <- br.lookForFirst(looking) })
	}
	began := time.Now()
	if err = c.subscribe(); err == nil {
		err = br.stay(ctx, c, address)
	}
	br.adapt(time.Since(began))
	stop()
	br.replayed = br.replayed || br.broker.replayed(br.session())
	c.farewell()
	running.Wait()
	return err
}

// adapt learns from how long a connection lasted: a Mosquitto with a smaller
// max_inflight_messages ends those on which it gets more of QoS 2 at once.
func (br *bridge) adapt(lasted time.Duration) {
	if lasted < br.steady() {
		br.oldWindow = max(br.oldWindow/2, 1)
	} else {
		br.oldWindow = min(br.oldWindow*2, bridgesReceiveMax)
	}
}

// steady is how long a connection must last to end an outage.
func (br *bridge) steady() time.Duration { return min(bridgeSteady, br.settings.RestartMax) }

// stay tells that the bridge is up until it is not, and says why.
func (br *bridge) stay(ctx context.Context, c *crossing, address string) error {
	br.failed.Store(nil)
	br.up.Store(true)
	br.tellHere(true)
	c.tellThere(true)
	defer func() {
		br.up.Store(false)
		br.tellHere(false)
	}()
	if !br.begun && !br.outage {
		br.log.Info("bridge up", "address", address)
	}
	br.begun = true
	steady := time.NewTimer(br.steady())
	defer steady.Stop()
	for {
		select {
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-steady.C:
			if address == br.settings.Address[0] {
				br.returns = 0
			}
			if br.outage {
				br.outage = false
				br.log.Info("bridge up again", "address", address)
			}
		}
	}
}

// lookForFirst waits until the first address takes connections, and returns
// errPreferred. It looks less often where that turned out not to be enough.
func (br *bridge) lookForFirst(ctx context.Context) error {
	for {
		pause := time.NewTimer(jitter(br.settings.RestartMax, mostReturns*br.settings.RestartMax, br.returns+1))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
		if nc, err := br.settings.dial(ctx, br.settings.Address[0]); err == nil {
			_ = nc.Close()
			br.returns++
			return errPreferred
		}
	}
}

func stateText(up bool) []byte {
	if up {
		return []byte("1")
	}
	return []byte("0")
}

// tellHere publishes at this broker whether the bridge is up, as Mosquitto does
// (mosquitto.conf(5), "notifications").
func (br *bridge) tellHere(up bool) {
	if *br.settings.Notifications {
		_ = br.broker.Publish(stateTopic(br.settings.ClientID), stateText(up), true) // the topic is sound
	}
}

// BridgeStats are the figures of one bridge. Those without another word count
// since the start.
type BridgeStats struct {
	Name     string `json:"name"`
	Up       bool   `json:"up"`               // now
	Reason   string `json:"reason,omitempty"` // why it is not up
	Sent     int64  `json:"sent"`             // messages that the other broker took
	Received int64  `json:"received"`         // messages taken from it
	Dropped  int64  `json:"dropped"`          // messages that either refused, that no line of topics wants, or for which the queue was full
	Queued   int64  `json:"queued"`           // messages that wait here, or for an acknowledgement, now
}

// Bridges returns the figures of all bridges, in the order of the settings. It
// may be called at any time.
func (b *Broker) Bridges() []BridgeStats {
	all := make([]BridgeStats, len(b.bridges))
	for i, br := range b.bridges {
		all[i] = br.stats()
	}
	return all
}

func (br *bridge) stats() BridgeStats {
	up := br.up.Load()
	return BridgeStats{
		Name:     br.settings.Name,
		Up:       up,
		Reason:   whyNot(up, br.failed.Load()),
		Sent:     br.sent.Load(),
		Received: br.received.Load(),
		Dropped:  br.dropped.Load(),
		Queued:   br.broker.queuedFor(br.session()),
	}
}

// figures are what is published below $SYS/gateway/bridge/.
func (s BridgeStats) figures() []figure {
	return []figure{
		{s.Name + "/up", flag(s.Up)},
		{s.Name + "/sent", s.Sent},
		{s.Name + "/received", s.Received},
		{s.Name + "/dropped", s.Dropped},
		{s.Name + "/queued", s.Queued},
	}
}
