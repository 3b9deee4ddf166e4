// Package loadgen publishes check results as fast as a broker acknowledges
// them, so that a benchmark measures the broker and not its client: packets
// are built beforehand, many go out in one write, and each connection keeps a
// window of unacknowledged publishes.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Load is what to publish, by whom, and how fast. Results go round robin to
// the services s000, s001, ... of the hosts h0000, h0001, ...; each object's
// results come from one connection. A payload takes about 100 bytes and
// carries a running number in its reason.
type Load struct {
	Addr    string // host:port of the broker
	Version byte   // 4 for MQTT 3.1.1 (the default), 5 for MQTT 5
	QoS     byte   // 0 or 1
	Root    string // first topic level; "" is "nagios"
	Client  string // client identifiers start with it; "" is "load"

	// Subscribe is the filter of one more client, which gets the results with the
	// load's QoS; then the load lasts until they have arrived there. "" is none.
	Subscribe string

	Connections     int // at least 1
	Window          int // unacknowledged publishes a connection, 1 to 16383; QoS 0 has none
	Hosts, Services int // at least 1 each

	// The load ends after Count results or after Duration, whichever comes
	// first; 0 is no bound, but one of them is needed.
	Count    int
	Duration time.Duration
	Rate     int // results a second of all connections; 0 is as fast as it goes
	First    int // the first running number
}

// A Report is how a load went.
type Report struct {
	Sent    int
	Acked   int // those that the broker took; of QoS 0 those that it has read
	Refused int // acknowledged with a failure, which only MQTT 5 can
	// Received counts those that arrived at the subscriber.
	Received int
	Elapsed  time.Duration
	// Latency is from the write (with a Rate: from when it was due) to the
	// acknowledgement. It stays empty for QoS 0.
	Latency Histogram
	// Delivery is from when a result was due to its arrival at the subscriber. It
	// stays empty without a Rate.
	Delivery Histogram
}

// Rate returns the acknowledged results a second.
func (r *Report) Rate() float64 { return float64(r.Acked) / r.Elapsed.Seconds() }

func (l *Load) withDefaults() Load {
	o := *l
	if o.Version == 0 {
		o.Version = 4
	}
	if o.Root == "" {
		o.Root = "nagios"
	}
	if o.Client == "" {
		o.Client = "load"
	}
	return o
}

func (l *Load) validate() error {
	switch {
	case l.QoS > 1:
		return fmt.Errorf("QoS %d is neither 0 nor 1", l.QoS)
	case l.Connections < 1 || l.Hosts < 1 || l.Services < 1:
		return errors.New("connections, hosts and services are 1 or more each")
	case l.QoS == 1 && (l.Window < 1 || l.Window > maxWindow):
		return fmt.Errorf("window %d is not within 1 and %d", l.Window, maxWindow)
	case l.Count == 0 && l.Duration == 0:
		return errors.New("neither a count nor a duration bounds the load")
	}
	return nil
}

// Run connects, publishes, and waits until everything is acknowledged. When
// ctx ends before that, it stops with an error; the report holds what was
// done in any case.
func (l Load) Run(ctx context.Context) (*Report, error) {
	l = l.withDefaults()
	if err := l.validate(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	publishers, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	subscriber, err := l.subscribe(ctx)
	if err != nil {
		disconnect(publishers)
		return nil, err
	}
	start := time.Now()
	if subscriber != nil {
		subscriber.begin(start)
	}
	g, running := errgroup.WithContext(ctx)
	for _, p := range publishers {
		g.Go(func() error { return p.run(running, start) })
	}
	err = g.Wait()
	report := &Report{Elapsed: time.Since(start)}
	collect(report, publishers)
	if subscriber != nil {
		err = errors.Join(err, subscriber.await(ctx, report.Sent))
		subscriber.end()
		report.Elapsed = max(report.Elapsed, time.Duration(subscriber.arrived.Load()))
		report.Received = int(subscriber.received.Load())
		report.Delivery = subscriber.delivery
	}
	return report, err
}

// collect sums up what the publishers did.
func collect(report *Report, publishers []*publisher) {
	for _, p := range publishers {
		report.Sent += int(p.sent.Load())
		report.Acked += int(p.acked.Load()) - p.refused
		report.Refused += p.refused
		report.Latency.Merge(&p.latency)
	}
}

func disconnect(publishers []*publisher) {
	for _, p := range publishers {
		p.conn.Close()
	}
}

func (l *Load) connect(ctx context.Context) ([]*publisher, error) {
	var publishers []*publisher
	for i := range l.Connections {
		conn, err := Dial(ctx, l.Addr, Options{Client: fmt.Sprintf("%s%d", l.Client, i), Version: l.Version})
		if err != nil {
			disconnect(publishers)
			return nil, err
		}
		publishers = append(publishers, newPublisher(l, i, conn))
	}
	return publishers, nil
}
