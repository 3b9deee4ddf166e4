package broker

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
)

// queueOf is what may wait for a client.
func (b *Broker) queueOf(client string) Queue {
	if q, ok := b.cfg.Queues[client]; ok {
		return q
	}
	return b.cfg.Queue
}

// queuedFor is how many messages wait for a client, or for its acknowledgement.
func (b *Broker) queuedFor(client string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sessions[client]; s != nil {
		return s.out.load.Load()
	}
	return 0
}

// dropped counts messages that waited for a client and will never be delivered.
func (b *Broker) dropped(client string, n int) {
	if n == 0 {
		return
	}
	atomic.AddInt64(&b.server.Info.InflightDropped, int64(n))
	for _, br := range b.bridges {
		if br.session() == client {
			br.dropped.Add(int64(n))
		}
	}
	b.seldom[queueFull].log(func(count int) {
		b.log.Warn("oldest messages for a client dropped, too many wait", "client", client, "count", count)
	})
}

// level shortens the longest outboxes, where all together take too much memory,
// to what leaves an eighth free, so that this is seldom done.
func (b *Broker) level() {
	if b.outboxes.Load() <= outboxesBytes {
		return
	}
	b.leveling.Lock()
	defer b.leveling.Unlock()
	if b.outboxes.Load() <= outboxesBytes {
		return
	}
	b.mu.Lock()
	boxes := make([]*outbox, 0, len(b.sessions))
	for _, s := range b.sessions {
		boxes = append(boxes, &s.out)
	}
	b.mu.Unlock()
	limit := fairShare(boxes, outboxesBytes/8*7)
	for _, o := range boxes {
		o.mu.Lock()
		o.shorten(limit)
		o.mu.Unlock()
	}
}

// fairShare is what each of the outboxes may have, in bytes, to have room
// together: those that are smaller leave theirs to the others.
func fairShare(boxes []*outbox, room int) int {
	sizes := make([]int, len(boxes))
	for i, o := range boxes {
		o.mu.Lock()
		sizes[i] = o.memory
		o.mu.Unlock()
	}
	slices.Sort(sizes)
	for i, size := range sizes {
		share := room / (len(sizes) - i)
		if size > share {
			return share
		}
		room -= size
	}
	return outboxBytes
}

// shorten brings what a session has in memory down to limit bytes; o.mu is held.
// Where it is on disk the newest go, to be read again, else the oldest are lost.
// They count as dropped unless they were sent to a client that is connected.
func (o *outbox) shorten(limit int) {
	if o.number() != 0 {
		for len(o.waiting) > 0 && o.memory > limit {
			d := o.waiting[len(o.waiting)-1]
			if d.id != 0 {
				break
			}
			o.waiting = o.waiting[:len(o.waiting)-1]
			if !d.gone {
				o.leave(d)
				o.read = d.number - 1
			}
		}
		return
	}
	for len(o.waiting) > 0 && o.tooLarge(limit) {
		d := o.waiting[0]
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		if !d.gone {
			o.drop(d)
		}
	}
	if !o.tooLarge(limit) {
		return
	}
	for _, d := range slices.SortedFunc(maps.Values(o.byID), func(x, y *delivery) int { return cmp.Compare(x.number, y.number) }) {
		if o.tooLarge(limit) {
			o.settle(d)
		}
	}
}

// tooLarge reports whether a session has too much in memory; o.mu is held.
func (o *outbox) tooLarge(limit int) bool {
	most := min(outboxMessages, o.broker.queueOf(o.id).Messages)
	return o.memory > limit || len(o.waiting)+o.flying > most
}
