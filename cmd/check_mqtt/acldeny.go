package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"checkbus/checks"
	"checkbus/internal/credentials"

	"github.com/mochi-mqtt/server/v2/packets"
)

// aclDeny tries what must be refused. Where a broker refuses without a word,
// as MQTT 3.1.1 has none for a publish and Mosquitto filters what a
// subscription delivers, a witness who may do it tells refused from silent.
func aclDeny(ctx context.Context, p *probe) (finding, error) {
	witness, err := p.openWitness(ctx)
	if err != nil {
		return finding{}, err
	}
	if witness != nil {
		defer witness.close()
	}
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	p.phases.enter(p.deny)
	var no *refusal
	var got string // the topic of what came in
	c.onMessage = func(m message) { got = m.topic }
	err = p.attempt(ctx, c)
	switch {
	case errors.As(err, &no) && no.deniesAccess():
		return found("as it must be, " + no.Error()), nil
	case err != nil && isClosed(err):
		again, err := p.open(ctx, p.id, nil) // it must live to have refused
		if err != nil {
			return finding{}, err
		}
		again.close()
		return found(fmt.Sprintf("as it must be, the broker closed the connection on %s %s", p.deny, p.topic)), nil
	case err != nil:
		return finding{}, err
	}
	return p.weigh(ctx, c, witness, &got)
}

// attempt does what must be refused.
func (p *probe) attempt(ctx context.Context, c *client) error {
	if p.deny == "subscribe" {
		return c.subscribe(ctx, p.qos, p.topic)
	}
	return c.publish(ctx, message{topic: p.topic, payload: []byte(p.payload), qos: p.qos})
}

// isClosed: the broker hung up, which MQTT 3.1.1, section 3.3.5, names as an
// answer to a publish that is not allowed.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// openWitness connects the client who may do it, and lets it see the topic.
func (p *probe) openWitness(ctx context.Context) (*client, error) {
	if p.witness == "" {
		return nil, nil
	}
	password, err := credentials.Password(p.witnessPass)
	if err != nil {
		return nil, fmt.Errorf("%w: --witness-password-file: %w", errLocal, err)
	}
	c, err := p.open(ctx, identity{p.id.second("peer").clientID, p.witness, password}, nil)
	if err != nil {
		return nil, err
	}
	p.phases.enter("witness")
	if err := c.subscribe(ctx, p.qos, p.topic); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// weigh decides about what was not refused aloud. got is the topic of what
// comes to c, if anything does.
func (p *probe) weigh(ctx context.Context, c, witness *client, got *string) (finding, error) {
	switch {
	case witness != nil && p.deny == "publish":
		return p.delivered(ctx, witness, witness, p.payload)
	case witness != nil:
		return p.delivered(ctx, c, witness, "")
	case p.deny == "publish" && p.version == 5 && p.qos > 0:
		return p.letThrough("the broker took the publish to " + p.topic), nil
	case p.deny == "publish":
		return p.missing("the broker did not answer the publish to %s with a refusal, which takes --mqtt-version 5 and --qos 1; --witness-user tells whether it was delivered", p.topic), nil
	}
	return p.granted(ctx, c, got)
}

// delivered lets the witness send a proof through the topic, and reports
// whether what must not come came to reader: the text suspect, or where that
// is empty the proof itself.
func (p *probe) delivered(ctx context.Context, reader, witness *client, suspect string) (finding, error) {
	proof := "check_mqtt witness " + random(8)
	if suspect == "" {
		suspect = proof
	}
	seen := map[*client]map[string]bool{reader: {}, witness: {}}
	for _, c := range []*client{reader, witness} {
		c.onMessage = func(m message) {
			if text := string(m.payload); text == proof || text == suspect {
				seen[c][text] = true
			}
		}
	}
	p.phases.enter("witness")
	if err := witness.publish(ctx, message{topic: p.topic, payload: []byte(proof), qos: p.qos}); err != nil {
		return finding{}, err
	}
	if !seen[witness][proof] {
		if err := witness.await(ctx, func(packets.Packet) bool { return seen[witness][proof] }); err != nil {
			return finding{}, err
		}
	}
	p.phases.enter(p.deny)
	window, cancel := p.withinWindow(ctx)
	defer cancel()
	if err := reader.listen(window, func() bool { return seen[reader][suspect] }); err != nil {
		return finding{}, err
	}
	if seen[reader][suspect] {
		return p.letThrough(fmt.Sprintf("%s %s was not refused, and delivered", p.deny, p.topic)), nil
	}
	return found(fmt.Sprintf("as it must be, %s %s delivers nothing, which %s proves", p.deny, p.topic, p.witness)), nil
}

// granted waits whether a subscription that the broker granted delivers.
func (p *probe) granted(ctx context.Context, c *client, got *string) (finding, error) {
	ctx, cancel := p.withinWindow(ctx)
	defer cancel()
	if err := c.listen(ctx, func() bool { return *got != "" }); err != nil {
		return finding{}, err
	}
	if *got != "" {
		return p.letThrough(fmt.Sprintf("the broker granted %s, and delivered %s", p.topic, *got)), nil
	}
	return p.missing("the broker granted %s and delivered nothing within %v: silent or refused, which --witness-user tells apart", p.topic, p.listening()), nil
}

func (p *probe) letThrough(text string) finding {
	return finding{Output: checks.Output{State: checks.Critical, Text: text}, fill: map[string]string{}}
}
