package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"checkbus/broker"
	"checkbus/internal/bus"
	"checkbus/internal/listen"
	"checkbus/internal/spool"
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

// serve makes the parts of the gateway, ties them together, and runs them until
// ctx ends or one of them fails.
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
	brk, err := newBroker(s, sockets, log)
	if err != nil {
		return err
	}
	cores, closeCores, err := newCores(s, queue, log)
	if err != nil {
		return err
	}
	defer closeCores()
	options := s.bus()
	options.Queue, options.Refusals, options.Cores = queue, refusals, cores
	options.Publish, options.Log = brk.Publish, log
	b, err := bus.New(options)
	if err != nil {
		return err
	}
	brk.Handle(s.Results.Root, b.Accept)
	brk.HandleDenied(b.Denied)
	pages := console{s, queue, brk, b, activated(s.Web, sockets), log}.server()

	if err := brk.Listen(); err != nil {
		return s.mistakes(err)
	}
	if err := pages.Listen(); err != nil {
		return s.mistakes(err)
	}
	log.Info("checkbus started", "version", version(), "address", brk.Addr().String(), "data_dir", s.DataDir, "cores", s.cores())
	return parts{queue, brk, b, pages, log}.run(ctx, hangups)
}

// newBroker makes the broker. It listens on those of sockets, which systemd
// opened, that the settings name.
func newBroker(s Settings, sockets map[string]net.Listener, log *slog.Logger) (*broker.Broker, error) {
	cfg := s.broker()
	cfg.Sockets = sockets
	var err error
	if cfg.Identity, err = identity(s.DataDir); err != nil {
		return nil, err
	}
	brk, err := broker.New(cfg, log)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return brk, nil
}
