package broker

import "sync/atomic"

// Stats are the broker's figures. Those without another word count since the
// start.
type Stats struct {
	Connected    int64 // clients now
	Sessions     int64 // clients known now, connected or away
	MostSessions int64 // the most that Sessions ever was
	Expired      int64 // sessions ended while their client was away
	Sockets      int64 // connections accepted
	Connects     int64 // CONNECT packets

	Subscriptions       int64 // now, shared ones included
	SharedSubscriptions int64 // now
	Retained            int64 // messages now
	Stored              int64 // messages now: retained, or waiting for a client, once for each
	StoredBytes         int64 // their payloads

	PacketsIn   int64 // of any type, from clients
	PacketsOut  int64
	MessagesIn  int64 // PUBLISH packets from clients
	MessagesOut int64
	PayloadIn   int64 // bytes of MessagesIn's payloads
	PayloadOut  int64
	BytesIn     int64
	BytesOut    int64

	Pending         int64 // publishes given to accept or to the disk and not settled, now
	Redelivered     int64 // publishes that had been taken before
	Denied          int64 // publishes that access control refused
	Dropped         int64 // deliveries of QoS 0 lost because their client did not read
	InflightDropped int64 // deliveries of QoS 1 and 2 lost because their client's queue was full
	Looped          int64 // messages that came back over other brokers, and were not taken again
	NotBridged      int64 // deliveries to other brokers, not made as they could have gone round
	NotRetained     int64 // retained messages of clients that were not kept, for want of room
	SlowConsumers   int64 // clients closed because they did not read
	Refused         int64 // connections beyond max_connections
	RefusedAddress  int64 // connections beyond max_connections_per_address
	RefusedProxies  int64 // connections that proxy_from does not allow
	RefusedPackets  int64 // clients closed for a packet beyond max_packet
	NotKept         int64 // filters, wills and topic aliases for which there was no room
	TooMany         int64 // clients closed as they exceeded the Receive Maximum
	PushedOut       int64 // sessions ended beyond max_sessions
	Squeezed        int64 // connections closed as all had sent too much of incomplete packets
	RefusedTopics   int64 // topics and filters beyond max_topic_levels
	ConnectTimeouts int64 // connections closed without a CONNECT within connect_timeout
	SlowedByRate    int64 // times that a client was not read from, for being above max_rate
	Unauthorized    int64 // logins refused
	BadHandshakes   int64 // connections that ended before MQTT began, for other reasons
	Panics          int64 // connections ended by a fault in the library

	Subscribe *SubscribeStats // nil without an outside broker
}

// counters are those of Stats that the library does not keep.
type counters struct {
	connections, messagesIn, bytesIn, bytesOut atomic.Int64
	redelivered, denied, slow, refused, panics atomic.Int64
	unauthorized, handshakes                   atomic.Int64
	sockets, connects, expired                 atomic.Int64
	packetsIn, packetsOut, messagesOut         atomic.Int64
	payloadIn, payloadOut                      atomic.Int64
	waiting                                    atomic.Int64 // bytes to be written to all clients
	notRetained, dropped                       atomic.Int64
	refusedAddress, refusedProxies             atomic.Int64
	refusedPackets, refusedTopics              atomic.Int64
	connectTimeouts, slowedByRate              atomic.Int64
	squeezed, notKept, tooMany, pushedOut      atomic.Int64
	partials                                   partials
	looped, notBridged                         atomic.Int64
	seated                                     atomic.Int64 // clients connected now, but for the gateway's own bridges
	calm                                       atomic.Bool  // waiting was at most calmOut
}

// Stats returns the figures as they are now. It may be called at any time, and
// every second; it goes through all clients, and what waits for them.
func (b *Broker) Stats() Stats {
	info := b.server.Info
	b.mu.Lock()
	sessions, most := len(b.sessions), b.mostSeen
	b.mu.Unlock()
	retained := int64(b.server.Topics.Retained.Len())
	held := b.held()
	st := Stats{
		Connected:    atomic.LoadInt64(&info.ClientsConnected),
		Sessions:     int64(sessions),
		MostSessions: int64(most),
		Expired:      b.count.expired.Load(),
		Sockets:      b.count.sockets.Load(),
		Connects:     b.count.connects.Load(),

		Subscriptions:       atomic.LoadInt64(&info.Subscriptions),
		SharedSubscriptions: held.shared,
		Retained:            retained,
		Stored:              retained + held.queued,
		StoredBytes:         b.retained.payloads() + held.bytes,

		PacketsIn:   b.count.packetsIn.Load(),
		PacketsOut:  b.count.packetsOut.Load(),
		MessagesIn:  b.count.messagesIn.Load(),
		MessagesOut: b.count.messagesOut.Load(),
		PayloadIn:   b.count.payloadIn.Load(),
		PayloadOut:  b.count.payloadOut.Load(),
		BytesIn:     b.count.bytesIn.Load(),
		BytesOut:    b.count.bytesOut.Load(),

		Pending:         b.finisher.pending.Load(),
		Redelivered:     b.count.redelivered.Load(),
		Denied:          b.count.denied.Load(),
		Dropped:         b.count.dropped.Load(),
		InflightDropped: atomic.LoadInt64(&info.InflightDropped),
		Looped:          b.count.looped.Load(),
		NotBridged:      b.count.notBridged.Load(),
		NotRetained:     b.count.notRetained.Load(),
		SlowConsumers:   b.count.slow.Load(),
		Refused:         b.count.refused.Load(),
		RefusedAddress:  b.count.refusedAddress.Load(),
		RefusedProxies:  b.count.refusedProxies.Load(),
		RefusedPackets:  b.count.refusedPackets.Load(),
		NotKept:         b.count.notKept.Load(),
		TooMany:         b.count.tooMany.Load(),
		PushedOut:       b.count.pushedOut.Load(),
		Squeezed:        b.count.squeezed.Load(),
		RefusedTopics:   b.count.refusedTopics.Load(),
		ConnectTimeouts: b.count.connectTimeouts.Load(),
		SlowedByRate:    b.count.slowedByRate.Load(),
		Unauthorized:    b.count.unauthorized.Load(),
		BadHandshakes:   b.count.handshakes.Load(),
		Panics:          b.count.panics.Load(),
	}
	if b.outside != nil {
		st.Subscribe = b.outside.stats()
	}
	return st
}
