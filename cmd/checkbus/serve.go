package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"checkbus/broker"
	"checkbus/checks"
	"checkbus/icinga"
	"checkbus/internal/bus"
	"checkbus/internal/listen"
	"checkbus/internal/spool"
	"checkbus/nagios"
)

func runServe(ctx context.Context, args []string, out io.Writer) error {
	flags := newFlags("serve", "Runs the gateway until SIGINT or SIGTERM; SIGHUP reads certificates and access files again.", out)
	config := flags.String("config", "", "settings `file`; without one, the defaults hold")
	if err := parse(flags, args); err != nil {
		return err
	}
	s, err := readSettings(*config)
	if err != nil {
		return err
	}
	return serve(ctx, s, newLogger(s.Log, out))
}

func newLogger(s LogSettings, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.Level}
	if s.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// serve runs the gateway until ctx ends or a part of it fails.
func serve(ctx context.Context, s Settings, log *slog.Logger) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	queue, err := spool.Open(filepath.Join(s.DataDir, "spool"), spool.Options{MaxBytes: int64(s.Spool.MaxSize), Cursors: s.cores(), Log: log})
	if err != nil {
		return err
	}
	defer queue.Close() // after everything that appends to it

	refusals, err := bus.OpenRefusals(s.DataDir)
	if err != nil {
		return fmt.Errorf("open the journal of refusals: %w", err)
	}
	defer refusals.Close()

	sockets, err := listen.Sockets(s.addresses())
	if err != nil {
		return err
	}
	cfg := s.broker()
	cfg.Sockets = sockets
	if cfg.Identity, err = identity(s.DataDir); err != nil {
		return err
	}
	brk, err := broker.New(cfg, log)
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	cores, closeCores, err := newCores(s, queue, log)
	if err != nil {
		return err
	}
	defer closeCores()
	b, err := bus.New(bus.Options{
		Decoder:    checks.Decoder{Root: s.Results.Root, MaxPayload: int(s.Results.MaxPayload), MaxReason: int(s.Results.MaxReason)},
		Queue:      queue,
		Cores:      cores,
		Refusals:   refusals,
		MaxObjects: s.Results.MaxObjects,
		Publish:    brk.Publish,

		EveryAttempt: s.Publish.Events == "all",
		SysInterval:  s.Broker.SysInterval,
		Log:          log,
	})
	if err != nil {
		return err
	}
	brk.Handle(s.Results.Root, b.Accept)
	brk.HandleDenied(b.Denied)
	if err := brk.Listen(); err != nil {
		return s.mistakes(err)
	}
	pages := console{s, queue, brk, b, activated(s.Web, sockets), log}.server()
	if err := pages.Listen(); err != nil {
		return s.mistakes(err)
	}
	log.Info("checkbus started", "version", version(), "address", brk.Addr().String(), "data_dir", s.DataDir, "cores", s.cores())
	b.PublishStatus("online")

	// The broker stops last, so that its subscribers get the last events and
	// learn that the gateway leaves.
	brokerCtx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBroker()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return brk.Run(brokerCtx) })
	g.Go(func() error {
		defer stopBroker()
		err := b.Run(ctx)
		b.PublishStatus("offline")
		return err
	})
	g.Go(func() error { return pages.Run(ctx) })
	g.Go(func() error { return watchdog(ctx, queue) })
	g.Go(func() error { return collectSeldom(ctx) })
	g.Go(func() error {
		reload(ctx, hangups, func() error { return errors.Join(brk.Reload(), pages.Reload()) }, log)
		return nil
	})
	notify(log, daemon.SdNotifyReady)
	<-ctx.Done()
	notify(log, daemon.SdNotifyStopping)
	err = g.Wait()
	log.Info("checkbus stopped")
	return err
}

// reload reads all files again on each hangup until ctx ends.
func reload(ctx context.Context, hangups <-chan os.Signal, readAgain func() error, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		if err := readAgain(); err != nil {
			log.Error("not all files are reloaded; what the bad ones said before stays in force", "err", err)
		} else {
			log.Info("files reloaded")
		}
	}
}

// cores are the names of the configured cores, which are those of their
// cursors in the spool.
func (s Settings) cores() []string {
	var names []string
	if s.Nagios != nil {
		names = append(names, "nagios")
	}
	if s.Icinga != nil {
		names = append(names, "icinga")
	}
	return names
}

// newCores makes a sink for each core, and the function that frees them once
// nothing is submitted any more.
func newCores(s Settings, queue *spool.Queue, log *slog.Logger) (cores []bus.Core, closeAll func(), err error) {
	closeAll = func() {}
	if s.Nagios != nil {
		cursor, err := queue.Cursor("nagios")
		if err != nil {
			return nil, nil, err
		}
		history := nagios.History{Last: queue.Last, Committed: func() uint64 {
			_, committed := cursor.Position()
			return committed
		}}
		sink := nagios.New(*s.Nagios, history, log)
		closeAll = func() {
			if err := sink.Close(); err != nil {
				log.Warn("nagios not closed", "err", err)
			}
		}
		core := bus.Core{Name: "nagios", Sink: sink}
		if s.Nagios.LogFile != "" {
			core.Feed = sink
		}
		cores = append(cores, core)
	}
	if s.Icinga != nil {
		cursor, err := queue.Cursor("icinga")
		if err != nil {
			return nil, nil, err
		}
		_, committed := cursor.Position()
		history := icinga.History{Last: queue.Last, Each: queue.EachLast, Committed: committed}
		sink, err := icinga.New(*s.Icinga, history, log)
		if err != nil {
			return nil, nil, err
		}
		// In front: its states are known to the millisecond, Nagios's to the second.
		cores = slices.Insert(cores, 0, bus.Core{Name: "icinga", Sink: sink, Feed: sink})
	}
	return cores, closeAll, nil
}
