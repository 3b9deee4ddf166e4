package broker

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Listener is one address that clients connect to.
type Listener struct {
	// Address is host:port, or unix:/path. An empty host is all addresses, and
	// port 0 any free port.
	Address string `toml:"address"`
}

// Config holds the settings of the broker.
type Config struct {
	Listeners []Listener `toml:"listener"`
	// MaxPacket is the largest packet taken from a client, in bytes, 1024 to
	// 268435455. MQTT 5 clients are told it.
	MaxPacket int `toml:"max_packet"`
	// MaxConnections is how many clients may be connected at once. It also
	// bounds the sessions kept for clients that are away.
	MaxConnections int `toml:"max_connections"`
	// SysInterval is how often the figures below $SYS are published, 1 s or
	// more; 0 is never.
	SysInterval time.Duration `toml:"sys_interval"`
	// Version is what $SYS/broker/version says of the gateway.
	Version string `toml:"-"`
}

// Default returns the settings of a broker for this machine alone.
func Default() Config {
	return Config{
		Listeners:      []Listener{{Address: "127.0.0.1:1883"}},
		MaxPacket:      2_000_000,
		MaxConnections: 10_000,
		SysInterval:    10 * time.Second,
	}
}

// The bounds of max_packet: the least must hold an ordinary result, and the
// most is what a packet's length field can say (MQTT 5, 1.5.5).
const (
	leastPacket = 1024
	mostPacket  = 268_435_455
)

// Validate returns every mistake in c, each named by its key.
func (c Config) Validate() error {
	var errs []error
	if len(c.Listeners) == 0 {
		errs = append(errs, errors.New("listener: at least one is required"))
	}
	seen := map[string]int{}
	for i, l := range c.Listeners {
		if err := validAddress(l.Address); err != nil {
			errs = append(errs, fmt.Errorf("listener[%d].address: %w", i, err))
			continue
		}
		if first, ok := seen[l.Address]; ok && !strings.HasSuffix(l.Address, ":0") {
			errs = append(errs, fmt.Errorf("listener[%d].address: %s is listener[%d]'s already", i, l.Address, first))
		}
		seen[l.Address] = i
	}
	if c.MaxPacket < leastPacket || c.MaxPacket > mostPacket {
		errs = append(errs, fmt.Errorf("broker.max_packet: %d is not in %d to %d", c.MaxPacket, leastPacket, mostPacket))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("broker.max_connections: %d is not positive", c.MaxConnections))
	}
	if c.SysInterval != 0 && c.SysInterval < time.Second {
		errs = append(errs, fmt.Errorf("broker.sys_interval: %v is neither 0s nor 1s or more", c.SysInterval))
	}
	return errors.Join(errs...)
}

func validAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q needs an absolute path, as in unix:/run/checkbus/mqtt", address)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor unix:/path", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port from 0 to 65535", address)
	}
	return nil
}

// network splits a valid address into what net.Listen takes.
func (l Listener) network() (network, address string) {
	if path, ok := strings.CutPrefix(l.Address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", l.Address
}
