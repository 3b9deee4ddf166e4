package broker

import (
	"context"
	"slices"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/mochi-mqtt/server/v2/packets"
)

// outsideName stands for the publisher of what comes from an outside broker,
// which does not tell who that was.
const outsideName = "subscribe"

const (
	// readPatience is how long the outside broker's messages may wait to be read,
	// which is less than its keepalive allows.
	readPatience = 5 * time.Second
	// The pauses before a result is offered again that could not be stored.
	leastRetry = 20 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// A foreign is a message from an outside broker on its way through the gateway.
type foreign struct {
	message Message
	mark    uint64
	ack     func() // by the connection that it came on last
	state   foreignState
	answer  answer
}

type foreignState uint8

const (
	isNew     foreignState = iota // to be offered to accept
	isOffered                     // accept has it
	isSettled                     // it can be acknowledged
)

// An intake holds what came from an outside broker and is not acknowledged
// there, in order of arrival. What cannot be stored stays, and is offered to
// accept again; the broker keeps it as well, until it is acknowledged.
type intake struct {
	mu       sync.Mutex
	queue    []*foreign
	bytes    int                 // of payloads in queue
	open     map[uint16]*foreign // those in queue of this session, by packet identifier
	lately   ring                // acknowledged lately in this session
	offered  int                 // how many in queue accept has
	failing  bool                // nothing can be stored
	probing  bool                // accept has one to try whether that is over
	pause    time.Duration       // the latest before an offer while failing
	notUntil time.Time           // the end of pause
	closed   bool                // nothing more is taken and offered

	room chan struct{} // has an element when queue shrank
	work chan struct{} // has an element when there may be something to do
}

func newIntake() *intake {
	return &intake{open: map[uint16]*foreign{}, room: make(chan struct{}, 1), work: make(chan struct{}, 1)}
}

// isClosed reports whether c, on which nothing is sent, is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// signal puts an element into a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait blocks until there is room for a payload of size bytes, or for readPatience,
// and reports whether there is: not when lost is closed.
func (t *intake) wait(size int, lost <-chan struct{}) bool {
	if t.fits(size) {
		return true
	}
	timeout := time.NewTimer(readPatience)
	defer timeout.Stop()
	for !t.fits(size) {
		if isClosed(lost) {
			return false // and leaves room to ready
		}
		select {
		case <-t.room:
		case <-timeout.C:
			return false
		case <-lost:
			return false
		}
	}
	return true
}

// fits reports whether there is room for a payload of size bytes; the bounds are
// those of the gateway's own clients.
func (t *intake) fits(size int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) < receiveMaximum && (t.bytes == 0 || t.bytes+size <= heldBytes)
}

// ready waits until there is room for many, and reports whether there is: not
// when ctx has ended.
func (t *intake) ready(ctx context.Context) bool {
	for {
		t.mu.Lock()
		room := len(t.queue) <= receiveMaximum/2 && t.bytes <= heldBytes/2
		t.mu.Unlock()
		if room {
			return ctx.Err() == nil
		}
		select {
		case <-t.room:
		case <-ctx.Done():
			return false
		}
	}
}

// renew begins a session in which the broker knows nothing of those before.
func (t *intake) renew() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.open)
	t.lately = ring{}
}

// take gives f its place in the queue, unless the intake or lost is closed: the
// next connection may have brought f already. again says that f was taken before,
// and is only to be acknowledged.
func (t *intake) take(f *foreign, lost <-chan struct{}) (again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || isClosed(lost) {
		return false
	}
	id := f.message.PacketID
	if first := t.open[id]; f.message.Dup && first != nil && first.mark == f.mark {
		first.ack = f.ack
		return true
	}
	if f.message.Dup && t.lately.has(f.mark) {
		f.state, again = isSettled, true
	}
	if f.message.QoS > 0 {
		t.open[id] = f
	}
	t.queue = append(t.queue, f)
	t.bytes += len(f.message.Payload)
	signal(t.work)
	return again
}

// due returns what to offer now, or how long to wait where nothing else
// happens; over is that the intake is closed and accept has nothing. While
// nothing can be stored only the oldest is offered, and not before all that were
// offered are back, so that they are stored in their order.
func (t *intake) due(now time.Time) (offers []*foreign, wait time.Duration, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Hour
	switch pause := t.notUntil.Sub(now); {
	case t.closed:
		return nil, wait, t.offered == 0
	case t.failing && t.offered > 0:
		return nil, wait, false
	case t.failing && pause > 0:
		return nil, pause, false
	}
	for _, f := range t.queue {
		if f.state != isNew {
			continue
		}
		f.state = isOffered
		t.offered++
		offers = append(offers, f)
		if t.failing {
			t.probing = true
			break
		}
	}
	return offers, wait, false
}

// verdict takes accept's verdict on f. began and ended tell of the time in which
// nothing can be stored.
func (t *intake) verdict(f *foreign, err error, now time.Time) (began, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offered--
	f.answer, f.state = answerTo(err, 4), isSettled
	failed := f.answer.hangUp
	switch {
	case failed:
		if f.message.QoS > 0 {
			f.state = isNew
		}
		if t.probing || !t.failing {
			t.pause = min(max(2*t.pause, leastRetry), mostRetry)
			t.notUntil = now.Add(t.pause)
		}
		began, t.failing = !t.failing, true
	case t.probing:
		ended, t.failing, t.pause = true, false, 0
	}
	t.probing = false
	signal(t.work)
	return began, ended
}

// settled returns those at the head of the queue that can be acknowledged now.
func (t *intake) settled() []*foreign {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.queue) && t.queue[n].state == isSettled {
		f := t.queue[n]
		t.bytes -= len(f.message.Payload)
		if id := f.message.PacketID; t.open[id] == f {
			delete(t.open, id)
			t.lately.add(f.mark)
		}
		n++
	}
	if n == 0 {
		return nil
	}
	head := slices.Clone(t.queue[:n])
	t.queue = slices.Delete(t.queue, 0, n)
	signal(t.room)
	return head
}

// close ends taking and offering.
func (t *intake) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	signal(t.work)
}

// held is how many messages are not acknowledged.
func (t *intake) held() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}

// newForeign prepares m, which its connection is to acknowledge.
func newForeign(m paho.Message) *foreign {
	f := &foreign{ack: m.Ack, message: Message{
		Topic: m.Topic(), Payload: m.Payload(), Client: outsideName, QoS: m.Qos(), PacketID: m.MessageID(),
		Dup: m.Duplicate(), Held: m.Qos() > 0,
	}}
	f.mark = mark(f.packet())
	return f
}

// packet is f as it goes on to the gateway's own subscribers.
func (f *foreign) packet() *packets.Packet {
	return &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: f.message.QoS},
		TopicName:   f.message.Topic,
		PacketID:    f.message.PacketID,
		Payload:     f.message.Payload,
	}
}
