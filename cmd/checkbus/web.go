package main

import (
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"checkbus/broker"
	"checkbus/internal/bus"
	"checkbus/internal/listen"
	"checkbus/internal/spool"
	"checkbus/internal/web"
)

// The most that one request may ask for.
const (
	mostClients  = 1000
	mostRefusals = 1000
)

// A console is the web server of a gateway, and what it is shown.
type console struct {
	settings Settings
	queue    *spool.Queue
	broker   *broker.Broker
	bus      *bus.Bus
	socket   net.Listener // opened by systemd; or nil
	log      *slog.Logger
}

// server makes the web server.
func (c console) server() *web.Server {
	ready := &readiness{queue: c.queue, broker: c.broker, bus: c.bus, largest: int64(c.settings.Results.MaxPayload)}
	started := time.Now()
	options := web.Options{
		Socket:  c.socket,
		MQTT:    c.broker.ServeWebSocket,
		Metrics: c.metrics(),
		Ready:   ready.Checks,
		API: map[string]func(string, url.Values) (any, error){
			"status": func(string, url.Values) (any, error) {
				return newFigures(started, ready.Checks(), c.bus.Stats(), c.broker.Bridges(), c.broker.Stats()), nil
			},
			"clients":  c.clients,
			"rejected": c.rejected,
		},
		Log: c.log,
	}
	if c.settings.Access.PasswordFile != "" {
		options.Users = c.broker
	}
	return web.New(c.settings.Web, options)
}

// metrics are all that /metrics shows.
func (c console) metrics() *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "checkbus_build_info", Help: "Always 1, labeled with the version.", ConstLabels: prometheus.Labels{"version": version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(build, c.bus, c.broker, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// clients shows n connected clients, those after another one by their
// identifiers.
func (c console) clients(_ string, query url.Values) (any, error) {
	n, err := web.Number(query, "n", 100, mostClients)
	if err != nil {
		return nil, err
	}
	return map[string]any{"connected": c.broker.Stats().Connected, "clients": c.broker.Clients(query.Get("after"), n)}, nil
}

// rejected shows the newest n refusals, oldest first, of those whose topics the
// user may read.
func (c console) rejected(user string, query url.Values) (any, error) {
	n, err := web.Number(query, "n", 100, mostRefusals)
	if err != nil {
		return nil, err
	}
	list := []bus.Refusal{}
	err = bus.ReadRefusals(c.settings.DataDir, n, func(r bus.Refusal) error {
		if c.broker.MayRead(user, r.Published()) {
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// activated is what systemd opened for the web server, if anything.
func activated(cfg web.Config, sockets map[string]net.Listener) net.Listener {
	network, name := listen.Network(cfg.Address)
	if network != "systemd" {
		return nil
	}
	return sockets[name]
}
