package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"checkbus/broker"
	"checkbus/internal/bus"
	"checkbus/internal/spool"
	"checkbus/internal/web"
)

// parts are those of a gateway that run until it stops.
type parts struct {
	queue  *spool.Queue
	broker *broker.Broker // listens
	bus    *bus.Bus
	pages  *web.Server // listens
	log    *slog.Logger
}

// run runs the parts until ctx ends or one of them fails. Files are read again
// on each of hangups.
func (p parts) run(ctx context.Context, hangups <-chan os.Signal) error {
	p.bus.PublishStatus("online")

	// The broker stops last, so that its subscribers get the last events and
	// learn that the gateway leaves.
	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBroker()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.broker.Run(brokerCtx) })
	g.Go(func() error {
		defer stopBroker()
		err := p.bus.Run(ctx)
		p.bus.PublishStatus("offline")
		return err
	})
	g.Go(func() error { return p.pages.Run(ctx) })
	g.Go(func() error { return watchdog(ctx, p.queue) })
	g.Go(func() error { return collectSeldom(ctx) })
	g.Go(func() error {
		p.reload(ctx, hangups)
		return nil
	})
	notify(p.log, daemon.SdNotifyReady)
	<-ctx.Done()
	notify(p.log, daemon.SdNotifyStopping)
	err := g.Wait()
	p.log.Info("checkbus stopped")
	return err
}

// reload reads certificates and access files again on each hangup until ctx
// ends.
func (p parts) reload(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		if err := errors.Join(p.broker.Reload(), p.pages.Reload()); err != nil {
			p.log.Error("not all files are reloaded; what the bad ones said before stays in force", "err", err)
		} else {
			p.log.Info("files reloaded")
		}
	}
}
