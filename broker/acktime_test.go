package broker

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	dto "github.com/prometheus/client_model/go"
)

func TestAcknowledgementsAreCountedByHowLongTheyTook(t *testing.T) {
	var a ackTime
	batch := []task{{in: &inbound{session: newSession(nil, "QoS 0"), arrived: time.Now()}}, {in: &inbound{arrived: time.Now()}}}
	for _, ago := range []time.Duration{0, 3 * time.Millisecond, 3 * time.Millisecond, time.Minute} {
		in := &inbound{session: newSession(nil, "a"), arrived: time.Now().Add(-ago)}
		in.packet = packets.Packet{FixedHeader: packets.FixedHeader{Qos: 1}}
		batch = append(batch, task{in: in})
	}
	a.observe(batch)
	var m dto.Metric
	if err := a.metric().Write(&m); err != nil {
		t.Fatal(err)
	}
	h := m.Histogram
	if h.GetSampleCount() != 4 || h.GetSampleSum() < 60 || h.GetSampleSum() > 90 {
		t.Errorf("histogram = %v", h)
	}
	for _, b := range h.Bucket {
		if b.GetUpperBound() == .002 && b.GetCumulativeCount() > 1 || b.GetUpperBound() == 10 && b.GetCumulativeCount() != 3 {
			t.Errorf("bucket %v", b)
		}
	}
}

func BenchmarkObserveAcknowledgements(b *testing.B) {
	var a ackTime
	batch := make([]task, 100)
	for i := range batch {
		batch[i].in = &inbound{session: newSession(nil, "a"), arrived: time.Now()}
		batch[i].in.packet.FixedHeader.Qos = 1
	}
	for b.Loop() {
		a.observe(batch)
	}
}
