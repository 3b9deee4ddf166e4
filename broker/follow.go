package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// The shortest and the longest pause before a broker that is lost is tried
// again.
const (
	followLeast = 100 * time.Millisecond
	followMost  = 5 * time.Second
)

// A Follower receives what another broker publishes. Its functions are called
// from one goroutine at a time.
type Follower struct {
	Remote
	Filters []string // what to subscribe to, with QoS 1
	// Received gets each message in order. retained is true for one that was
	// kept from before the subscription. payload must not be changed.
	Received func(topic string, payload []byte, retained bool)
	// Lost is told that the connection broke, and Back that there is one again.
	Lost func(err error)
	Back func()

	mu sync.Mutex // held while one of the functions runs
}

// Run receives until ctx ends. Where the connection breaks it makes another,
// which begins with the retained messages again. The error is about the
// settings, or the first connection.
func (f *Follower) Run(ctx context.Context) error {
	if err := errors.Join(f.validate()...); err != nil {
		return err
	}
	redial := redial{remote: f.Remote, least: followLeast, most: followMost}
	var failed []error
	for begun := false; ctx.Err() == nil; {
		c, err := f.connect(ctx, &redial)
		switch {
		case err != nil && begun:
			continue
		case err != nil:
			failed = append(failed, err)
			if ctx.Err() == nil && len(failed) == len(f.Address) {
				return errors.Join(failed...)
			}
			continue
		case begun:
			f.tell(f.Back)
		}
		begun = true
		select {
		case <-ctx.Done():
			c.client.Disconnect(0)
		case err := <-c.lost:
			f.tell(func() { f.Lost(err) })
		}
	}
	return nil
}

func (f *Follower) tell(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
}

// A followed is one connection.
type followed struct {
	client paho.Client
	lost   chan error // gets why it broke
}

// connect connects to the next address and subscribes.
func (f *Follower) connect(ctx context.Context, redial *redial) (followed, error) {
	nc, address, err := redial.dial(ctx)
	if err != nil {
		return followed{}, err
	}
	password, err := f.password()
	if err != nil {
		nc.Close()
		return followed{}, err
	}
	abandon := context.AfterFunc(ctx, func() { nc.Close() })
	defer abandon()
	lost := make(chan error, 1)
	client := paho.NewClient(paho.NewClientOptions().
		AddBroker(address).
		SetProtocolVersion(4). // else it tries 3.1 on the same connection, and tells of that
		SetUsername(f.Username).
		SetPassword(password).
		SetAutoReconnect(false).
		SetConnectTimeout(dialTimeout).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return nc, nil }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
	if err := answered(client.Connect()); err != nil {
		nc.Close()
		return followed{}, fmt.Errorf("%s: %w", address, err)
	}
	if err := f.subscribe(client); err != nil {
		client.Disconnect(0)
		return followed{}, fmt.Errorf("%s: subscribe: %w", address, err)
	}
	return followed{client, lost}, nil
}

func (f *Follower) subscribe(client paho.Client) error {
	filters := make(map[string]byte)
	for _, filter := range f.Filters {
		filters[filter] = 1
	}
	token := client.SubscribeMultiple(filters, func(_ paho.Client, m paho.Message) {
		f.tell(func() { f.Received(m.Topic(), m.Payload(), m.Retained()) })
	})
	if err := answered(token); err != nil {
		return err
	}
	for filter, granted := range token.(*paho.SubscribeToken).Result() {
		if granted > 2 {
			return fmt.Errorf("%s is refused", filter)
		}
	}
	return nil
}

// answered waits for the broker's answer.
func answered(t paho.Token) error {
	if !t.WaitTimeout(dialTimeout) {
		return errors.New("no answer")
	}
	return t.Error()
}
