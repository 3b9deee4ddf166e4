package broker

import (
	"cmp"
	"maps"
	"slices"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// attach begins deliveries to a client that is connected now. Those that it did
// not acknowledge come first, with their identifiers.
func (o *outbox) attach(cl *mqtt.Client, receiveMaximum uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.client, o.over, o.window = cl, false, flightMessages
	if receiveMaximum > 0 {
		o.window = min(o.window, int(receiveMaximum))
	}
	if o.number() == 0 {
		o.pump()
	} else if o.load.Load() > 0 {
		o.read, o.arrived = 0, 0
		o.resume()
	} else {
		o.read = o.last
	}
}

// detach ends deliveries to a client whose connection is over. On disk they keep
// the packet identifiers that they were given, even if they were not sent: as
// they go in order, those with one stay before those without.
func (o *outbox) detach(cl *mqtt.Client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.client != cl {
		return
	}
	o.client = nil
	if o.number() == 0 {
		o.land()
		return
	}
	o.clear()
	o.unwritten.Add(1)
	o.broker.store.submit(&edit{done: func(error) { o.unwritten.Add(-1) }}, true)
}

// land puts what is in flight back to the front of what waits, in order; o.mu is
// held.
func (o *outbox) land() {
	flying := slices.SortedFunc(maps.Values(o.byID), func(x, y *delivery) int { return cmp.Compare(x.number, y.number) })
	flying = slices.DeleteFunc(flying, func(d *delivery) bool { return !d.inFlight })
	for _, d := range flying {
		d.inFlight = false
	}
	o.flying, o.flown = 0, 0
	o.waiting = append(flying, o.waiting...)
}

// clear frees the memory; o.mu is held.
func (o *outbox) clear() {
	for _, d := range o.byID {
		d.gone = true
	}
	for _, d := range o.waiting {
		d.gone = true
	}
	o.broker.outboxes.Add(int64(-o.memory))
	o.waiting, o.byID, o.memory, o.flying, o.flown = nil, nil, 0, 0, 0
	o.read = 0
}

// end forgets all, with the session; its number is to be ended in the store.
func (o *outbox) end() (session uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	session = o.session.Swap(0)
	o.last, o.arrived, o.trimmed, o.disk, o.payloads = 0, 0, 0, 0, 0
	o.load.Store(0)
	o.over = true
	return session
}
