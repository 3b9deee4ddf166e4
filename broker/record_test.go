package broker

import (
	"reflect"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	message := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish}, ProtocolVersion: 5, Origin: "c", TopicName: "a/b", Expiry: 77, Payload: []byte("p"),
		Properties: packets.Properties{
			PayloadFormatFlag: true, PayloadFormat: 1, ContentType: "t", ResponseTopic: "r", CorrelationData: []byte{0, 1},
			User: []packets.UserProperty{{Key: "k", Val: "v"}, {Key: "k"}},
		},
	}
	if got, err := decodeMessage(appendMessage(nil, &message)); err != nil || !reflect.DeepEqual(got, message) {
		t.Errorf("message: %+v, %v", got, err)
	}
	when := time.UnixMilli(1_000_000)
	will := &will{packet: message, due: when, version: 4}
	will.packet.FixedHeader.Qos, will.packet.FixedHeader.Retain, will.packet.PacketID = 2, true, 2
	for name, want := range map[string]sessionRecord{
		"connected":   {client: "c", user: "u", version: 5, expiry: forever},
		"with a will": {client: "c", local: true, version: 4, expiry: 9, away: when, will: will},
	} {
		if got, err := decodeSession(want.encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("session %s: %+v, %v", name, got, err)
		}
	}
	for _, want := range []deliveryRecord{
		{phase: queued, qos: 1, cost: 9, payload: 3},
		{phase: released, qos: 2, retain: true, id: 65535, filters: []int{1, mostPacket}},
	} {
		if got, err := decodeDelivery(want.encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("delivery: %+v, %v; want %+v", got, err, want)
		}
	}
	sub := packets.Subscription{Filter: "$share/g/#", Qos: 2, NoLocal: true, FwdRetainedFlag: true, Identifier: mostPacket}
	if got, err := decodeSubscription(sub.Filter, encodeSubscription(&sub)); err != nil || !reflect.DeepEqual(got, sub) {
		t.Errorf("subscription: %+v, %v", got, err)
	}
}

func TestReferencesAreCountedByMessage(t *testing.T) {
	r := references{}
	for _, message := range []uint64{1, referencePageSize, 1} {
		r.add(message)
	}
	for _, tt := range []struct {
		message uint64
		last    bool
	}{{1, false}, {1, true}, {1, false}, {2, false}, {referencePageSize, true}, {7 * referencePageSize, false}} {
		if got := r.release(tt.message); got != tt.last {
			t.Errorf("release(%d) = %t", tt.message, got)
		}
	}
	if len(r) > 0 {
		t.Errorf("%d pages are left", len(r))
	}
}

// Whatever a record consists of, decoding it ends, and what it yields is encoded
// to the same again.
func FuzzRecords(f *testing.F) {
	message := packets.Packet{TopicName: "a", Payload: []byte("x"), Properties: packets.Properties{User: []packets.UserProperty{{Key: "k", Val: "v"}}}}
	f.Add(appendMessage(nil, &message))
	session := sessionRecord{client: "c", will: &will{packet: message}}
	f.Add(session.encode())
	delivery := deliveryRecord{phase: sent, qos: 1, id: 1, filters: []int{1}}
	f.Add(delivery.encode())
	f.Add(encodeSubscription(&packets.Subscription{Qos: 1}))
	f.Fuzz(func(t *testing.T, value []byte) {
		if pk, err := decodeMessage(value); err == nil {
			again, err := decodeMessage(appendMessage(nil, &pk))
			if err != nil || !reflect.DeepEqual(again, pk) {
				t.Errorf("message %+v became %+v, %v", pk, again, err)
			}
		}
		if r, err := decodeSession(value); err == nil {
			again, err := decodeSession(r.encode())
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("session %+v became %+v, %v", r, again, err)
			}
		}
		if r, err := decodeDelivery(value); err == nil {
			again, err := decodeDelivery(r.encode())
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("delivery %+v became %+v, %v", r, again, err)
			}
		}
		if s, err := decodeSubscription("a", value); err == nil {
			again, err := decodeSubscription("a", encodeSubscription(&s))
			if err != nil || !reflect.DeepEqual(again, s) {
				t.Errorf("subscription %+v became %+v, %v", s, again, err)
			}
		}
	})
}
