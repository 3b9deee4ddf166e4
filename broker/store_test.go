package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// onDisk keeps sessions in dir.
func onDisk(dir string) func(*Config) { return func(c *Config) { c.Dir = dir } }

// crash runs another gateway on what a crash of this one at this moment would
// leave on the disk.
func (g *gateway) crash(adapt ...func(*Config)) *gateway {
	g.t.Helper()
	for {
		dir, before := g.t.TempDir(), g.manifests()
		err := os.CopyFS(dir, os.DirFS(g.cfg.Dir))
		switch {
		case g.manifests() != before, errors.Is(err, fs.ErrNotExist):
			// The engine has other files now: the copy is not of one moment.
		case err != nil:
			g.t.Fatal(err)
		default:
			return start(g.t, append(adapt, onDisk(dir))...)
		}
	}
}

// manifests tells the files in which the engine lists its others, with their sizes.
func (g *gateway) manifests() string {
	g.t.Helper()
	files, err := filepath.Glob(filepath.Join(g.cfg.Dir, "db", "MANIFEST-*"))
	if err != nil {
		g.t.Fatal(err)
	}
	var b strings.Builder
	for _, file := range files {
		if fi, err := os.Stat(file); err == nil {
			fmt.Fprintln(&b, fi.Name(), fi.Size())
		}
	}
	return b.String()
}

// restart ends the gateway and runs another in its place.
func (g *gateway) restart(adapt ...func(*Config)) *gateway {
	g.t.Helper()
	g.stop()
	return start(g.t, append(adapt, onDisk(g.cfg.Dir))...)
}

// written waits until all that was to be written is.
func (g *gateway) written() {
	g.t.Helper()
	if err := g.store.flush(nil); err != nil {
		g.t.Fatal(err)
	}
}

// publish publishes messages at QoS 1, each acknowledged before the next.
func (g *gateway) publish(topic string, payloads ...string) {
	g.t.Helper()
	c := g.dial(mqtttest.Options{ID: "publisher"})
	for i, payload := range payloads {
		c.Publish(mqtttest.Message{Topic: topic, Payload: payload, QoS: 1, ID: uint16(i + 1)})
		c.Acked(mqtttest.PUBACK, uint16(i+1))
	}
	c.Disconnect()
}

// numbers are n payloads, from the first on.
func numbers(first, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(first + i)
	}
	return list
}

// expect reads messages, acknowledges them, and compares them with payloads.
func expect(t *testing.T, c *mqtttest.Client, dup bool, payloads ...string) {
	t.Helper()
	for _, want := range payloads {
		p := c.Next(mqtttest.PUBLISH)
		if p.Payload() != want || p.Dup() != dup {
			t.Fatalf("got %v, DUP %t; want %q, %t", p, p.Dup(), want, dup)
		}
		c.Ack(mqtttest.PUBACK, p.ID())
	}
}

func TestSessionSurvivesARestart(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.leave("sub", "a/#")
			sub := g.dial(persistent("sub", v5))
			sub.Subscribe("a/#", 2)
			sub.Disconnect()
			g.allAway()
			g.publish("a/b", numbers(0, 100)...)
			before := g.Stats()
			g = g.restart()
			if after := g.Stats(); after.Stored != before.Stored || after.StoredBytes != before.StoredBytes ||
				after.Sessions != 1 || after.Subscriptions != before.Subscriptions || after.Stored != 100 {
				t.Errorf("after: %+v\nbefore: %+v", after, before)
			}
			sub = g.dial(persistent("sub", v5))
			if !sub.Connack.SessionPresent() {
				t.Error("the session is not present")
			}
			expect(t, sub, false, numbers(0, 100)...)
			eventually(t, "nothing waits", func() bool { return g.Stats().Stored == 0 && g.store.size() == 0 })
			g.tell("a/b", "more")
			expect(t, sub, false, "more")
			sub.Disconnect()
			g.allAway()
			g = g.restart()
			sub = g.dial(persistent("sub", v5))
			sub.Subscribe("end", 0)
			g.nothingMore(sub)
		})
	}
}

func TestWhatIsAcknowledgedSurvivesACrash(t *testing.T) {
	g := start(t)
	g.leave("sub", "a/#")
	g.publish("a/b", numbers(0, 50)...)
	g.publish("nagios/web1", "a result") // nobody's
	g = g.crash()
	sub := g.dial(persistent("sub", true))
	for range 50 {
		sub.Next(mqtttest.PUBLISH)
	}
	g = g.crash() // what was sent and not acknowledged is sent again
	sub = g.dial(persistent("sub", true))
	expect(t, sub, true, numbers(0, 50)...)
	sub.Ping()
	eventually(t, "nothing waits", func() bool { return g.store.size() == 0 })
	g.written()
	g = g.crash()
	sub = g.dial(persistent("sub", true))
	if !sub.Connack.SessionPresent() {
		t.Error("the session is not present")
	}
	sub.Subscribe("end", 0)
	g.nothingMore(sub)
}

func TestQoS2IsDeliveredOnceWhereverACrashComes(t *testing.T) {
	for name, v5 := range versions {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			sub := g.dial(persistent("sub", v5))
			sub.Subscribe("a", 2)
			pub := g.dial(persistent("pub", v5))
			m := mqtttest.Message{Topic: "a", Payload: "one", QoS: 2, ID: 7}
			pub.Publish(m)
			pub.Acked(mqtttest.PUBREC, 7)
			id := sub.Next(mqtttest.PUBLISH).ID()

			g = g.crash() // before PUBREL and PUBREC
			pub = g.dial(persistent("pub", v5))
			m.Dup = true
			pub.Publish(m)
			pub.Acked(mqtttest.PUBREC, 7)
			sub = g.dial(persistent("sub", v5))
			if p := sub.Next(mqtttest.PUBLISH); p.ID() != id || !p.Dup() {
				t.Fatalf("got %v with identifier %d, DUP %t; want %d again", p, p.ID(), p.Dup(), id)
			}
			sub.Ping()
			sub.Ack(mqtttest.PUBREC, id)
			sub.Acked(mqtttest.PUBREL, id)
			pub.Ack(mqtttest.PUBREL, 7)
			pub.Acked(mqtttest.PUBCOMP, 7)

			g = g.crash() // before PUBCOMP
			sub = g.dial(persistent("sub", v5))
			sub.Acked(mqtttest.PUBREL, id)
			sub.Ack(mqtttest.PUBCOMP, id)
			sub.Ping()
			g.written()

			g = g.crash() // all is over, and the identifier is free for an equal message
			sub = g.dial(persistent("sub", v5))
			sub.Ping()
			pub = g.dial(persistent("pub", v5))
			m.Dup = false
			pub.Publish(m)
			pub.Acked(mqtttest.PUBREC, 7)
			sub.Next(mqtttest.PUBLISH)
			sub.Ping()
		})
	}
}

func TestRetainedMessagesOfClientsSurviveACrash(t *testing.T) {
	g := start(t)
	g.tellRetained("checkbus/status", "online")
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	properties := append([]byte{3}, mqtttest.Str("text/plain")...)
	c.Publish(
		mqtttest.Message{Topic: "a/kept", Payload: "kept", QoS: 1, ID: 1, Retain: true, Properties: properties},
		mqtttest.Message{Topic: "a/gone", Payload: "gone", QoS: 1, ID: 2, Retain: true},
		mqtttest.Message{Topic: "a/gone", QoS: 1, ID: 3, Retain: true},
		mqtttest.Message{Topic: "a/old", Payload: "old", QoS: 1, ID: 4, Retain: true, Properties: []byte{2, 0, 0, 0, 1}},
		mqtttest.Message{Topic: "a/new", Payload: "new", QoS: 1, ID: 5, Retain: true, Properties: []byte{2, 0, 0, 1, 0}},
	)
	for id := range uint16(5) {
		c.Acked(mqtttest.PUBACK, id+1)
	}
	secondPasses(t)
	g = g.crash()
	sub := g.dial(mqtttest.Options{ID: "sub", V5: true})
	sub.Subscribe("end", 0)
	sub.Subscribe("#", 0)
	got := map[string]string{}
	for range 2 {
		p := sub.Next(mqtttest.PUBLISH)
		got[p.Topic()] = p.Payload() + " " + string(p.Properties()[:1])
	}
	g.nothingMore(sub)
	if got["a/kept"] != "kept \x03" || got["a/new"] != "new \x02" {
		t.Errorf("got %q", got)
	}
	if s := g.Stats(); s.Retained != 2 || s.Stored != 2 || s.StoredBytes != 7 {
		t.Errorf("%d retained, %d stored with %d bytes", s.Retained, s.Stored, s.StoredBytes)
	}
}

func TestSubscriptionsSurviveACrashWithTheirOptions(t *testing.T) {
	g := start(t)
	c := g.dial(persistent("c", true))
	c.Subscribe("a", 1|4)   // no local
	c.Subscribe("b", 1|8)   // retain as published
	c.Subscribe("gone", 1)  // until
	c.Subscribe("c/+", 0x1) // and none of what is retained
	c.Send(mqtttest.Encode(mqtttest.UNSUBSCRIBE<<4|2, append([]byte{0, 5, 0}, mqtttest.Str("gone")...)))
	c.Next(mqtttest.UNSUBACK)
	c.Send(mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, append(append([]byte{0, 6, 2, 0x0b, 9}, mqtttest.Str("d")...), 1)))
	c.Next(mqtttest.SUBACK)
	g = g.crash()
	c = g.dial(persistent("c", true))
	other := g.dial(mqtttest.Options{ID: "other", V5: true})
	c.Publish(mqtttest.Message{Topic: "a", Payload: "own", QoS: 1, ID: 1})
	c.Acked(mqtttest.PUBACK, 1)
	for i, topic := range []string{"gone", "a", "b", "c/x", "d"} {
		other.Publish(mqtttest.Message{Topic: topic, Payload: topic, QoS: 1, ID: uint16(i + 1), Retain: topic == "b"})
		other.Acked(mqtttest.PUBACK, uint16(i+1))
	}
	for _, want := range []string{"a", "b", "c/x", "d"} {
		p := c.Next(mqtttest.PUBLISH)
		if p.Payload() != want || p.Retain() != (want == "b") || want == "d" && string(p.Properties()) != "\x0b\x09" {
			t.Errorf("got %v, retain %t, properties %x; want %s", p, p.Retain(), p.Properties(), want)
		}
	}
}

func TestSessionExpiryGoesOnWhileTheGatewayIsDown(t *testing.T) {
	g := start(t)
	for id, seconds := range map[string]byte{"short": 1, "long": 100} {
		c := g.dial(mqtttest.Options{ID: id, V5: true, Properties: []byte{0x11, 0, 0, 0, seconds}})
		c.Subscribe("a", 1)
		c.Disconnect()
	}
	g.allAway()
	g.stop()
	before := g.Stats().Expired // on a slow machine
	g = g.restart()
	eventually(t, "the short session is over", func() bool { return g.Stats().Sessions == 1 && before+g.Stats().Expired == 1 })
	if g.dial(mqtttest.Options{ID: "short", V5: true, Persistent: true}).Connack.SessionPresent() {
		t.Error("the session that is over is present")
	}
	if !g.dial(mqtttest.Options{ID: "long", V5: true, Persistent: true}).Connack.SessionPresent() {
		t.Error("the other is not")
	}
}

func TestQueueMayBeLongerThanMemory(t *testing.T) {
	const n = outboxMessages * 5 / 4
	g := start(t)
	g.leave("sub", "a")
	c := g.dial(mqtttest.Options{ID: "p"})
	go func() {
		for i := range n {
			c.Publish(mqtttest.Message{Topic: "a", Payload: fmt.Sprint(i), QoS: 1, ID: uint16(i%1000 + 1)})
		}
	}()
	for i := range n {
		c.Acked(mqtttest.PUBACK, uint16(i%1000+1))
	}
	for name, maximum := range map[string][]byte{"a small window": {0x21, 0, 10}, "any window": nil} {
		t.Run(name, func(t *testing.T) {
			g := g.crash()
			o := persistent("sub", true)
			o.Properties = append(o.Properties, maximum...)
			sub := g.dial(o)
			for i := range n {
				p := sub.Next(mqtttest.PUBLISH)
				if p.Payload() != fmt.Sprint(i) || p.Dup() {
					t.Fatalf("message %d is %v, DUP %t", i, p, p.Dup())
				}
				if i == n/2 {
					g.tell("a", "last")
				}
				if used := g.outboxes.Load(); used > outboxBytes+feedBytes {
					t.Fatalf("%d bytes of memory", used)
				}
				sub.Ack(mqtttest.PUBACK, p.ID())
			}
			expect(t, sub, false, "last")
			eventually(t, "nothing waits", func() bool { return g.store.size() == 0 })
		})
	}
}

func TestOldestOfALongQueueAreDropped(t *testing.T) {
	tests := map[string]func(*Config){
		"messages": func(c *Config) { c.Queue.Messages = 100 },
		"bytes":    func(c *Config) { c.Queue.Bytes = leastStored },
		"in all":   func(c *Config) { c.MaxStored = leastStored },
		"its own": func(c *Config) {
			c.Queue.Messages = 1
			c.Queues = map[string]Queue{"sub": {100, leastStored}}
		},
	}
	padding := strings.Repeat("x", leastStored/110)
	for name, limit := range tests {
		t.Run(name, func(t *testing.T) {
			g := start(t, limit)
			g.leave("sub", "a")
			payloads := numbers(0, 300)
			for i := range payloads {
				payloads[i] += " " + padding
			}
			g.publish("a", payloads...)
			g.written()
			g.written()
			kept := int(g.Stats().Stored)
			if kept < 80 || kept > 110 {
				t.Fatalf("%d are kept", kept)
			}
			if s := g.Stats(); s.InflightDropped != int64(300-kept) || strings.Count(g.log.String(), "too many wait") != 1 {
				t.Errorf("%d counted as dropped, want %d; log:\n%s", s.InflightDropped, 300-kept, g.log)
			}
			g = g.crash(limit)
			expect(t, g.dial(persistent("sub", true)), false, payloads[300-kept:]...)
		})
	}
}

func TestExpiredMessagesAreNotDelivered(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	c := g.dial(mqtttest.Options{ID: "c", V5: true})
	c.Publish(
		mqtttest.Message{Topic: "a", Payload: "old", QoS: 1, ID: 1, Properties: []byte{2, 0, 0, 0, 1}},
		mqtttest.Message{Topic: "a", Payload: "new", QoS: 1, ID: 2, Properties: []byte{2, 0, 0, 1, 0}},
	)
	c.Acked(mqtttest.PUBACK, 1)
	c.Acked(mqtttest.PUBACK, 2)
	g.stop()
	secondPasses(t)
	g = g.restart()
	expect(t, g.dial(persistent("sub", true)), false, "new")
	eventually(t, "nothing waits", func() bool { return g.store.size() == 0 })
}

func TestDelayedWillSurvivesACrash(t *testing.T) {
	g := start(t)
	o := persistent("c", true)
	// Retained, as its delay may be over before there is a subscriber.
	o.Will = &mqtttest.Message{Topic: "gone", Payload: "bye", QoS: 1, Retain: true, Properties: []byte{0x18, 0, 0, 0, 2}}
	_ = g.dial(o).Close()
	g.allAway()
	g.written()
	g = g.crash()
	sub := g.subscriber("gone")
	if p := sub.Next(mqtttest.PUBLISH); p.Payload() != "bye" {
		t.Errorf("got %v", p)
	}
	eventually(t, "it is off the disk", func() bool {
		g.written()
		again := g.crash()
		defer again.stop()
		again.Broker.mu.Lock()
		defer again.Broker.mu.Unlock()
		return again.sessions["c"].will == nil
	})
}

func TestDamagedStoreIsAnErrorThatSaysWhatToDo(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	g.publish("a", numbers(0, 10)...)
	g.stop()
	for name, damage := range map[string]func(dir string) error{
		"MANIFEST missing": func(dir string) error {
			found, _ := filepath.Glob(filepath.Join(dir, "db", "MANIFEST-*"))
			return os.Remove(found[len(found)-1])
		},
		"main part missing": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "db")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(g.cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			cfg := Default()
			cfg.Listeners[0].Address, cfg.Dir = "127.0.0.1:0", dir
			b, err := New(cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Listen(); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("Listen: %v", err)
			}
		})
	}
}

func TestSessionOfAnotherUserIsGoneFromTheDiskToo(t *testing.T) {
	passwords := secured(t, "")
	g := start(t, passwords)
	dial := func(user string) *mqtttest.Client {
		o := persistent("shared", true)
		password := strings.Replace(user, "web", "secret", 1)
		o.User, o.Password = user, &password
		return g.dial(o)
	}
	one := dial("web1")
	one.Subscribe("checkbus/#", 1)
	one.Disconnect()
	g.allAway()
	g.tell("checkbus/status", "for web1")
	g = g.crash(passwords)
	two := dial("web2")
	if two.Connack.SessionPresent() {
		t.Error("web2 has web1's session")
	}
	two.Subscribe("end", 0)
	g.nothingMore(two)
	eventually(t, "its messages are gone", func() bool { return g.store.size() == 0 })
	g.written()
	g = g.crash(passwords)
	if g.Stats().Stored != 0 {
		t.Error("they come back after a crash")
	}
}
