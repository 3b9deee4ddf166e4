package broker

import "github.com/prometheus/client_golang/prometheus"

// A metric is one of Stats for Prometheus.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Stats) int64
}

func gauge(name, help string, value func(Stats) int64) metric {
	return metric{prometheus.NewDesc("checkbus_mqtt_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(Stats) int64) metric {
	return metric{prometheus.NewDesc("checkbus_mqtt_"+name+"_total", help, nil, nil), prometheus.CounterValue, value}
}

// collected are all metrics of Stats, named by the conventions of Prometheus
// (https://prometheus.io/docs/practices/naming/). No client, topic or host is
// ever a label: their number has no bound.
var collected = []metric{
	gauge("clients_connected", "Clients connected.", func(s Stats) int64 { return s.Connected }),
	gauge("sessions", "Clients known, connected or away with a session.", func(s Stats) int64 { return s.Sessions }),
	gauge("sessions_maximum", "The most clients that were known at once.", func(s Stats) int64 { return s.MostSessions }),
	counter("sessions_expired", "Sessions ended while their client was away.", func(s Stats) int64 { return s.Expired }),
	counter("connections", "Connections accepted.", func(s Stats) int64 { return s.Sockets }),
	counter("connects", "CONNECT packets received.", func(s Stats) int64 { return s.Connects }),
	counter("connections_refused", "Connections beyond broker.max_connections.", func(s Stats) int64 { return s.Refused }),
	counter("address_refused", "Connections beyond broker.max_connections_per_address.", func(s Stats) int64 { return s.RefusedAddress }),
	counter("proxy_refused", "Connections that listener.proxy_from does not allow.", func(s Stats) int64 { return s.RefusedProxies }),
	counter("connect_timeouts", "Connections closed without a CONNECT within broker.connect_timeout.", func(s Stats) int64 { return s.ConnectTimeouts }),
	counter("packets_refused", "Clients closed for a packet beyond broker.max_packet.", func(s Stats) int64 { return s.RefusedPackets }),
	counter("kept_refused", "Filters, wills and topic aliases of clients for which there was no room.", func(s Stats) int64 { return s.NotKept }),
	counter("receive_maximum_exceeded", "Clients closed for sending more than the Receive Maximum.", func(s Stats) int64 { return s.TooMany }),
	counter("sessions_surplus", "Sessions of absent clients ended beyond broker.max_sessions.", func(s Stats) int64 { return s.PushedOut }),
	counter("incomplete_closed", "Connections closed as all had sent too much of incomplete packets.", func(s Stats) int64 { return s.Squeezed }),
	counter("topics_refused", "Topics and filters beyond broker.max_topic_levels.", func(s Stats) int64 { return s.RefusedTopics }),
	counter("clients_slowed", "Times that a client was not read from, for being above broker.max_rate.", func(s Stats) int64 { return s.SlowedByRate }),
	counter("logins_refused", "Logins refused.", func(s Stats) int64 { return s.Unauthorized }),
	counter("handshakes_failed", "Connections that ended before MQTT began.", func(s Stats) int64 { return s.BadHandshakes }),
	counter("slow_consumers", "Clients closed because they did not read.", func(s Stats) int64 { return s.SlowConsumers }),
	counter("panics", "Connections ended by a fault of the gateway.", func(s Stats) int64 { return s.Panics }),

	gauge("subscriptions", "Subscriptions, shared ones not included.", func(s Stats) int64 { return s.Subscriptions - s.SharedSubscriptions }),
	gauge("shared_subscriptions", "Shared subscriptions.", func(s Stats) int64 { return s.SharedSubscriptions }),
	gauge("retained_messages", "Messages retained.", func(s Stats) int64 { return s.Retained }),
	gauge("stored_messages", "Messages retained, or waiting for a client.", func(s Stats) int64 { return s.Stored }),
	gauge("stored_bytes", "Bytes of the payloads of stored messages.", func(s Stats) int64 { return s.StoredBytes }),
	counter("retained_refused", "Retained messages of clients that were not kept, for want of room.", func(s Stats) int64 { return s.NotRetained }),

	counter("packets_received", "Packets of any type received.", func(s Stats) int64 { return s.PacketsIn }),
	counter("packets_sent", "Packets of any type sent.", func(s Stats) int64 { return s.PacketsOut }),
	counter("messages_received", "PUBLISH packets received.", func(s Stats) int64 { return s.MessagesIn }),
	counter("messages_sent", "PUBLISH packets sent.", func(s Stats) int64 { return s.MessagesOut }),
	counter("messages_dropped", "Deliveries lost because a client's queue was full.", func(s Stats) int64 { return s.Dropped + s.InflightDropped }),
	counter("messages_denied", "Messages that access control refused.", func(s Stats) int64 { return s.Denied }),
	counter("messages_redelivered", "Messages that had been taken before.", func(s Stats) int64 { return s.Redelivered }),
	counter("messages_returned", "Messages that came back over other brokers, and were not taken again.", func(s Stats) int64 { return s.Looped }),
	counter("messages_withheld", "Deliveries to bridges that were not made, as they could have gone round.", func(s Stats) int64 { return s.NotBridged }),
	gauge("messages_pending", "Results not yet on disk, or not yet acknowledged.", func(s Stats) int64 { return s.Pending }),
	counter("payload_received_bytes", "Bytes of the payloads of messages received.", func(s Stats) int64 { return s.PayloadIn }),
	counter("payload_sent_bytes", "Bytes of the payloads of messages sent.", func(s Stats) int64 { return s.PayloadOut }),
	counter("received_bytes", "Bytes of packets received.", func(s Stats) int64 { return s.BytesIn }),
	counter("sent_bytes", "Bytes of packets sent.", func(s Stats) int64 { return s.BytesOut }),
}

// Those of bridges have the bridge's name as their label.
var (
	bridgeUp       = prometheus.NewDesc("checkbus_bridge_up", "Whether the bridge is up.", []string{"bridge"}, nil)
	bridgeMessages = prometheus.NewDesc("checkbus_bridge_messages_total", "Messages that passed the bridge, or were dropped.", []string{"bridge", "outcome"}, nil)
	bridgeWaiting  = prometheus.NewDesc("checkbus_bridge_waiting_messages", "Messages that wait here for the bridge, or for an acknowledgement.", []string{"bridge"}, nil)
)

// collect sends the metrics of a bridge.
func (s BridgeStats) collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(bridgeUp, prometheus.GaugeValue, float64(flag(s.Up)), s.Name)
	to <- prometheus.MustNewConstMetric(bridgeMessages, prometheus.CounterValue, float64(s.Sent), s.Name, "sent")
	to <- prometheus.MustNewConstMetric(bridgeMessages, prometheus.CounterValue, float64(s.Received), s.Name, "received")
	to <- prometheus.MustNewConstMetric(bridgeMessages, prometheus.CounterValue, float64(s.Dropped), s.Name, "dropped")
	to <- prometheus.MustNewConstMetric(bridgeWaiting, prometheus.GaugeValue, float64(s.Queued), s.Name)
}

// Those of the outside broker are there with one only.
var (
	subscribeUp       = prometheus.NewDesc("checkbus_subscribe_up", "Whether the outside broker is connected.", nil, nil)
	subscribeConnects = prometheus.NewDesc("checkbus_subscribe_connections_total", "Connections to the outside broker.", nil, nil)
	subscribeMessages = prometheus.NewDesc("checkbus_subscribe_messages_total", "Messages from and for the outside broker.", []string{"outcome"}, nil)
	subscribeHeld     = prometheus.NewDesc("checkbus_subscribe_held_messages", "Messages received and not acknowledged.", nil, nil)
	subscribeWaiting  = prometheus.NewDesc("checkbus_subscribe_waiting_messages", "Messages that wait for the outside broker.", nil, nil)
)

// collect sends the metrics of the outside broker.
func (st *SubscribeStats) collect(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(subscribeUp, prometheus.GaugeValue, float64(flag(st.Up)))
	to <- prometheus.MustNewConstMetric(subscribeConnects, prometheus.CounterValue, float64(st.Connections))
	for _, f := range []figure{
		{"received", st.Received},
		{"redelivered", st.Redelivered},
		{"acknowledged", st.Acknowledged},
		{"published", st.Published},
		{"dropped", st.Dropped},
	} {
		to <- prometheus.MustNewConstMetric(subscribeMessages, prometheus.CounterValue, float64(f.value), f.name)
	}
	to <- prometheus.MustNewConstMetric(subscribeHeld, prometheus.GaugeValue, float64(st.Held))
	to <- prometheus.MustNewConstMetric(subscribeWaiting, prometheus.GaugeValue, float64(st.Waiting))
}

// flag is a truth as a figure.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Describe and Collect make a Broker a prometheus.Collector.
func (b *Broker) Describe(to chan<- *prometheus.Desc) {
	for _, m := range collected {
		to <- m.desc
	}
	for _, d := range []*prometheus.Desc{
		bridgeUp, bridgeMessages, bridgeWaiting,
		subscribeUp, subscribeConnects, subscribeMessages, subscribeHeld, subscribeWaiting,
	} {
		to <- d
	}
	to <- ackDesc
}

// Collect costs one call of Stats.
func (b *Broker) Collect(to chan<- prometheus.Metric) {
	st := b.Stats()
	for _, m := range collected {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(st)))
	}
	for _, s := range b.Bridges() {
		s.collect(to)
	}
	if st.Subscribe != nil {
		st.Subscribe.collect(to)
	}
	to <- b.ackTime.metric()
}
