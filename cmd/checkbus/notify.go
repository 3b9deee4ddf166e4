package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"checkbus/internal/spool"
)

// watchdog tells systemd that the gateway is alive as long as its spool still
// answers, twice in each watchdog interval (sd_watchdog_enabled(3)).
func watchdog(ctx context.Context, queue *spool.Queue) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return err
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		answered := make(chan struct{})
		queue.Append(nil, func(error) { close(answered) })
		select {
		case <-ctx.Done():
			return nil
		case <-answered:
			if _, err := daemon.SdNotify(false, daemon.SdNotifyWatchdog); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// notify tells systemd of a state (sd_notify(3)), where there is a systemd.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not told", "state", state, "err", err)
	}
}
