package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"checkbus/checks"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Where the gateway publishes what became of a result.
const (
	stateRoot    = "checkbus/state"
	rejectedRoot = "checkbus/rejected"
)

// A verdict is what came back of a result: the state that the gateway
// publishes for the object, or the reason of a rejection.
type verdict struct {
	State    string `json:"state"`
	Type     string `json:"state_type"`
	Reason   string `json:"reason"`
	Origin   string `json:"origin"`
	rejected bool
}

// gateway publishes a result as any host would, and waits until the gateway
// publishes exactly that result as the object's state.
func gateway(ctx context.Context, p *probe) (finding, error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	token := random(8)
	var answer *verdict
	c.onMessage = func(m message) {
		if v := readVerdict(m, token); v != nil && answer == nil {
			answer = v
		}
	}
	p.phases.enter("subscribe")
	err = c.subscribe(ctx, 1, p.object.Topic(stateRoot), rejectedRoot+"/"+checks.EncodeLevel(p.id.clientID))
	if err != nil {
		return finding{}, err
	}
	p.phases.enter("publish")
	sent := time.Now()
	if err := c.publish(ctx, p.testResult(token, sent)); err != nil {
		return finding{}, err
	}
	acknowledged := time.Since(sent)
	p.phases.enter("state")
	if answer == nil {
		if err := c.await(ctx, func(packets.Packet) bool { return answer != nil }); err != nil {
			return finding{}, err
		}
	}
	p.phases.end()
	return p.judgeVerdict(*answer, acknowledged, time.Since(sent)), nil
}

// testResult is an OK that nobody could take for another.
func (p *probe) testResult(token string, now time.Time) message {
	payload, err := json.Marshal(map[string]any{
		"exit_code": 0,
		"reason":    "check_mqtt gateway test " + token,
		"time":      now.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		panic(err) // a map of strings and a number always marshals
	}
	return message{topic: p.object.Topic(p.root), payload: payload, qos: 1}
}

// readVerdict is what m says of the result with the token; nil when it is
// about another. A rejection is always ours: the topic has our identifier.
func readVerdict(m message, token string) *verdict {
	var v verdict
	err := json.Unmarshal(m.payload, &v)
	v.rejected = strings.HasPrefix(m.topic, rejectedRoot+"/")
	if v.rejected && err != nil {
		v.Reason = excerpt(m.payload)
	}
	if v.rejected || err == nil && strings.Contains(v.Reason, token) {
		return &v
	}
	return nil
}

func (p *probe) judgeVerdict(v verdict, acknowledged, took time.Duration) finding {
	if v.rejected {
		return finding{Output: checks.Output{State: checks.Critical, Text: fmt.Sprintf("the result for %s was rejected: %s", p.object, v.Reason)}}
	}
	text := fmt.Sprintf("the result for %s came through in %s: %s %s by %s", p.object, showSpan(took), v.State, v.Type, v.Origin)
	return found(text, p.limited(seconds("through", took)), seconds("acknowledged", acknowledged)).
		with("value", fmt.Sprintf("%.6f", took.Seconds()))
}
