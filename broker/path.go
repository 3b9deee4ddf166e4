package broker

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A message that goes to another broker carries the gateways that it came
// through in the user property "checkbus-path": their identities, separated by
// commas, the first one first. Whoever finds itself there has had the message
// and drops it, so that no ring of gateways sends it round for ever, whether
// the connections are bridges of the gateways or of brokers in between, which
// pass on user properties (MQTT 5, 3.3.2.3.7).
//
// MQTT 3.1.1 has no properties. What comes in over a bridge that speaks it has
// unknownHop in its path, and only messages without a path go out over one. So a
// message makes at most one way over such connections, from or to where nobody
// knows, and never a second.
const (
	pathProperty = "checkbus-path"
	unknownHop   = "?"
	// mostHops is how many gateways a message may come through.
	mostHops = 16
	// mostHop is the longest identity, in bytes.
	mostHop = 64
)

// newIdentity makes up the name of a gateway in paths.
func newIdentity() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// pathOf reads a message's path. One that no gateway wrote, as a publisher may
// make it up, counts as unknown, and so harms that message alone.
func pathOf(pk *packets.Packet) []string {
	var path []string
	for _, p := range pk.Properties.User {
		if p.Key != pathProperty {
			continue
		}
		if path != nil || p.Val == "" || len(p.Val) > mostHops*(mostHop+1) {
			return []string{unknownHop}
		}
		path = strings.Split(p.Val, ",")
	}
	return path
}

// setPath writes a message's path. The properties may be shared with other
// copies of the message.
func setPath(pk *packets.Packet, path []string) {
	users := slices.DeleteFunc(slices.Clone(pk.Properties.User), func(p packets.UserProperty) bool { return p.Key == pathProperty })
	pk.Properties.User = append(users, packets.UserProperty{Key: pathProperty, Val: strings.Join(path, ",")})
}

// receivePath notes in a publish of c's client where it came from, and reports
// whether it has been here before.
func (b *Broker) receivePath(c *conn, pk *packets.Packet) (looped bool) {
	if c.bridge && c.version < 5 {
		setPath(pk, []string{unknownHop})
		return false
	}
	return slices.Contains(pathOf(pk), b.identity)
}

// sendPath notes in a delivery to another broker that it came through here, and
// reports whether it may go. Clients that are no bridges get messages as they
// are: a bridge subscribes without its own messages, and with the retain flag as
// it was published, see hook.OnSubscribe. What waits on disk for the bridge of
// another broker goes without this gateway in its path, and so may come back once.
func (b *Broker) sendPath(c *conn, sub packets.Subscription, out *packets.Packet) bool {
	if !sub.NoLocal || !sub.RetainAsPublished {
		return true
	}
	path := pathOf(out)
	if c.client.Properties.ProtocolVersion < 5 && len(path) > 0 || len(path) >= mostHops {
		b.notBridged(c.rights.client, out.TopicName)
		return false
	}
	setPath(out, append(path, b.identity))
	return true
}

// notBridged counts a message that is kept from a bridge, and says so.
func (b *Broker) notBridged(client, topic string) {
	b.count.notBridged.Add(1)
	b.seldom[pathEnded].log(func(count int) {
		b.log.Warn("not passed on to a bridge, for fear of a loop: it came from another one; let both speak MQTT 5",
			"client", client, "topic", topic, "count", count)
	})
}
