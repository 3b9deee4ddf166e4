package broker

import "strconv"

// subscribeRoot is where the figures of the outside broker are published.
const subscribeRoot = "$SYS/gateway/subscribe/"

// SubscribeStats are the figures of the outside broker. Those without another
// word count since the start.
type SubscribeStats struct {
	Up           bool   `json:"up"`               // connected and subscribed, now
	Reason       string `json:"reason,omitempty"` // why it is not up
	Connections  int64  `json:"connections"`      // made and subscribed
	Received     int64  `json:"received"`         // messages, those delivered again included
	Redelivered  int64  `json:"redelivered"`      // that had been taken before
	Acknowledged int64  `json:"acknowledged"`
	Held         int64  `json:"held"`      // received and not acknowledged, now
	Published    int64  `json:"published"` // of the gateway's own, acknowledged there
	Waiting      int64  `json:"waiting"`   // to be published, now
	Dropped      int64  `json:"dropped"`   // never published, since too many waited
}

func (s *outside) stats() *SubscribeStats {
	waiting, dropped := s.out.size()
	up := s.up.Load()
	return &SubscribeStats{
		Up:           up,
		Reason:       whyNot(up, s.failed.Load()),
		Connections:  s.connections.Load(),
		Received:     s.received.Load(),
		Redelivered:  s.redelivered.Load(),
		Acknowledged: s.acknowledged.Load(),
		Held:         int64(s.in.held()),
		Published:    s.published.Load(),
		Waiting:      int64(waiting),
		Dropped:      dropped,
	}
}

// figures are all topics below subscribeRoot.
func (st *SubscribeStats) figures() []figure {
	return []figure{
		{"up", flag(st.Up)},
		{"connections", st.Connections},
		{"received", st.Received},
		{"redelivered", st.Redelivered},
		{"acknowledged", st.Acknowledged},
		{"held", st.Held},
		{"published", st.Published},
		{"waiting", st.Waiting},
		{"dropped", st.Dropped},
	}
}

// updateSubscribe publishes what has changed of the outside broker.
func (s *sys) updateSubscribe(st *SubscribeStats) {
	for _, f := range st.figures() {
		s.publish(subscribeRoot+f.name, strconv.FormatInt(f.value, 10))
	}
}
