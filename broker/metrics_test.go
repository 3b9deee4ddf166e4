package broker

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/internal/mqtttest"
)

func TestMetricsFollowWhatClientsDo(t *testing.T) {
	g := start(t, anonymous)
	c := mqtttest.Dial(t, g.addr, mqtttest.Options{ID: "a"})
	c.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "x", QoS: 1, ID: 1})
	c.Acked(mqtttest.PUBACK, 1)
	c.Publish(mqtttest.Message{Topic: "nagios/web1", Payload: "x"}, mqtttest.Message{Topic: "other", Payload: "x", QoS: 1, ID: 2})
	c.Acked(mqtttest.PUBACK, 2)
	values := map[string]float64{}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(g.Broker)
	eventually(t, "all to be settled", func() bool { return g.Stats().Pending == 0 })
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.Metric[0]
		values[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if f.GetHelp() == "" || !strings.HasPrefix(f.GetName(), "checkbus_") {
			t.Errorf("metric %s: help %q", f.GetName(), f.GetHelp())
		}
	}
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
