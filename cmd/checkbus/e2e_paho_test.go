package main

import (
	"fmt"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// fine is a result.
const fine = `{"exit_code": 0, "reason": "fine"}`

// done waits for what a paho client was told to do.
func done(t *testing.T, what string, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(limit) {
		t.Fatalf("%s: no answer", what)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// A program that uses paho as its README begins goes on after a restart of the
// gateway. Its session is a clean one, so it has to subscribe again.
func TestPahoWithItsDefaultsSurvivesARestart(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "")
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + g.addr))
	done(t, "connect", client.Connect())
	t.Cleanup(func() { client.Disconnect(0) })
	// Who subscribes while a message is retained may get it twice.
	subscribe := func(filter string) <-chan paho.Message {
		t.Helper()
		received := make(chan paho.Message, 100)
		done(t, "subscribe", client.Subscribe(filter, 2, func(_ paho.Client, m paho.Message) { received <- m }))
		return received
	}
	expect := func(received <-chan paho.Message, topic string, qos byte) {
		t.Helper()
		select {
		case m := <-received:
			if m.Topic() != topic || m.Qos() != qos {
				t.Errorf("got %s with QoS %d, want %s with %d", m.Topic(), m.Qos(), topic, qos)
			}
		case <-time.After(limit):
			t.Fatalf("%s was not delivered", topic)
		}
	}
	talk := func(round string) {
		t.Helper()
		received := subscribe("nagios/web1/" + round + "/#")
		for qos := range byte(3) {
			topic := fmt.Sprintf("nagios/web1/%s/%d", round, qos)
			done(t, "publish "+topic, client.Publish(topic, qos, false, fine))
			expect(received, topic, qos)
		}
	}
	talk("before")
	g.stop()
	waitFor(t, "the client to notice", func() bool { return !client.IsConnectionOpen() })
	for qos := byte(1); qos < 3; qos++ { // sent when it is back; the tokens say nothing about that
		client.Publish(fmt.Sprint("nagios/web1/meanwhile", qos), qos, false, fine)
	}
	g.start()
	waitFor(t, "the client to come back", client.IsConnectionOpen)
	talk("after")
	for qos := byte(1); qos < 3; qos++ {
		state := fmt.Sprint("checkbus/state/web1/meanwhile", qos)
		expect(subscribe(state), state, 1)
	}
}
