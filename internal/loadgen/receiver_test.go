package loadgen

import (
	"fmt"
	"net"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

func TestSubscriberGetsWholeLoad(t *testing.T) {
	m := realtest.StartMosquitto(t, "max_queued_messages 0")
	other, err := Dial(t.Context(), m.Addr, Options{Client: "other", Version: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, version := range []byte{4, 5} {
		for _, qos := range []byte{0, 1} {
			t.Run(fmt.Sprintf("version %d, QoS %d", version, qos), func(t *testing.T) {
				if err := other.Publish("of/another", []byte("load")); err != nil {
					t.Fatal(err)
				}
				report, err := Load{
					Addr: m.Addr, Version: version, QoS: qos, Subscribe: "#", First: 5,
					Connections: 3, Window: 20, Hosts: 5, Services: 4, Count: 1000, Rate: 5000,
				}.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if report.Received != 1000 || report.Delivery.Count() != 1000 {
					t.Errorf("received %d, %d of them timed", report.Received, report.Delivery.Count())
				}
				if worst := report.Delivery.Max(); worst <= 0 || worst > report.Elapsed {
					t.Errorf("delivered within %v, all in %v", worst, report.Elapsed)
				}
			})
		}
	}
}

func TestLostMessagesEndTheWait(t *testing.T) {
	addr := broker(t, accept4, func(conn net.Conn, r *reader) {
		for {
			kind, _, err := r.next()
			if err != nil {
				return
			}
			switch kind {
			case subscribePacket:
				_, _ = conn.Write([]byte{subackPacket, 3, 0, 1, 0})
			case pingreqPacket:
				_, _ = conn.Write([]byte{pingrespPacket, 0})
			}
		}
	})
	report, err := Load{Addr: addr, Subscribe: "#", Connections: 1, Hosts: 1, Services: 1, Count: 10}.Run(t.Context())
	if err != nil || report.Sent != 10 || report.Received != 0 {
		t.Errorf("%v, sent %d, received %d", err, report.Sent, report.Received)
	}
}

func FuzzDeliveries(f *testing.F) {
	l := Load{Root: "nagios", Version: 5, Rate: 1}
	packet, _, _ := appendPublish(nil, 5, 1, "nagios/h/s", fmt.Appendf(nil, "%s%0*d%s", payloadHead, digits, 7, payloadTail))
	_, body, _ := split(packet)
	f.Add(packet[0], body)
	f.Add(byte(publishPacket), []byte{0, 1, 'a'})
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		r := &receiver{load: &l, root: []byte("nagios/"), start: time.Now()}
		_, _ = r.take(kind, body, nil) // must not panic
	})
}
