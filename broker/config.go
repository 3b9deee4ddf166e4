package broker

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/vfs"

	"checkbus/internal/listen"
)

// Access names the files that say who clients are and what they may do.
type Access struct {
	// PasswordFile has the users and their passwords, as mosquitto_passwd writes
	// it. Without one, user names are not looked at, and mean nothing.
	PasswordFile string `toml:"password_file"`
	// ACLFile has the rules, as Mosquitto reads it. Without one, a user writes
	// its own results, and reads everything but those of others, see
	// DefaultAccess.
	ACLFile string `toml:"acl_file"`
}

// Config holds the settings of the broker.
type Config struct {
	Listeners []Listener `toml:"listener"`
	Access    Access     `toml:"access"`
	Bridges   []Bridge   `toml:"bridge"`
	// MaxPacket is the largest packet taken from a client, in bytes, 1024 to
	// 268435455. MQTT 5 clients are told it.
	MaxPacket int `toml:"max_packet"`
	// MaxConnections is how many clients may be connected at once.
	MaxConnections int `toml:"max_connections"`
	// MaxSessions is how many sessions there may be, of clients that are connected
	// or away, MaxConnections or more. Beyond it those end whose clients are longest
	// away. 0 is twice MaxConnections.
	MaxSessions int `toml:"max_sessions"`
	// MaxRetained is how many bytes of memory retained messages may take, 1 MiB or
	// more. One of a client beyond it is delivered and not kept; the gateway's own
	// always are.
	MaxRetained int64 `toml:"-"`
	// Dir is where sessions that outlive their connection, what waits for their
	// clients, and retained messages of clients are kept; "" is in memory alone.
	Dir string `toml:"-"`
	// Queue bounds what waits for each client with such a session.
	Queue Queue `toml:"-"`
	// Queues has other bounds for some clients, by their identifiers.
	Queues map[string]Queue `toml:"-"`
	// MaxStored is how many bytes of messages may wait on disk for all clients,
	// 1 MiB or more.
	MaxStored int64 `toml:"-"`
	// MaxKept is how many bytes of memory the filters, wills and topic aliases of all
	// clients may take, 1 MiB or more. Beyond it a client has 16 KiB for each of the
	// three.
	MaxKept int64 `toml:"-"`
	// MaxConnectionsPerAddress is how many connections from one address, or from
	// one IPv6 network of 64 bits, may be open at once; 0 is any. Those from this
	// machine do not count.
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`
	// MaxRate is how many messages a second are taken from a client, after as many
	// at once; 0 is any. One that sends more is read from more slowly.
	MaxRate int `toml:"max_rate"`
	// ConnectTimeout is how long a connection may take until its CONNECT is here,
	// 1 s to 5 min.
	ConnectTimeout time.Duration `toml:"connect_timeout"`
	// MaxTopicLevels is how many slashes a client's topic or filter may have, 1 to
	// 200.
	MaxTopicLevels int `toml:"max_topic_levels"`
	// SysInterval is how often the figures below $SYS are published, 1 s or
	// more; 0 is never.
	SysInterval time.Duration `toml:"sys_interval"`
	// Sockets are those that systemd opened, by name, see listen.Sockets.
	Sockets map[string]net.Listener `toml:"-"`
	// Identity is the gateway's name in the paths of messages that go through
	// several; each has another, and keeps it. "" makes one up.
	Identity string `toml:"-"`
	// disk is the file system below Dir; nil is the machine's.
	disk vfs.FS
	// Subscribe is an outside broker; nil is none.
	Subscribe *Subscribe `toml:"subscribe"`
	// Version is what $SYS/broker/version says of the gateway.
	Version string `toml:"-"`
}

// A Queue bounds what waits for a client, in flight or not. Beyond it the oldest
// messages that are not in flight are dropped. In memory there is never more
// than 8,192 messages and 6 MiB.
type Queue struct {
	Messages int   // 1 or more
	Bytes    int64 // 64 KiB or more
}

// Default returns the settings of a broker for this machine alone.
func Default() Config {
	return Config{
		Listeners:      []Listener{{Address: "127.0.0.1:1883"}},
		MaxPacket:      2_000_000,
		MaxConnections: 10_000,
		Queue:          Queue{Messages: 100_000, Bytes: 64 << 20},
		MaxStored:      1 << 30,
		MaxRetained:    256 << 20,
		MaxKept:        256 << 20,
		ConnectTimeout: 15 * time.Second,
		MaxTopicLevels: 200,
		SysInterval:    10 * time.Second,
	}
}

// The bounds of max_packet: the least must hold an ordinary result, and the
// most is what a packet's length field can say (MQTT 5, 1.5.5).
const (
	leastPacket = 1024
	mostPacket  = 268_435_455
)

// The least that queues must hold, and retained messages and the like may take:
// some of ordinary size.
const (
	leastQueue    = 64 << 10
	leastStored   = 1 << 20
	leastRetained = 1 << 20
	leastKept     = 1 << 20
)

// The bounds of connect_timeout.
const (
	leastConnectTimeout = time.Second
	mostConnectTimeout  = 5 * time.Minute
)

// Validate returns every mistake in c, each named by its key.
func (c Config) Validate() error {
	errs := append(c.validateListeners(), validateBridges(c.Bridges)...)
	if c.MaxPacket < leastPacket || c.MaxPacket > mostPacket {
		errs = append(errs, fmt.Errorf("broker.max_packet: %d is not in %d to %d", c.MaxPacket, leastPacket, mostPacket))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("broker.max_connections: %d is not positive", c.MaxConnections))
	}
	if c.MaxSessions != 0 && c.MaxSessions < c.MaxConnections {
		errs = append(errs, fmt.Errorf("broker.max_sessions: %d is less than max_connections (%d)", c.MaxSessions, c.MaxConnections))
	}
	if c.MaxRetained < leastRetained {
		errs = append(errs, fmt.Errorf("broker.max_retained: %d is less than 1MiB", c.MaxRetained))
	}
	if c.MaxKept < leastKept {
		errs = append(errs, fmt.Errorf("broker.max_kept: %d is less than 1MiB", c.MaxKept))
	}
	if c.MaxConnectionsPerAddress < 0 {
		errs = append(errs, fmt.Errorf("broker.max_connections_per_address: %d is negative", c.MaxConnectionsPerAddress))
	}
	if c.MaxRate < 0 || c.MaxRate > mostRate {
		errs = append(errs, fmt.Errorf("broker.max_rate: %d is not in 0 to %d", c.MaxRate, mostRate))
	}
	if c.ConnectTimeout < leastConnectTimeout || c.ConnectTimeout > mostConnectTimeout {
		errs = append(errs, fmt.Errorf("broker.connect_timeout: %v is not in %v to %v", c.ConnectTimeout, leastConnectTimeout, mostConnectTimeout))
	}
	if c.MaxTopicLevels < 1 || c.MaxTopicLevels > maxLevels {
		errs = append(errs, fmt.Errorf("broker.max_topic_levels: %d is not in 1 to %d", c.MaxTopicLevels, maxLevels))
	}
	if c.Queue.Messages < 1 {
		errs = append(errs, fmt.Errorf("broker.max_queued_messages: %d is not positive", c.Queue.Messages))
	}
	if c.Queue.Bytes < leastQueue {
		errs = append(errs, fmt.Errorf("broker.max_queued_bytes: %d is less than 64KiB", c.Queue.Bytes))
	}
	if c.MaxStored < leastStored {
		errs = append(errs, fmt.Errorf("broker.max_stored: %d is less than 1MiB", c.MaxStored))
	}
	if c.SysInterval != 0 && c.SysInterval < time.Second {
		errs = append(errs, fmt.Errorf("broker.sys_interval: %v is neither 0s nor 1s or more", c.SysInterval))
	}
	if c.Subscribe != nil {
		errs = append(errs, c.Subscribe.Validate())
	}
	return errors.Join(errs...)
}

func (c Config) validateListeners() []error {
	var errs []error
	if len(c.Listeners) == 0 {
		errs = append(errs, errors.New("listener: at least one is required"))
	}
	seen := map[string]int{}
	for i, l := range c.Listeners {
		mistakes := l.validate()
		for _, err := range mistakes {
			errs = append(errs, inListener(i, err))
		}
		if len(mistakes) > 0 {
			continue
		}
		if first, ok := seen[l.Address]; ok && !strings.HasSuffix(l.Address, ":0") {
			errs = append(errs, fmt.Errorf("listener[%d].address: %s is listener[%d]'s already", i, l.Address, first))
		}
		seen[l.Address] = i
		if !c.anonymous(l) && c.Access.PasswordFile == "" && l.Identity == "" {
			errs = append(errs, fmt.Errorf("listener[%d].allow_anonymous: as it is, nobody may connect to %s: set it, or access.password_file, or identity", i, l.Address))
		}
	}
	return errs
}

// Check reads the files that the settings name, and returns every mistake in
// them.
func (c Config) Check() error {
	_, err := readAccess(c.Access, "", access{})
	errs := []error{err}
	for i, l := range c.Listeners {
		certs, err := listen.ReadCertificates(l.files())
		if certs != nil {
			err = certs.ValidNow()
		}
		errs = append(errs, inListener(i, err))
	}
	if c.Subscribe != nil {
		errs = append(errs, c.Subscribe.Check())
	}
	return errors.Join(append(errs, checkBridges(c.Bridges))...)
}

// anonymous reports whether a listener lets in clients that do not say who they
// are.
func (c Config) anonymous(l Listener) bool {
	if l.AllowAnonymous != nil {
		return *l.AllowAnonymous
	}
	return l.isLocal() && !l.isWebSocket() && c.Access.PasswordFile == "" && l.Identity == ""
}

// String says who may do what, for an operator.
func (a Access) String() string {
	users, rules := "user names mean nothing", "by the default rules"
	if a.PasswordFile != "" {
		users = "users of " + a.PasswordFile
	}
	if a.ACLFile != "" {
		rules = "by the rules of " + a.ACLFile
	}
	return users + ", " + rules
}
