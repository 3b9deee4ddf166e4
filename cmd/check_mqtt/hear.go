package main

import (
	"context"
	"time"
)

// hear subscribes to filters, and gives take what comes in until enough says so
// or the window ends; neither is an error.
func (p *probe) hear(ctx context.Context, take func(message), enough func() bool, filters ...string) error {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return err
	}
	defer c.close()
	c.onMessage = take
	p.phases.enter("subscribe")
	if err := c.subscribe(ctx, p.qos, filters...); err != nil {
		return err
	}
	p.phases.enter("message")
	ctx, cancel := p.withinWindow(ctx)
	defer cancel()
	return c.listen(ctx, enough)
}

// wants reports whether --retained lets the message count.
func (p *probe) wants(m message) bool {
	return p.retained == "accept" || m.retain == (p.retained == "require")
}

// kind names what --retained asks for.
func (p *probe) kind() string {
	return map[string]string{"ignore": "live ", "require": "retained "}[p.retained]
}

// withinWindow ends with the window, or where there is none with the check.
func (p *probe) withinWindow(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.window == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, p.window)
}

// listening is how long withinWindow lasts, about.
func (p *probe) listening() time.Duration {
	if p.window == 0 {
		return p.timeout
	}
	return p.window
}
