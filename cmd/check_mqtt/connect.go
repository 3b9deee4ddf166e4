package main

import (
	"context"
	"fmt"
	"time"
)

// connect checks that the broker takes a connection, and how long each step
// of it takes.
func connect(ctx context.Context, p *probe) (finding, error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	data := p.phaseData()
	data[0] = p.limited(data[0])
	whole := time.Since(p.started)
	text := fmt.Sprintf("connected to %s in %s (%s)", p.address(), showSpan(whole), p.took())
	return found(text, data...).with("value", fmt.Sprintf("%.3f", whole.Seconds())), nil
}
