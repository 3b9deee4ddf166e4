package main

import (
	"log/slog"

	"checkbus/icinga"
	"checkbus/internal/bus"
	"checkbus/internal/spool"
	"checkbus/nagios"
)

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

// newCores makes the configured cores, and the function that frees them once
// nothing is submitted any more. Icinga is in front: its states are known to
// the millisecond, Nagios's to the second.
func newCores(s Settings, queue *spool.Queue, log *slog.Logger) (cores []bus.Core, closeAll func(), err error) {
	closeAll = func() {}
	if s.Icinga != nil {
		core, err := newIcinga(*s.Icinga, queue, log)
		if err != nil {
			return nil, nil, err
		}
		cores = append(cores, core)
	}
	if s.Nagios != nil {
		core, sink, err := newNagios(*s.Nagios, queue, log)
		if err != nil {
			return nil, nil, err
		}
		cores = append(cores, core)
		closeAll = func() {
			if err := sink.Close(); err != nil {
				log.Warn("nagios not closed", "err", err)
			}
		}
	}
	return cores, closeAll, nil
}

func newIcinga(cfg icinga.Config, queue *spool.Queue, log *slog.Logger) (bus.Core, error) {
	cursor, err := queue.Cursor("icinga")
	if err != nil {
		return bus.Core{}, err
	}
	_, committed := cursor.Position()
	sink, err := icinga.New(cfg, icinga.History{Last: queue.Last, Each: queue.EachLast, Committed: committed}, log)
	if err != nil {
		return bus.Core{}, err
	}
	return bus.Core{Name: "icinga", Sink: sink, Feed: sink}, nil
}

func newNagios(cfg nagios.Config, queue *spool.Queue, log *slog.Logger) (bus.Core, *nagios.Sink, error) {
	cursor, err := queue.Cursor("nagios")
	if err != nil {
		return bus.Core{}, nil, err
	}
	committed := func() uint64 {
		_, committed := cursor.Position()
		return committed
	}
	sink := nagios.New(cfg, nagios.History{Last: queue.Last, Committed: committed}, log)
	core := bus.Core{Name: "nagios", Sink: sink}
	if cfg.LogFile != "" {
		core.Feed = sink
	}
	return core, sink, nil
}
