package broker

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// everySecond publishes $SYS as often as settings allow.
func everySecond(c *Config) { c.SysInterval, c.Version = time.Second, "1.2.3" }

// lastOfAll is the topic that an update publishes last. Its value changes each
// time when somebody subscribes to it.
const lastOfAll = "$SYS/broker/publish/bytes/sent"

// An observation is what a test has done with a broker, whichever it is, and
// what it cost to look.
type observation struct {
	t       testing.TB
	addr    string
	watcher *mqtttest.Client
	payload int // bytes that subscribers were sent
	last    mqtttest.Packet
	looks   int // messages to the watcher before the last
	bytes   int // of them
}

// subscription is a SUBSCRIBE of MQTT 3.1.1.
func subscription(filter string, qos byte) []byte {
	return mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, append(append([]byte{0, 9}, mqtttest.Str(filter)...), qos))
}

// watch subscribes to lastOfAll before anything else happens.
func watch(t testing.TB, addr string) *observation {
	o := &observation{t: t, addr: addr, watcher: mqtttest.Dial(t, addr, mqtttest.Options{ID: "watcher"})}
	o.watcher.Send(subscription(lastOfAll, 0))
	return o
}

// look waits for the next update.
func (o *observation) look() {
	o.t.Helper()
	if o.last.Body != nil {
		o.looks++
		o.bytes += 2 + len(o.last.Body)
		o.payload += len(o.last.Payload())
	}
	o.last = mqtttest.Packet{}
	for o.last.Body == nil {
		p, err := o.watcher.Read()
		if err != nil {
			o.t.Fatal(err)
		}
		if p.Type() == mqtttest.PUBLISH {
			o.last = p
		}
	}
}

// leave ends a connection, and returns when the broker has noticed.
func leave(c *mqtttest.Client) {
	c.Send([]byte{mqtttest.DISCONNECT << 4, 0})
	c.Closed()
}

// act is some traffic of every kind. Its last message is the last to be counted.
func (o *observation) act() {
	t := o.t
	t.Helper()
	dial := func(id string, v5, persistent bool) *mqtttest.Client {
		return mqtttest.Dial(t, o.addr, mqtttest.Options{ID: id, V5: v5, Persistent: persistent})
	}
	leave(dial("gone", false, false))
	away := dial("away", false, true)
	away.Subscribe("q/#", 1)
	leave(away)
	sub := dial("sub", false, false)
	sub.Subscribe("t/#", 2)
	shared := dial("shared", true, false)
	shared.Subscribe("$share/g/s/#", 0)
	o.bytes += len(shared.Connack.Body) // brokers say different things there
	pub := dial("pub", false, false)
	pub.Publish(
		mqtttest.Message{Topic: "t/0", Payload: "zero"},
		mqtttest.Message{Topic: "t/1", Payload: "one", QoS: 1, ID: 1},
		mqtttest.Message{Topic: "t/2", Payload: "two", QoS: 2, ID: 2},
	)
	pub.Acked(mqtttest.PUBACK, 1)
	pub.Acked(mqtttest.PUBREC, 2)
	pub.Ack(mqtttest.PUBREL, 2)
	pub.Acked(mqtttest.PUBCOMP, 2)
	sub.Next(mqtttest.PUBLISH)
	sub.Ack(mqtttest.PUBACK, sub.Next(mqtttest.PUBLISH).ID())
	id := sub.Next(mqtttest.PUBLISH).ID()
	sub.Ack(mqtttest.PUBREC, id)
	sub.Acked(mqtttest.PUBREL, id)
	sub.Ack(mqtttest.PUBCOMP, id)
	sub.Ping()
	pub.Publish(mqtttest.Message{Topic: "t/kept", Payload: strings.Repeat("kept", 50), Retain: true})
	sub.Next(mqtttest.PUBLISH)
	for i := range uint16(3) {
		pub.Publish(mqtttest.Message{Topic: "q/x", Payload: "queued", QoS: 1, ID: 3 + i})
		pub.Acked(mqtttest.PUBACK, 3+i)
	}
	pub.Publish(mqtttest.Message{Topic: "s/1", Payload: "shared"})
	shared.Next(mqtttest.PUBLISH)
	o.payload += len("zero") + len("one") + len("two") + 4*50 + len("shared")
}

// settle waits until all traffic is counted, and returns all that was said then,
// by topic; nil if the next update came meanwhile.
func (o *observation) settle() map[string]string {
	o.t.Helper()
	for o.look(); o.last.Payload() != strconv.Itoa(o.payload); {
		o.look()
	}
	o.look()
	reader := mqtttest.Open(o.t, o.addr, mqtttest.Options{})
	reader.Send(slices.Concat(mqtttest.Options{ID: "reader"}.Encode(), subscription("$SYS/broker/#", 0), subscription(lastOfAll, 0)))
	said := map[string]string{}
	for copies := 0; copies < 2; { // of lastOfAll: one for each filter
		p, err := reader.Read()
		switch {
		case err != nil:
			o.t.Fatal(err)
		case p.Type() != mqtttest.PUBLISH:
			continue
		case !p.Retain():
			return nil
		case p.Topic() == lastOfAll:
			copies++
		}
		said[p.Topic()] = p.Payload()
	}
	return said
}

// observe acts with a broker that begin starts, and returns what it says then.
func observe(t testing.TB, begin func() (addr string)) (*observation, map[string]string) {
	t.Helper()
	for range 10 {
		o := watch(t, begin())
		o.act()
		if said := o.settle(); said != nil {
			return o, said
		}
		t.Log("it took more than a second to read what is said: once more")
	}
	t.Fatal("this machine is too slow")
	return nil, nil
}

// corrected are the numbers in said, without what it cost to look.
func (o *observation) corrected(said map[string]string) map[string]int {
	numbers := map[string]int{}
	for topic, value := range said {
		if n, err := strconv.Atoi(value); err == nil {
			numbers[topic] = n
		}
	}
	numbers["$SYS/broker/messages/sent"] -= o.looks
	numbers["$SYS/broker/publish/messages/sent"] -= o.looks
	numbers["$SYS/broker/bytes/sent"] -= o.bytes
	numbers["$SYS/broker/publish/bytes/sent"] -= o.payload
	return numbers
}

// undetermined are plain numbers in which two brokers differ.
var undetermined = regexp.MustCompile(`/heap/|/store/messages/bytes$`)

func TestSysIsWhatMosquittoPublishes(t *testing.T) {
	mosquitto, theirs := observe(t, func() string { return realtest.StartMosquitto(t, "sys_interval 1").Addr })
	ours, said := observe(t, func() string { return start(t, everySecond).addr })

	if got, want := slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(theirs)); !slices.Equal(got, want) {
		t.Errorf("topics:\n%s\nMosquitto's:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	formats := []struct{ topic, value *regexp.Regexp }{
		{regexp.MustCompile(`/version$`), regexp.MustCompile(`^(mosquitto|checkbus) version \d+\.\d+\.\d+$`)},
		{regexp.MustCompile(`/uptime$`), regexp.MustCompile(`^\d+ seconds$`)},
		{regexp.MustCompile(`/load/`), regexp.MustCompile(`^\d+\.\d\d$`)},
		{regexp.MustCompile(``), regexp.MustCompile(`^\d+$`)},
	}
	for topic := range theirs {
		for _, f := range formats {
			if !f.topic.MatchString(topic) {
				continue
			}
			if !f.value.MatchString(said[topic]) || !f.value.MatchString(theirs[topic]) {
				t.Errorf("%s is %q, Mosquitto's %q", topic, said[topic], theirs[topic])
			}
			break
		}
	}
	numbers, want := ours.corrected(said), mosquitto.corrected(theirs)
	// Mosquitto leaves out those that are to be retained or have QoS 2: it masks
	// their bits with 0xF5 (packet__read in its lib/packet_mosq.c).
	want["$SYS/broker/publish/messages/received"] += 2
	for _, topic := range []string{"retained messages/count", "messages/stored", "store/messages/count"} {
		want["$SYS/broker/"+topic] += len(own(Stats{}))
	}
	for topic, want := range want {
		if got := numbers[topic]; got != want && !undetermined.MatchString(topic) {
			t.Errorf("%s is %d, Mosquitto's %d", topic, got, want)
		}
	}
}

func TestSysKeepsTheQualityOfServiceOfMosquitto(t *testing.T) {
	for name, addr := range map[string]string{
		"mosquitto": realtest.StartMosquitto(t, "sys_interval 1").Addr,
		"checkbus":  start(t, everySecond).addr,
	} {
		t.Run(name, func(t *testing.T) {
			c := mqtttest.Dial(t, addr, mqtttest.Options{ID: "careful"})
			c.Send(subscription("$SYS/broker/uptime", 2))
			p, err := c.Read()
			for err == nil && p.Type() != mqtttest.PUBLISH {
				p, err = c.Read()
			}
			if err != nil || p.QoS() != 2 {
				t.Errorf("QoS %d, %v", p.QoS(), err)
			}
		})
	}
}

func TestOnlyFiltersThatNameSysGetIt(t *testing.T) {
	g := start(t, everySecond)
	watcher := g.dial(mqtttest.Options{ID: "watcher"})
	watcher.Send(subscription("$SYS/+/uptime", 0))
	var others []*mqtttest.Client
	for _, filter := range []string{"#", "+/#", "+/broker/uptime", "$share/g/#", "$share/g/+/broker/uptime"} {
		others = append(others, g.subscriber(filter))
	}
	for seen := map[string]bool{}; len(seen) < 2; {
		if p, err := watcher.Read(); err != nil {
			t.Fatal(err)
		} else if p.Type() == mqtttest.PUBLISH {
			seen[p.Payload()] = true
		}
	}
	for _, c := range others {
		g.nothingMore(c)
	}
}

func TestSysPublishesOnlyWhatChanged(t *testing.T) {
	g := start(t)
	c := g.subscriber("$SYS/broker/+/+")
	now := time.Now()
	s := newSys(g.Broker, now)
	s.update(now)
	topics := map[string]int{}
	for range 4 { // of totals alone, every one that is new
		s.update(now)
	}
	g.tell("end", "")
	for p := c.Next(mqtttest.PUBLISH); p.Topic() != "end"; p = c.Next(mqtttest.PUBLISH) {
		topics[p.Topic()]++
	}
	for _, still := range []string{"clients/total", "clients/expired", "subscriptions/count", "shared_subscriptions/count"} {
		if n := topics[sysRoot+still]; n != 1 {
			t.Errorf("%s was published %d times", still, n)
		}
	}
}

func TestMostSessionsAndExpiredOnesAreCounted(t *testing.T) {
	g := start(t)
	never := g.dial(mqtttest.Options{ID: "never", V5: true})
	leave(never)
	g.dial(mqtttest.Options{ID: "stays"})
	leave(g.dial(mqtttest.Options{ID: "away", V5: true, Properties: []byte{17, 0, 0, 0, 1}})) // session expiry: 1 s
	eventually(t, "the session is expired", func() bool { return g.Stats().Expired == 1 })
	st := g.Stats()
	if st.Sessions != 1 || st.MostSessions != 2 || st.Sockets != 3 || st.Connects != 3 {
		t.Errorf("stats: %+v", st)
	}
}

func TestStoredBytesFollowRetainedMessages(t *testing.T) {
	g := start(t)
	tests := []struct {
		topic, payload string
		want           Stats
	}{
		{"a", "12345", Stats{Retained: 1, Stored: 1, StoredBytes: 5}},
		{"b", "123", Stats{Retained: 2, Stored: 2, StoredBytes: 8}},
		{"a", "1", Stats{Retained: 2, Stored: 2, StoredBytes: 4}},
		{"b", "", Stats{Retained: 1, Stored: 1, StoredBytes: 1}},
		{"b", "", Stats{Retained: 1, Stored: 1, StoredBytes: 1}},
	}
	for _, tt := range tests {
		g.tellRetained(tt.topic, tt.payload)
		st := g.Stats()
		if got := (Stats{Retained: st.Retained, Stored: st.Stored, StoredBytes: st.StoredBytes}); got != tt.want {
			t.Errorf("after %s=%q: %+v, want %+v", tt.topic, tt.payload, got, tt.want)
		}
	}
}

func TestPayloadSize(t *testing.T) {
	for name, m := range map[string]mqtttest.Message{
		"empty":      {Topic: "a"},
		"short":      {Topic: "a/b", Payload: "12345"},
		"qos":        {Topic: "a/b", Payload: "12345", QoS: 1, ID: 7},
		"properties": {Topic: "a/b", Payload: "12345", QoS: 2, ID: 7, Properties: []byte{1, 1}},
		"long":       {Topic: strings.Repeat("a", 500), Payload: strings.Repeat("x", 100_000)},
	} {
		for version, v5 := range versions {
			packet := m.Encode(v5)
			if got := payloadSize(packet, v5); got != len(m.Payload) {
				t.Errorf("%s, %s: %d bytes, want %d", name, version, got, len(m.Payload))
			}
			for cut := range min(len(packet), 20) {
				payloadSize(packet[:cut+1], v5) // must not panic
			}
		}
	}
}
