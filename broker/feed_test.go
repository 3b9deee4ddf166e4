package broker

import (
	"fmt"
	"strings"
	"testing"

	"checkbus/internal/mqtttest"
)

// outboxOf is what waits for a client, or nil.
func (g *gateway) outboxOf(id string) *outbox {
	g.Broker.mu.Lock()
	defer g.Broker.mu.Unlock()
	if s := g.sessions[id]; s != nil {
		return &s.out
	}
	return nil
}

// oneByOne are options of a client that takes one message at a time.
func oneByOne(id string) mqtttest.Options {
	o := persistent(id, true)
	o.Properties = append(o.Properties, 0x21, 0, 1)
	return o
}

func TestWhatIsDroppedWhileItIsReadIsNotSent(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	g.leave("other", "a")
	g.publish("a", numbers(0, 20)...)
	sub := g.dial(oneByOne("sub"))
	first := sub.Next(mqtttest.PUBLISH)
	o := g.outboxOf("sub")
	eventually(t, "all is read", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.waiting) == 19 && !o.feeding
	})

	o.mu.Lock()
	o.shorten(0)
	session, after, upTo := o.number(), o.read, o.arrived
	o.mu.Unlock()
	p, err := g.store.deliveries(session, after, upTo)
	if err != nil || len(p.found) != 19 {
		t.Fatalf("read %d, %v", len(p.found), err)
	}
	w := &edit{}
	if err := o.trim(w, Queue{Messages: 6, Bytes: leastStored}); err != nil {
		t.Fatal(err)
	}
	g.store.submit(w, true)
	o.mu.Lock()
	o.take(p)
	o.mu.Unlock()

	sub.Ack(mqtttest.PUBACK, first.ID())
	expect(t, sub, false, numbers(15, 5)...)
	expect(t, g.dial(persistent("other", true)), false, numbers(0, 20)...)
	eventually(t, "nothing waits", func() bool { return g.Stats().Stored == 0 && g.store.size() == 0 })
}

// What follows a commit may come late: what it is about may have been read from the
// disk by then, by a client that has come back, and dropped.
func TestWhatWasDroppedDoesNotComeBack(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	g.leave("other", "a")
	g.publish("a", "0")
	late := make(chan struct{})
	g.finisher.add(task{run: func() { <-late }})
	o := g.outboxOf("sub")
	var messages []mqtttest.Message
	for i, payload := range numbers(1, 20) {
		messages = append(messages, mqtttest.Message{Topic: "a", Payload: payload, QoS: 1, ID: uint16(i + 1)})
	}
	pub := g.dial(mqtttest.Options{ID: "pub"})
	pub.Publish(messages...)
	eventually(t, "all are on their way", func() bool { return o.load.Load() == 21 })
	sub := g.dial(oneByOne("sub"))
	eventually(t, "all are read", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.waiting) == 20 && !o.feeding
	})

	o.mu.Lock()
	o.shorten(0)
	o.mu.Unlock()
	w := &edit{}
	if err := o.trim(w, Queue{Messages: 6, Bytes: leastStored}); err != nil {
		t.Fatal(err)
	}
	g.store.submit(w, true)
	close(late)
	for _, m := range messages {
		pub.Acked(mqtttest.PUBACK, m.ID)
	}
	expect(t, sub, false, append([]string{"0"}, numbers(16, 5)...)...)
	expect(t, g.dial(persistent("other", true)), false, numbers(0, 21)...)
	eventually(t, "nothing waits", func() bool { return g.Stats().Stored == 0 && g.store.size() == 0 })
}

// A crash may come after the message is gone from the disk, and before that this
// session has it.
func TestDeliveryWithoutItsMessageIsSettled(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	g.publish("a", numbers(0, 3)...)
	w := &edit{}
	w.delete(numberKey(messagePrefix, 2))
	g.store.submit(w, true)
	g = g.restart()
	expect(t, g.dial(persistent("sub", true)), false, "0", "2")
	eventually(t, "nothing waits", func() bool {
		s := g.Stats()
		return s.Stored == 0 && s.StoredBytes == 0 && g.store.size() == 0
	})
}

func TestReadingGoesOnAfterAFailure(t *testing.T) {
	g := start(t)
	g.leave("sub", "a")
	g.publish("a", numbers(0, 3)...)
	key := numberKey(messagePrefix, 2)
	good, err := g.store.db.Value(key)
	if err != nil {
		t.Fatal(err)
	}
	set := func(value []byte) {
		w := &edit{}
		w.set(key, value)
		g.store.submit(w, true)
		g.written()
	}
	set(nil)
	sub := g.dial(persistent("sub", true))
	eventually(t, "it is logged", func() bool { return strings.Contains(g.log.String(), "cannot read") })
	set(good)
	expect(t, sub, false, numbers(0, 3)...)
}

func TestMessageTooLargeForItsSubscriberGivesWay(t *testing.T) {
	for name, kept := range map[string]func(*Config){"on disk": func(*Config) {}, "in memory": inMemory} {
		t.Run(name, func(t *testing.T) {
			g := start(t, kept)
			g.leave("sub", "a")
			large := fmt.Sprintf("%0200d", 0)
			for _, payload := range []string{large, "1", large, large, "2"} {
				g.tell("a", payload)
			}
			o := oneByOne("sub")
			o.Properties = append(o.Properties, 0x27, 0, 0, 0, 100)
			sub := g.dial(o)
			expect(t, sub, false, "1", "2")
			sub.Subscribe("a", 1)
			g.tell("a", large)
			g.tell("a", "3")
			expect(t, sub, false, "3")
		})
	}
}
