package broker

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// A Bridge is a lasting connection to another broker, over which messages pass
// both ways, as a "connection" section of mosquitto.conf(5) makes one.
type Bridge struct {
	// Name is the bridge's own: letters, digits, dots, dashes and underscores.
	Name string `toml:"name"`
	Remote
	// Topics are what passes: "pattern direction qos local-prefix remote-prefix",
	// where direction is in, out or both, and "" stands for nothing. The defaults
	// are out, 0 and no prefixes.
	Topics []string `toml:"topics"`
	// Protocol is "5", which is the default, or "3.1.1" for a broker that knows
	// no MQTT 5; see path.go for what does not pass then.
	Protocol string `toml:"protocol"`
	// ClientID is who the gateway is to the other broker. "" is hostname.name.
	ClientID string `toml:"client_id"`
	// RoundRobin takes all addresses as equals: the gateway stays where it is
	// until that fails, and then goes on to the next. Otherwise it goes back to
	// the first when that is well again.
	RoundRobin bool `toml:"round_robin"`
	// CleanSession lets both brokers forget what waits when the connection ends.
	// LocalCleanSession says so of this one alone; without it, it is as
	// CleanSession.
	CleanSession      bool  `toml:"clean_session"`
	LocalCleanSession *bool `toml:"local_clean_session"`
	// Keepalive is how long the connection may be idle before it is tested, 5 s
	// to 18 h; 0 is 60 s.
	Keepalive time.Duration `toml:"keepalive"`
	// RestartMin and RestartMax bound the random pause before another attempt,
	// which grows with each failure; 0 is 1 s and 30 s.
	RestartMin time.Duration `toml:"restart_min"`
	RestartMax time.Duration `toml:"restart_max"`
	// Notifications tells both brokers whether the bridge is up: "1" or "0",
	// retained, on $SYS/broker/connection/<client_id>/state. Without it, true.
	// NotificationsLocalOnly tells this broker alone.
	Notifications          *bool `toml:"notifications"`
	NotificationsLocalOnly bool  `toml:"notifications_local_only"`
}

// leastKeepalive is Mosquitto's.
const leastKeepalive = 5 * time.Second

// The defaults of a bridge's times.
const (
	bridgeKeepalive  = 60 * time.Second
	bridgeRestartMin = time.Second
	bridgeRestartMax = 30 * time.Second
)

var bridgeName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// withDefaults fills in what the settings leave open.
func (b Bridge) withDefaults() Bridge {
	if b.Protocol == "" {
		b.Protocol = "5"
	}
	if b.ClientID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "checkbus"
		}
		b.ClientID = host + "." + b.Name
	}
	if b.LocalCleanSession == nil {
		b.LocalCleanSession = &b.CleanSession
	}
	if b.Notifications == nil {
		told := true
		b.Notifications = &told
	}
	setDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	setDefault(&b.Keepalive, bridgeKeepalive)
	setDefault(&b.RestartMin, bridgeRestartMin)
	setDefault(&b.RestartMax, max(b.RestartMin, bridgeRestartMax))
	return b
}

// validate returns every mistake in b, each beginning with its key.
func (b Bridge) validate() []error {
	errs := b.Remote.validate()
	wrong := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if !bridgeName.MatchString(b.Name) {
		wrong("name", "%q is not 1 to 64 letters, digits, dots, dashes and underscores", b.Name)
	}
	_, mistakes := parseMappings(b.Topics)
	for _, err := range mistakes {
		wrong("topics", "%w", err)
	}
	switch b.Protocol {
	case "", "5", "3.1.1":
	default:
		wrong("protocol", "%q is neither 5 nor 3.1.1", b.Protocol)
	}
	if len(b.ClientID) > maxSecret || strings.ContainsAny(b.ClientID, "/+#\x00") {
		wrong("client_id", "%q has a character that a topic level cannot have", b.ClientID)
	}
	b = b.withDefaults()
	if b.Keepalive < leastKeepalive || b.Keepalive > 18*time.Hour {
		wrong("keepalive", "%v is not between 5s and 18h", b.Keepalive)
	}
	if b.RestartMin < 100*time.Millisecond || b.RestartMax < b.RestartMin || b.RestartMax > time.Hour {
		wrong("restart_min", "%v to restart_max, %v, is not a span between 100ms and 1h", b.RestartMin, b.RestartMax)
	}
	return errs
}

// validateBridges returns the mistakes in all bridges, alone and together.
func validateBridges(bridges []Bridge) []error {
	var errs []error
	maps := make([]bridgeMap, len(bridges))
	for i, b := range bridges {
		for _, err := range b.validate() {
			errs = append(errs, inBridge(i, err))
		}
		maps[i], _ = parseMappings(b.Topics)
		for j := range i {
			if bridges[j].Name == b.Name {
				errs = append(errs, fmt.Errorf("bridge[%d].name: %q is bridge[%d]'s already", i, b.Name, j))
			}
		}
	}
	for i, all := range maps {
		for k, m := range all {
			for _, before := range all[:k] {
				if m.feeds(before, true) {
					errs = append(errs, inBridge(i, fmt.Errorf("topics: %q and %q overlap, both ways, under different names: a message could go round", before.line, m.line)))
				}
			}
			for j, others := range maps[:i] {
				for _, other := range others {
					if m.feeds(other, false) {
						errs = append(errs, inBridge(i, fmt.Errorf("topics: %q and bridge[%d]'s %q overlap, both ways, under different names: a message could go round", m.line, j, other.line)))
					}
				}
			}
		}
	}
	return errs
}

// checkBridges reads the files that the bridges name, and returns every mistake
// in them.
func checkBridges(bridges []Bridge) error {
	var errs []error
	for i, b := range bridges {
		for _, err := range b.check() {
			errs = append(errs, inBridge(i, err))
		}
	}
	return errors.Join(errs...)
}

// inBridge names the bridge that err, which begins with a key, is about.
func inBridge(i int, err error) error {
	return fmt.Errorf("bridge[%d].%w", i, err)
}

// String says what is bridged where, for an operator.
func (b Bridge) String() string {
	return fmt.Sprintf("%s, %s as %s: %s", b.Name, strings.Join(b.Address, " or "), b.withDefaults().ClientID, strings.Join(b.Topics, "; "))
}
