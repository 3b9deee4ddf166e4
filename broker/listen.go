package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"checkbus/internal/listen"
)

const (
	// strangers is how many connections beyond max_connections may be open
	// while they have not said CONNECT, or to be told that there is no room. See
	// makeRoom.
	strangers = 256
	// The pause after a failed accept, as when file descriptors run out.
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// keepAlive finds clients whose machine is gone without a word, whatever
// keepalive they asked for in MQTT.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 5}

// A listener takes connections at one address.
type listener struct {
	net.Listener
	settings     Listener
	anonymous    bool                  // lets in clients that do not say who they are
	certificates *listen.Certificates  // nil without TLS
	failure      atomic.Pointer[error] // why no connections can be taken now
	bridge       bool                  // for the gateway's own bridges, in memory
}

// bridgeListener is where the gateway's own bridges connect.
var bridgeListener = &listener{settings: Listener{Address: "bridges"}, bridge: true}

// Listen reads the files that the settings name, and what is stored, and binds all listeners, so
// that a mistake in one, or a port that is taken, is known before anything else
// starts. Clients that connect wait until Run. The error names each file and
// address, and then none is bound.
func (b *Broker) Listen() error {
	var errs []error
	files, err := readAccess(b.cfg.Access, b.root, access{})
	if err != nil {
		errs = append(errs, err)
	}
	b.access.Store(&files)
	for i, l := range b.cfg.Listeners {
		ln, err := b.listen(l)
		if err != nil {
			errs = append(errs, inListener(i, err))
			continue
		}
		b.listeners = append(b.listeners, ln)
	}
	err = errors.Join(errs...)
	if err == nil && b.cfg.Dir != "" {
		err = b.restore()
	}
	if err != nil {
		b.closeListeners()
		b.listeners = nil
	}
	return err
}

// listen binds l, or takes its socket from those that systemd passed. The error
// begins with the key that it is about.
func (b *Broker) listen(l Listener) (*listener, error) {
	certs, err := listen.ReadCertificates(l.files())
	if err != nil {
		return nil, err
	}
	if certs != nil && certs.ValidNow() != nil {
		b.log.Warn("clients will refuse the certificate", "listener", l.Address, "err", certs.ValidNow())
	}
	network, address := listen.Network(l.Address)
	ln := b.cfg.Sockets[address]
	switch network {
	case "tcp":
		ln, err = net.Listen(network, address)
	case "unix":
		ln, err = listenUnix(l, address)
	}
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return &listener{Listener: ln, settings: l, anonymous: b.cfg.anonymous(l), certificates: certs}, nil
}

func listenUnix(l Listener, path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	mode, err := l.socketMode()
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket that a process left behind when it was killed.
// One that is listened on stays, for Listen to fail.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		return nc.Close()
	}
	return os.Remove(path)
}

// Addr returns the address of the first listener, once Listen has succeeded.
func (b *Broker) Addr() net.Addr { return b.listeners[0].Addr() }

func (b *Broker) closeListeners() {
	for _, ln := range b.listeners {
		_ = ln.Close()
	}
}

// accept takes connections until the listener is closed. Other errors, as when
// file descriptors run out, are waited out.
func (b *Broker) acceptFrom(ln *listener) {
	pause := leastPause
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			ln.failure.Store(&err)
			b.seldom[acceptFailed].log(func(count int) {
				b.log.Error("cannot accept connections", "address", ln.Addr().String(), "err", err, "count", count)
			})
			select {
			case <-time.After(pause):
			case <-b.stopping:
			}
			pause = min(2*pause, mostPause)
			continue
		}
		pause = leastPause
		ln.failure.Store(nil)
		if b.count.connections.Load() >= int64(b.cfg.MaxConnections+strangers) && !b.makeRoom() {
			b.crowded(nc.RemoteAddr().String())
			_ = nc.Close()
			continue
		}
		if tcp, ok := nc.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(keepAlive) // else the system's own times hold
		}
		b.count.connections.Add(1)
		c := newConn(nc, ln, b.cfg, &b.count)
		b.clients.Go(func() {
			defer b.count.connections.Add(-1)
			b.serve(c)
		})
	}
}

// serve sees one connection from beginning to end. It begins on a goroutine of
// its own, with which the deep stack ends that TLS and CONNECT need.
func (b *Broker) serve(c *conn) {
	b.track(c, true)
	defer b.track(c, false)
	defer b.unseat(c)
	begun := make(chan error)
	go func() { begun <- b.guard(c, b.greet) }()
	err := <-begun
	if err == nil {
		err = b.guard(c, b.converse)
	}
	b.conclude(c, err)
}

// conclude ends a connection, for the reason err.
func (b *Broker) conclude(c *conn, err error) {
	if why := c.evicted.Load(); why != nil {
		err = *why
	}
	b.log.Debug("client disconnected", "client", c.name(), "remote", c.RemoteAddr(), "err", err)
	if c.client != nil {
		c.client.Stop(err)
	}
	if c.admitted {
		b.countClient(c, -1)
	}
	c.in = frames{} // a session that stays keeps c
	c.hold(0, false)
	b.keepNone(&c.aliases)
	code := reasonFor(err)
	if b.ending() {
		code = packets.ErrServerShuttingDown
	} else {
		b.note(c, err)
	}
	_ = c.Close()
	c.senders.Wait()
	b.detach(c)
	c.finish(code)
	if errors.Is(c.failed, errSlow) {
		client := c.name()
		b.seldom[clientSlow].log(func(count int) { b.log.Warn("client closed", "client", client, "err", errSlow, "count", count) })
	}
}

// track keeps the set of open connections.
func (b *Broker) track(c *conn, open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if open {
		b.conns[c] = struct{}{}
		b.count.sockets.Add(1)
		if !c.listener.bridge {
			c.place = b.strangers.PushBack(c)
		}
	} else {
		delete(b.conns, c)
		b.noStranger(c)
	}
	if b.ending() {
		_ = c.Close()
	}
}

// noStranger takes c from those that are not let in yet; b.mu is held.
func (b *Broker) noStranger(c *conn) {
	if c.place != nil {
		b.strangers.Remove(c.place)
		c.place = nil
	}
}

// guard calls f for c. The library recovers from nothing; here a panic ends this
// connection alone.
func (b *Broker) guard(c *conn, f func(*conn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.count.panics.Add(1)
			client, remote, stack := c.name(), c.RemoteAddr().String(), string(debug.Stack())
			b.seldom[panicked].log(func(count int) {
				b.log.Error("a connection ended in a panic", "client", client, "remote", remote, "panic", r, "stack", stack, "count", count)
			})
			err = packets.ErrUnspecifiedError
		}
	}()
	return f(c)
}

// name is the client's identifier, as far as known.
func (c *conn) name() string {
	if c.session == nil {
		return ""
	}
	return c.session.id
}

// reasonFor is what an MQTT 5 client is told about the end of its connection.
func reasonFor(err error) packets.Code {
	var code packets.Code
	switch {
	case errors.As(err, &code):
		return code
	case errors.Is(err, os.ErrDeadlineExceeded):
		return packets.ErrKeepAliveTimeout
	}
	return packets.CodeDisconnect
}

// Ready tells why clients cannot connect: at which addresses, or everywhere while
// Run is not running.
func (b *Broker) Ready() error {
	if !b.running.Load() || b.ending() {
		return errors.New("the broker is not running")
	}
	var errs []error
	for _, ln := range b.listeners {
		if err := ln.failure.Load(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", ln.Addr(), *err))
		}
	}
	return errors.Join(errs...)
}

// watchCertificates reloads the certificates of listeners when their files
// change, until ctx ends.
func (b *Broker) watchCertificates(ctx context.Context) {
	all := map[string]*listen.Certificates{}
	for i, ln := range b.listeners {
		if ln.certificates != nil {
			all[fmt.Sprintf("listener[%d]", i)] = ln.certificates
		}
	}
	listen.Watch(ctx, all, b.log)
}
