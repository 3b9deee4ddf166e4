package broker

import (
	"fmt"
	"runtime/metrics"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// sysRoot is where the broker publishes its figures, as Mosquitto does, and
// ownRoot where it publishes those that Mosquitto has not.
const (
	sysRoot = "$SYS/broker/"
	ownRoot = "$SYS/gateway/broker/"
)

// bridgeRoot is where it publishes those of its bridges.
const bridgeRoot = "$SYS/gateway/bridge/"

// sysQoS is the quality of service of $SYS messages (SYS_TREE_QOS in
// Mosquitto's src/sys_tree.c).
const sysQoS = 2

// publishSys publishes the broker's figures every sys_interval until Run is
// about to end.
func (b *Broker) publishSys() {
	if b.cfg.SysInterval == 0 {
		return
	}
	s := newSys(b, time.Now())
	tick := time.NewTicker(b.cfg.SysInterval)
	defer tick.Stop()
	for {
		s.update(time.Now())
		select {
		case <-tick.C:
		case <-b.stopping:
			return
		}
	}
}

// A sys is what was published below $SYS. In $SYS/broker names, units and formats are
// those of Mosquitto 2.0 (mosquitto(8), "Broker status").
type sys struct {
	broker   *Broker
	started  time.Time
	updated  time.Time
	loads    map[string]*load
	mostHeap int64
	said     map[string]string // values by topic
}

func newSys(b *Broker, now time.Time) *sys {
	return &sys{broker: b, started: now, updated: now, loads: map[string]*load{}, said: map[string]string{}}
}

// update publishes what has changed.
func (s *sys) update(now time.Time) {
	st := s.broker.Stats()
	s.say("version", "checkbus version "+s.broker.cfg.Version)
	s.say("uptime", fmt.Sprintf("%d seconds", int64(now.Sub(s.started).Seconds())))
	since := now.Sub(s.updated)
	s.updated = now
	for _, f := range rates(st) {
		l := s.loads[f.name]
		if l == nil {
			l = &load{}
			s.loads[f.name] = l
		}
		l.update(f.value, since)
		for i, p := range periods {
			s.say("load/"+f.name+"/"+p.name, strconv.FormatFloat(l.average[i], 'f', 2, 64))
		}
	}
	heap := heapBytes()
	s.mostHeap = max(s.mostHeap, heap)
	s.say("heap/current", strconv.FormatInt(heap, 10))
	s.say("heap/maximum", strconv.FormatInt(s.mostHeap, 10))
	if st.MostSessions > 0 { // as in Mosquitto, not before there is one
		s.say("clients/maximum", strconv.FormatInt(st.MostSessions, 10))
	}
	if st.Subscribe != nil {
		s.updateSubscribe(st.Subscribe)
	}
	for _, f := range totals(st) {
		s.say(f.name, strconv.FormatInt(f.value, 10))
	}
	for _, f := range own(st) {
		s.publish(ownRoot+f.name, strconv.FormatInt(f.value, 10))
	}
	for _, bridge := range s.broker.Bridges() {
		for _, f := range bridge.figures() {
			s.publish(bridgeRoot+f.name, strconv.FormatInt(f.value, 10))
		}
	}
}

// A figure is a topic below $SYS/broker or $SYS/gateway/broker, and its value.
type figure struct {
	name  string
	value int64
}

// rates are the counters of which loads are published.
func rates(st Stats) []figure {
	return []figure{
		{"messages/received", st.PacketsIn},
		{"messages/sent", st.PacketsOut},
		{"publish/dropped", st.Dropped + st.InflightDropped},
		{"publish/received", st.MessagesIn},
		{"publish/sent", st.MessagesOut},
		{"bytes/received", st.BytesIn},
		{"bytes/sent", st.BytesOut},
		{"sockets", st.Sockets},
		{"connections", st.Connects},
	}
}

// totals are the plain numbers. Some have two names.
func totals(st Stats) []figure {
	away := max(0, st.Sessions-st.Connected)
	return []figure{
		{"clients/total", st.Sessions},
		{"clients/connected", st.Connected},
		{"clients/active", st.Connected},
		{"clients/disconnected", away},
		{"clients/inactive", away},
		{"clients/expired", st.Expired},
		{"messages/stored", st.Stored},
		{"store/messages/count", st.Stored},
		{"store/messages/bytes", st.StoredBytes},
		{"subscriptions/count", st.Subscriptions - st.SharedSubscriptions},
		{"shared_subscriptions/count", st.SharedSubscriptions},
		{"retained messages/count", st.Retained},
		{"messages/received", st.PacketsIn},
		{"messages/sent", st.PacketsOut},
		{"publish/messages/dropped", st.Dropped + st.InflightDropped},
		{"publish/messages/received", st.MessagesIn},
		{"publish/messages/sent", st.MessagesOut},
		{"bytes/received", st.BytesIn},
		{"bytes/sent", st.BytesOut},
		{"publish/bytes/received", st.PayloadIn},
		{"publish/bytes/sent", st.PayloadOut},
	}
}

// own are the figures below $SYS/gateway/broker.
func own(st Stats) []figure {
	return []figure{
		{"refused/connections", st.Refused},
		{"refused/address", st.RefusedAddress},
		{"refused/proxy", st.RefusedProxies},
		{"refused/handshake", st.BadHandshakes},
		{"refused/login", st.Unauthorized},
		{"refused/packet_size", st.RefusedPackets},
		{"refused/topic", st.RefusedTopics},
		{"refused/publish", st.Denied},
		{"refused/retained", st.NotRetained},
		{"refused/kept", st.NotKept},
		{"closed/incomplete", st.Squeezed},
		{"closed/receive_maximum", st.TooMany},
		{"closed/session", st.PushedOut},
		{"timeout/connect", st.ConnectTimeouts},
		{"slowed/rate", st.SlowedByRate},
		{"closed/slow", st.SlowConsumers},
		{"closed/fault", st.Panics},
		{"loop/returned", st.Looped},
		{"loop/withheld", st.NotBridged},
		{"redelivered", st.Redelivered},
		{"pending", st.Pending},
	}
}

// say publishes a figure below $SYS/broker.
func (s *sys) say(name, value string) { s.publish(sysRoot+name, value) }

// publish publishes a value that is not published yet. Unlike Mosquitto, which
// leaves a load alone that changes by less than 0.01 at a time and so never
// comes down to 0.00, it compares with what subscribers were told.
func (s *sys) publish(topic, value string) {
	if s.said[topic] == value {
		return
	}
	s.said[topic] = value
	s.broker.publishOwn(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: sysQoS, Retain: true},
		TopicName:   topic,
		Payload:     []byte(value),
	})
}

// heapBytes is the memory in use by objects, those included that are garbage
// and not collected yet.
func heapBytes() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
