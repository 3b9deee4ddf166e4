package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

const (
	outsideKeepAlive = 30 * time.Second
	outsideAnswer    = 10 * time.Second // for CONNACK, SUBACK and PINGRESP
	// The pauses between two connections, see redial.
	leastRedial = 500 * time.Millisecond
	mostRedial  = 30 * time.Second
	// flushTimeout is how long the last messages may take at the end.
	flushTimeout = 2 * time.Second
)

var errWaitsTooLong = errors.New("results wait for the disk; they stay with the broker")

// An outside takes results from an outside broker, and publishes there.
type outside struct {
	cfg        Subscribe
	broker     *Broker
	membership membership // of run
	filter     string     // what to subscribe to; of run
	down       bool       // the log says so; of run
	in         *intake
	worked     chan struct{} // closed when work is done
	out        *dispatch

	up                                  atomic.Bool
	failed                              atomic.Pointer[error] // why it is not up; nil until that is known
	received, acknowledged, redelivered atomic.Int64
	published, connections              atomic.Int64
}

// newOutside needs cfg.Dir.
func newOutside(cfg Subscribe, b *Broker) (*outside, error) {
	m, err := readMembership(cfg.Dir, cfg.ClientID)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &outside{cfg: cfg, broker: b, membership: m, in: newIntake(), worked: make(chan struct{}), out: newDispatch()}, nil
}

// run takes and publishes until ctx ends. Then it waits up to 5 s for verdicts
// on what it took, acknowledges that, and publishes what is left for 2 s.
func (s *outside) run(ctx context.Context) {
	s.filter = s.cfg.filter(s.broker.root)
	ended := make(chan struct{})
	go s.work(ended)
	defer func() {
		s.in.close()
		close(ended)
		<-s.worked
	}()
	redial := redial{remote: s.cfg.Remote, least: leastRedial, most: mostRedial}
	for s.in.ready(ctx) {
		nc, address, err := redial.dial(ctx)
		if err == nil {
			err = s.serve(ctx, nc, address)
		}
		s.failed.Store(&err)
		if ctx.Err() == nil && !s.down {
			s.broker.log.Warn("outside broker away", "address", address, "err", err)
			s.down = true
		}
	}
}

// serve speaks MQTT over nc until the connection or ctx ends.
func (s *outside) serve(ctx context.Context, nc net.Conn, address string) error {
	defer nc.Close()
	l := &outsideLink{lost: make(chan struct{})}
	defer l.end(context.Canceled)
	options, err := s.options(l, nc)
	if err != nil {
		return err
	}
	l.client = paho.NewClient(options)
	defer l.client.Disconnect(uint(flushTimeout.Milliseconds()))
	if err := s.join(ctx, l); err != nil {
		return err
	}
	s.broker.log.Info("outside broker connected", "address", address, "client", s.membership.ClientID, "filter", s.filter)
	s.down = false
	s.connections.Add(1)
	s.failed.Store(nil)
	s.up.Store(true)
	defer s.up.Store(false)

	leave, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		s.send(l, leave)
	}()
	select {
	case <-l.lost:
	case <-ctx.Done():
		s.in.close()
		select {
		case <-s.worked:
		case <-l.lost:
		case <-time.After(stopTimeout):
		}
	}
	close(leave)
	<-sent
	select {
	case <-l.lost:
		return l.err
	default:
		return ctx.Err()
	}
}

// options prepares the client of one connection. It keeps nothing for the next
// one: the intake and the dispatch do.
func (s *outside) options(l *outsideLink, nc net.Conn) (*paho.ClientOptions, error) {
	password, err := s.cfg.password()
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions().AddBroker("tcp://outside") // only a name: the connection is there
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		return newOutsideConn(nc, s.broker.cfg.MaxPacket), nil
	})
	o.SetProtocolVersion(4).SetClientID(s.membership.ClientID).SetUsername(s.cfg.Username).SetPassword(password)
	o.SetCleanSession(false).SetAutoReconnect(false).SetAutoAckDisabled(true)
	o.SetKeepAlive(outsideKeepAlive).SetPingTimeout(outsideAnswer).SetConnectTimeout(outsideAnswer).SetWriteTimeout(outsideWrite)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { s.receive(l, m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { l.end(err) })
	if s.cfg.Publish {
		o.SetWill(s.cfg.outgoing(StatusTopic, s.membership.ClientID), offlineStatus, 1, true)
	}
	return o, nil
}

// join begins or resumes the session, and subscribes. It subscribes each time,
// since a broker may have lost that.
func (s *outside) join(ctx context.Context, l *outsideLink) error {
	connect := l.client.Connect()
	if err := l.wait(ctx, connect, "connect"); err != nil {
		return err
	}
	present := connect.(*paho.ConnectToken).SessionPresent()
	if !present {
		s.in.renew() // before anything can come
	}
	s.refresh(!present)
	subscribe := l.client.Subscribe(s.filter, byte(s.cfg.QoS), nil)
	if err := l.wait(ctx, subscribe, "subscribe to "+s.filter); err != nil {
		return err
	}
	for _, granted := range subscribe.(*paho.SubscribeToken).Result() {
		if granted != 1 && granted != 2 { // MQTT 3.1.1, 3.9.3
			return fmt.Errorf("subscribe to %s: refused with %#x", s.filter, granted)
		}
	}
	return s.remember(ctx, l)
}

// remember ends the subscription that the settings have left, if any, and notes
// the present one.
func (s *outside) remember(ctx context.Context, l *outsideLink) error {
	before := s.membership.Filter
	if before == s.filter {
		return nil
	}
	if before != "" {
		if err := l.wait(ctx, l.client.Unsubscribe(before), "unsubscribe from "+before); err != nil {
			return err
		}
	}
	s.membership.Filter = s.filter
	return s.membership.save(s.cfg.Dir)
}

// An outsideLink is one connection to the outside broker.
type outsideLink struct {
	client paho.Client
	once   sync.Once
	err    error         // why the connection is of no more use
	lost   chan struct{} // closed when err is set
}

// end gives the connection up.
func (l *outsideLink) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.lost)
	})
}

// wait waits for the outside broker's answer.
func (l *outsideLink) wait(ctx context.Context, t paho.Token, what string) error {
	timeout := time.NewTimer(outsideAnswer)
	defer timeout.Stop()
	err := fmt.Errorf("no answer within %v", outsideAnswer)
	select {
	case <-t.Done():
		err = t.Error()
	case <-timeout.C:
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.lost:
		err = l.err
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
	}
	return err
}

// receive takes a message, or gives up the connection, on which it is to come
// again. It may block for readPatience.
func (s *outside) receive(l *outsideLink, m paho.Message) {
	s.received.Add(1)
	f := newForeign(m)
	if m.Retained() || !s.broker.isResult(m.Topic()) {
		f.state = isSettled
	}
	if !s.in.wait(len(f.message.Payload), l.lost) {
		l.end(errWaitsTooLong)
		return
	}
	if s.in.take(f, l.lost) {
		s.redelivered.Add(1)
	}
}

// work acknowledges what can be, and offers the rest to accept, until ended is
// closed, or the intake is, and accept has nothing.
func (s *outside) work(ended <-chan struct{}) {
	defer close(s.worked)
	for {
		for _, f := range s.in.settled() {
			s.settle(f)
		}
		offers, wait, over := s.in.due(time.Now())
		if over {
			return
		}
		for _, f := range offers {
			s.broker.accept(f.message, func(err error) { s.judge(f, err) })
		}
		if len(offers) > 0 {
			continue
		}
		pause := time.NewTimer(wait)
		select {
		case <-s.in.work:
		case <-pause.C:
		case <-ended:
			pause.Stop()
			return
		}
		pause.Stop()
	}
}

// judge takes accept's verdict on f.
func (s *outside) judge(f *foreign, err error) {
	began, ended := s.in.verdict(f, err, time.Now())
	if began {
		s.broker.log.Warn("results of the outside broker cannot be stored, they stay there", "err", err)
	}
	if ended {
		s.broker.log.Info("results of the outside broker are stored again")
	}
}

// settle acknowledges f and passes it on to the gateway's own subscribers.
func (s *outside) settle(f *foreign) {
	f.ack()
	s.acknowledged.Add(1)
	if f.answer.taken && strings.Count(f.message.Topic, "/") <= maxLevels {
		pk := f.packet()
		setPath(pk, []string{unknownHop})
		s.broker.deliver(&inbound{packet: *pk, client: outsideName, version: 4})
	}
}
