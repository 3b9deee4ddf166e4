package main

import (
	"context"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// lastWill connects a client with a will, lets it vanish, and waits for the
// will with another.
func lastWill(ctx context.Context, p *probe) (finding, error) {
	observer, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer observer.close()
	e := p.newEcho()
	p.phases.enter("subscribe")
	if err := observer.subscribe(ctx, p.qos, e.from); err != nil {
		return finding{}, err
	}
	c, err := p.open(ctx, p.id.second("will"), &will{topic: p.topic, payload: []byte(p.payload), qos: p.qos})
	if err != nil {
		return finding{}, err
	}
	p.phases.enter("will")
	e.sent, observer.onMessage = time.Now(), e.take
	c.drop()
	err = observer.await(ctx, func(packets.Packet) bool { return e.decided() })
	p.phases.end()
	if e.received == nil && e.wrong != nil {
		return p.wrongEcho(e), nil
	}
	if err != nil {
		return finding{}, err
	}
	delay := e.received.at.Sub(e.sent)
	text := fmt.Sprintf("will published %s after its client vanished", showSpan(delay))
	return found(text, p.limited(seconds("will", delay)), seconds("time", time.Since(p.started))).
		with("value", fmt.Sprintf("%.6f", delay.Seconds())).with("payload", p.payload), nil
}
