package broker

import (
	"errors"
	"fmt"
	"strings"
	"time"
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
	// MaxPacket is the largest packet taken from a client, in bytes, 1024 to
	// 268435455. MQTT 5 clients are told it.
	MaxPacket int `toml:"max_packet"`
	// MaxConnections is how many clients may be connected at once. It also
	// bounds the sessions kept for clients that are away.
	MaxConnections int `toml:"max_connections"`
	// SysInterval is how often the figures below $SYS are published, 1 s or
	// more; 0 is never.
	SysInterval time.Duration `toml:"sys_interval"`
	// Subscribe is an outside broker; nil is none.
	Subscribe *Subscribe `toml:"subscribe"`
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
	if c.MaxPacket < leastPacket || c.MaxPacket > mostPacket {
		errs = append(errs, fmt.Errorf("broker.max_packet: %d is not in %d to %d", c.MaxPacket, leastPacket, mostPacket))
	}
	if c.MaxConnections < 1 {
		errs = append(errs, fmt.Errorf("broker.max_connections: %d is not positive", c.MaxConnections))
	}
	if c.SysInterval != 0 && c.SysInterval < time.Second {
		errs = append(errs, fmt.Errorf("broker.sys_interval: %v is neither 0s nor 1s or more", c.SysInterval))
	}
	if c.Subscribe != nil {
		errs = append(errs, c.Subscribe.Validate())
	}
	return errors.Join(errs...)
}

// Check reads the files that the settings name, and returns every mistake in
// them.
func (c Config) Check() error {
	_, err := readAccess(c.Access, "", access{})
	errs := []error{err}
	for i, l := range c.Listeners {
		certs, err := newCertificates(l)
		if certs != nil {
			err = certs.validNow()
		}
		errs = append(errs, inListener(i, err))
	}
	if c.Subscribe != nil {
		errs = append(errs, c.Subscribe.Check())
	}
	return errors.Join(errs...)
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
