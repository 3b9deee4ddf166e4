package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"checkbus/internal/mqtttest"
)

// number is the number in a payload, or -1.
func number(payload string) int64 {
	text, _, _ := strings.Cut(payload, " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// connect opens a connection to a gateway, and sends a CONNECT; nil when it is not
// let in.
func (s *storm) connect(g *gateway, o mqtttest.Options) *mqtttest.Client {
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		return nil
	}
	c := mqtttest.Over(s.t, nc, o)
	if _, err = c.Write(o.Encode()); err == nil {
		c.Connack, err = c.Read()
	}
	if err != nil || c.Connack.Type() != mqtttest.CONNACK || c.Connack.Code() != 0 {
		_ = c.Close()
		s.noHang(o.ID, err)
		return nil
	}
	return c
}

// noHang reports a connection on which nothing came for too long.
func (s *storm) noHang(id string, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.errorf("%s waits for the gateway in vain", id)
	}
}

// isCalm reports whether the storm is over.
func (s *storm) isCalm() bool {
	select {
	case <-s.calm:
		return true
	default:
		return s.failed.Load()
	}
}

// A publisher sends on three topics, one for each QoS, and on one with the retain
// flag, until the storm is over. It has a session, and sends again what was not
// acknowledged.
type publisher struct {
	*storm
	options mqtttest.Options
	r       *rand.Rand
	streams []*stream
	lastID  uint16
	unacked []*sending
	refused map[uint16]bool // with QoS 2, by packet identifier
	conn    *mqtttest.Client
	to      *gateway // of conn
}

// A sending is a message that waits for its acknowledgement.
type sending struct {
	mqtttest.Message
	stream   *stream
	n        int64
	to       *gateway // at first
	received bool     // PUBREC came
}

func newPublisher(s *storm, i int, r *rand.Rand) *publisher {
	p := &publisher{storm: s, options: persistent(fmt.Sprint("publisher", i), i%2 == 0), r: r, refused: map[uint16]bool{}}
	for _, name := range []string{"plain/%d/0", "plain/%d/1", "plain/%d/2", "kept/%d/1", "kept/%d/2"} {
		qos := name[len(name)-1] - '0'
		p.streams = append(p.streams, &stream{topic: fmt.Sprintf(name, i), qos: qos, fate: map[int64]bool{}, late: map[int64]bool{}, again: map[int64]bool{}})
	}
	s.streams = append(s.streams, p.streams...)
	return p
}

func (p *publisher) run() {
	for !p.isCalm() || len(p.unacked) > 0 && !p.failed.Load() {
		old := p.conn
		p.to = p.at()
		if p.conn = p.connect(p.to, p.options); p.conn != nil {
			p.resend()
			err := p.converse()
			p.noHang(p.options.ID, err)
		}
		if old != nil {
			_ = old.Close()
		}
		if p.conn != nil && p.r.IntN(3) > 0 {
			_ = p.conn.Close() // else the next connection takes over
		}
	}
	if p.conn != nil {
		_ = p.conn.Close()
	}
}

func (p *publisher) write(b []byte) { _, _ = p.conn.Write(b) } // reading finds an error

// resend sends what is not acknowledged again, in order.
func (p *publisher) resend() {
	for _, m := range p.unacked {
		if m.received {
			p.ack(mqtttest.PUBREL, m.ID)
			continue
		}
		m.Dup = true
		m.stream.mu.Lock()
		if p.options.V5 && p.broke.Load() {
			m.stream.late[m.n] = true
		}
		if m.to != p.to {
			m.stream.again[m.n] = true
		}
		m.stream.mu.Unlock()
		p.write(m.Encode(p.options.V5))
	}
}

func (p *publisher) ack(kind int, id uint16) {
	p.write(mqtttest.Encode(byte(kind<<4|2), []byte{byte(id >> 8), byte(id)}))
}

// converse publishes and reads answers, until the connection ends or is to end.
func (p *publisher) converse() error {
	for rounds := p.r.IntN(30); rounds > 0 || p.isCalm(); rounds-- {
		for burst := p.r.IntN(20); burst > 0 && len(p.unacked) < 400 && !p.isCalm(); burst-- {
			p.publish()
		}
		if p.r.IntN(10) == 0 {
			time.Sleep(time.Duration(p.r.IntN(20)) * time.Millisecond)
		}
		for enough := p.r.IntN(30); len(p.unacked) > enough || p.isCalm() && len(p.unacked) > 0; {
			if err := p.read(); err != nil {
				return err
			}
		}
		if p.isCalm() {
			return nil
		}
	}
	return nil
}

func (p *publisher) publish() {
	st := p.streams[p.r.IntN(len(p.streams))]
	n := st.next.Add(1) - 1
	padding := ""
	if p.r.IntN(20) == 0 {
		padding = strings.Repeat("x", p.r.IntN(3000))
	}
	m := &sending{stream: st, n: n, to: p.to, Message: mqtttest.Message{
		Topic: st.topic, Payload: fmt.Sprint(n, " ", padding), QoS: st.qos, Retain: strings.HasPrefix(st.topic, "kept/"),
	}}
	if st.qos > 0 {
		p.lastID = p.lastID%500 + 1
		for slices.ContainsFunc(p.unacked, func(u *sending) bool { return u.ID == p.lastID }) {
			p.lastID = p.lastID%500 + 1
		}
		m.ID = p.lastID
		if m.QoS == 2 { // with QoS 1 the identifier says nothing of it
			delete(p.refused, m.ID)
		}
		p.unacked = append(p.unacked, m)
	}
	p.write(m.Encode(p.options.V5))
}

// read takes an answer.
func (p *publisher) read() error {
	pk, err := p.conn.Read()
	if err != nil {
		return err
	}
	if pk.Type() == mqtttest.DISCONNECT {
		return net.ErrClosed
	}
	at := slices.IndexFunc(p.unacked, func(u *sending) bool { return u.ID == pk.ID() })
	if at < 0 {
		return nil
	}
	m := p.unacked[at]
	if kind := pk.Type(); kind != mqtttest.PUBCOMP && pk.Code() >= 0x80 {
		m.answered(false)
		if kind == mqtttest.PUBREC {
			p.refused[m.ID] = true
		}
	} else if kind == mqtttest.PUBREC {
		m.answered(true)
		m.received = true
		p.ack(mqtttest.PUBREL, m.ID)
		return nil
	} else if kind == mqtttest.PUBACK {
		m.answered(true)
	}
	p.unacked = slices.Delete(p.unacked, at, at+1)
	return nil
}

func (m *sending) answered(taken bool) {
	m.stream.mu.Lock()
	defer m.stream.mu.Unlock()
	m.stream.fate[m.n] = m.stream.fate[m.n] || taken
}

// A reader is a subscriber with a session, which it ends now and then in some
// storms. What it has got and what it has acknowledged outlives its connections.
type reader struct {
	*storm
	id      string
	options mqtttest.Options
	qos     byte
	ends    bool
	r       *rand.Rand
	ready   chan struct{}            // closed once it is subscribed
	holds   map[uint16]bool          // QoS 2 not released
	got     map[string]map[int64]int // by topic: numbers, how often
	newest  map[string]int64
	from    map[string]int64 // what it must get
	acks    []byte
	conn    *mqtttest.Client
}

func newReader(s *storm, i int, r *rand.Rand) *reader {
	sub := &reader{
		storm: s, id: fmt.Sprint("subscriber", i), qos: byte(1 + i%2), ends: i == 5, r: r, ready: make(chan struct{}),
		holds: map[uint16]bool{}, got: map[string]map[int64]int{}, newest: map[string]int64{}, from: map[string]int64{},
	}
	sub.options = persistent(sub.id, i%3 > 0)
	if i%3 == 1 {
		sub.options.Properties = append(sub.options.Properties, 0x21, 0, byte(1+r.IntN(20)))
	}
	return sub
}

func (sub *reader) run(over chan struct{}) {
	subscribed := false
	for {
		o := sub.options
		if subscribed && sub.ends && !sub.isCalm() && sub.r.IntN(4) == 0 {
			subscribed = false
		}
		o.Persistent = subscribed || !o.V5 // else it begins anew
		old := sub.conn
		if sub.conn = sub.connect(sub.at(), o); sub.conn != nil {
			if !subscribed {
				clear(sub.holds)
			}
			if subscribed && !sub.conn.Connack.SessionPresent() {
				sub.errorf("%s: the session is gone", sub.id)
			}
			subscribed = sub.converse(subscribed, over)
		}
		if old != nil {
			_ = old.Close()
		}
		if sub.conn != nil && sub.r.IntN(3) > 0 {
			_ = sub.conn.Close()
		}
		select {
		case <-over:
			if sub.conn != nil {
				_ = sub.conn.Close()
			}
			return
		default:
		}
	}
}

// converse subscribes and reads, until the connection ends or is to end. It
// returns whether it is subscribed.
func (sub *reader) converse(subscribed bool, over chan struct{}) bool {
	sub.acks = nil
	arriving, ended := make(chan mqtttest.Packet), make(chan struct{})
	defer close(ended)
	c := sub.conn
	go func() {
		defer close(arriving)
		for {
			p, err := c.Read()
			if err != nil {
				return
			}
			select {
			case arriving <- p:
			case <-ended:
				return
			}
		}
	}()
	if !subscribed {
		body := []byte{0, 1}
		if sub.options.V5 {
			body = append(body, 0)
		}
		for _, filter := range []string{"plain/#", "kept/#"} {
			body = append(append(body, mqtttest.Str(filter)...), sub.qos)
		}
		_, _ = c.Write(mqtttest.Encode(mqtttest.SUBSCRIBE<<4|2, body))
	}
	end := time.After(time.Duration(sub.r.IntN(150)) * time.Millisecond)
	for {
		pause := time.After(time.Duration(sub.r.IntN(5000)) * time.Microsecond)
		select {
		case p, ok := <-arriving:
			if !ok {
				return subscribed
			}
			if p.Type() == mqtttest.SUBACK {
				subscribed = true
				sub.subscribed()
			}
			sub.take(p)
			if sub.r.IntN(3) > 0 {
				sub.flush()
			}
		case <-pause:
			sub.flush()
		case <-end:
			if !sub.isCalm() && subscribed {
				return subscribed
			}
		case <-over:
			return subscribed
		}
	}
}

// subscribed notes from which on messages must come.
func (sub *reader) subscribed() {
	for _, st := range sub.streams {
		sub.from[st.topic] = st.next.Load()
	}
	select {
	case <-sub.ready:
	default:
		close(sub.ready)
	}
}

func (sub *reader) flush() {
	_, _ = sub.conn.Write(sub.acks)
	sub.acks = nil
}

func (sub *reader) ack(kind int, id uint16) {
	header := byte(kind << 4)
	sub.acks = append(sub.acks, header, 2, byte(id>>8), byte(id))
}

// take notes what came, and what it is to be answered.
func (sub *reader) take(p mqtttest.Packet) {
	switch p.Type() {
	case mqtttest.PUBREL:
		delete(sub.holds, p.ID())
		sub.ack(mqtttest.PUBCOMP, p.ID())
	case mqtttest.PUBLISH:
		switch p.QoS() {
		case 1:
			sub.ack(mqtttest.PUBACK, p.ID())
		case 2:
			sub.ack(mqtttest.PUBREC, p.ID())
			if sub.holds[p.ID()] {
				return
			}
			sub.holds[p.ID()] = true
		}
		sub.note(p)
	}
}

// note checks the order of a message, and that it comes once if it is to.
func (sub *reader) note(p mqtttest.Packet) {
	topic, n := p.Topic(), number(p.Payload())
	if p.Retain() {
		return // it was kept
	}
	got := sub.got[topic]
	if got == nil {
		got = map[int64]int{}
		sub.got[topic] = got
		sub.newest[topic] = -1
	}
	got[n]++
	if got[n] > 1 && p.QoS() != 1 {
		if topic[len(topic)-1] != '1' {
			sub.errorf("%s got %s %d %d times", sub.id, topic, n, got[n])
		}
		return
	}
	if got[n] == 1 && n < sub.newest[topic] && !sub.isLate(topic, n) {
		sub.errorf("%s got %s %d after %d", sub.id, topic, n, sub.newest[topic])
	}
	sub.newest[topic] = max(sub.newest[topic], n)
}

// isLate reports whether a message may come after newer ones.
func (sub *reader) isLate(topic string, n int64) bool {
	at := slices.IndexFunc(sub.streams, func(st *stream) bool { return st.topic == topic })
	st := sub.streams[at]
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.late[n] || st.again[n] && (sub.tight || sub.ends)
}
