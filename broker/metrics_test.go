package broker

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

func TestMetricsFollowWhatClientsDo(t *testing.T) {
	g := start(t, anonymous)
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "a"})
	c.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 1, ID: 1})
	c.Acked(mqtttest.PUBACK, 1)
	c.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "x"}, mqtttest.Message{Topic: "other", Payload: "x", QoS: 1, ID: 2})
	c.Acked(mqtttest.PUBACK, 2)
	eventually(t, "all to be settled", func() bool { return g.Stats().Pending == 0 })
	values := g.metrics()
	for name, want := range map[string]float64{
		"checkbus_mqtt_clients_connected":       1,
		"checkbus_mqtt_connects_total":          1,
		"checkbus_mqtt_messages_received_total": 3,
		"checkbus_mqtt_messages_pending":        0,
		"checkbus_publish_ack_seconds":          1, // results of QoS 1 alone
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

func TestMetricsOfBridgesAndTheOutsideBroker(t *testing.T) {
	m := realtest.StartMosquitto(t)
	g := start(t, bridgeTo(m.Addr, "dc2", "a/# out 1"), from(t, "mqtt://"+m.Addr))
	g.bridged()
	g.subscribed()
	g.publish("a/x", "1")
	g.tell("checkbus/event/web1", "changed")
	eventually(t, "both are acknowledged", func() bool {
		b := g.Bridges()[0]
		return b.Sent == 1 && b.Queued == 0 && g.Stats().Subscribe.Published == 1
	})
	values := g.metrics()
	for name, want := range map[string]float64{
		"checkbus_bridge_up dc2":                      1,
		"checkbus_bridge_messages_total dc2 sent":     1,
		"checkbus_bridge_waiting_messages dc2":        0,
		"checkbus_subscribe_up":                       1,
		"checkbus_subscribe_connections_total":        1,
		"checkbus_subscribe_messages_total published": 1,
		"checkbus_subscribe_waiting_messages":         0,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// metrics are all values of the broker, by name and the values of labels.
func (g *gateway) metrics() map[string]float64 {
	g.t.Helper()
	values := map[string]float64{}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(g.Broker)
	families, err := r.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
		if f.GetHelp() == "" || !strings.HasPrefix(f.GetName(), "checkbus_") {
			g.t.Errorf("metric %s: help %q", f.GetName(), f.GetHelp())
		}
	}
	return values
}
