package broker

import "sync/atomic"

// Stats are the broker's figures. Those without another word count since the
// start.
type Stats struct {
	Connected     int64 // clients now
	Sessions      int64 // clients known now, connected or away
	Subscriptions int64 // now
	Retained      int64 // messages now

	MessagesIn  int64 // PUBLISH packets from clients
	MessagesOut int64 // PUBLISH packets to clients
	BytesIn     int64
	BytesOut    int64

	Pending         int64 // results given to accept and not settled, now
	Redelivered     int64 // publishes that had been taken before
	Denied          int64 // publishes that access control refused
	Dropped         int64 // deliveries lost because a client's queue was full
	InflightDropped int64 // the same, for QoS 1 and 2 beyond what may be unacknowledged
	SlowConsumers   int64 // clients closed because they did not read
	Refused         int64 // connections beyond max_connections
	Unauthorized    int64 // logins refused
	BadHandshakes   int64 // connections that ended before MQTT began
	Panics          int64 // connections ended by a fault in the library
}

// counters are those of Stats that the library does not keep.
type counters struct {
	connections, messagesIn, bytesIn, bytesOut atomic.Int64
	redelivered, denied, slow, refused, panics atomic.Int64
	unauthorized, handshakes                   atomic.Int64
}

// Stats returns the figures as they are now. It is cheap, and safe to call at
// any time.
func (b *Broker) Stats() Stats {
	info := b.server.Info
	b.mu.Lock()
	sessions := len(b.sessions)
	b.mu.Unlock()
	return Stats{
		Connected:       atomic.LoadInt64(&info.ClientsConnected),
		Sessions:        int64(sessions),
		Subscriptions:   atomic.LoadInt64(&info.Subscriptions),
		Retained:        int64(b.server.Topics.Retained.Len()),
		MessagesIn:      b.count.messagesIn.Load(),
		MessagesOut:     atomic.LoadInt64(&info.MessagesSent),
		BytesIn:         b.count.bytesIn.Load(),
		BytesOut:        b.count.bytesOut.Load(),
		Pending:         b.finisher.pending.Load(),
		Redelivered:     b.count.redelivered.Load(),
		Denied:          b.count.denied.Load(),
		Dropped:         atomic.LoadInt64(&info.MessagesDropped),
		InflightDropped: atomic.LoadInt64(&info.InflightDropped),
		SlowConsumers:   b.count.slow.Load(),
		Refused:         b.count.refused.Load(),
		Unauthorized:    b.count.unauthorized.Load(),
		BadHandshakes:   b.count.handshakes.Load(),
		Panics:          b.count.panics.Load(),
	}
}
