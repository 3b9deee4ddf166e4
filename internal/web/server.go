// Package web is what an operator sees of the gateway with a browser or
// Prometheus: the console's data, metrics and health. What it shows is handed in.
package web

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"checkbus/internal/listen"
)

const (
	maxConnections = 512 // open at once, WebSockets included
	maxHeader      = 16 << 10
	headerTimeout  = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
	stopTimeout    = 5 * time.Second
)

// Users are who may log in.
type Users interface {
	// CheckPassword reports whether password is that of user. When wait is
	// positive, nothing was checked, and it may be tried again after that time.
	CheckPassword(ctx context.Context, address netip.Addr, user, password string) (ok bool, wait time.Duration)
	// PasswordStamp changes with the user's password; it is "" for a user that
	// there is not.
	PasswordStamp(user string) string
}

// A Check is something that must hold for the gateway to be healthy.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional,omitempty"` // the gateway is ready without it
	Reason   string `json:"reason,omitempty"`   // why it does not hold
}

// Ready reports whether all checks hold that must for the gateway to be ready.
func Ready(checks []Check) bool {
	return !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK && !c.Optional })
}

// Options are what a Server shows, and to whom. A user is who logged in, or ""
// for anybody on this machine.
type Options struct {
	Socket  net.Listener // where systemd opened one for the address
	Users   Users        // nil without a password file
	MQTT    func(w http.ResponseWriter, r *http.Request, user string)
	Metrics prometheus.Gatherer
	// Ready takes at most a few seconds.
	Ready func() []Check
	// API has what is shown as JSON, by its name below /api/. An error that wraps
	// ErrQuery is the caller's mistake.
	API map[string]func(user string, query url.Values) (any, error)
	Log *slog.Logger
}

// A Server is the gateway's HTTP server. Call Listen and Run once each, in this
// order. With an empty address it does nothing.
type Server struct {
	Options
	cfg          Config
	key          [32]byte // signs sessions
	local        bool     // only this machine reaches it
	listener     net.Listener
	certificates *listen.Certificates // nil without TLS
}

// New builds a server from valid settings.
func New(cfg Config, o Options) *Server {
	s := &Server{Options: o, cfg: cfg}
	_, _ = rand.Read(s.key[:]) // never fails
	return s
}

// Listen reads the certificate and binds the address, so that a mistake, or a
// port that is taken, is known before anything else starts.
func (s *Server) Listen() error {
	if s.cfg.Address == "" {
		return nil
	}
	certs, err := listen.ReadCertificates(s.cfg.files())
	if err != nil {
		return listen.In("web", err)
	}
	if certs != nil && certs.ValidNow() != nil {
		s.Log.Warn("browsers will refuse the certificate", "err", listen.In("web", certs.ValidNow()))
	}
	ln := s.Socket
	if ln == nil {
		if ln, err = net.Listen("tcp", s.cfg.Address); err != nil {
			return fmt.Errorf("web.address: %w", err)
		}
	}
	s.local = isLocal(ln.Addr())
	if err := s.cfg.mayBeReached(s.Users != nil); err != nil && !s.local {
		return errors.Join(err, ln.Close())
	}
	s.listener, s.certificates = ln, certs
	return nil
}

// isLocal reports whether only this machine reaches an address.
func isLocal(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// URL is where the server is, once Listen has succeeded.
func (s *Server) URL() string {
	scheme := "http"
	if s.certificates != nil {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String() + "/"
}

// Reload reads the certificate again; one with a mistake, or that is not valid
// now, changes nothing.
func (s *Server) Reload() error {
	if s.certificates == nil {
		return nil
	}
	return listen.In("web", s.certificates.Reload())
}

// Run serves until ctx ends. Connections that speak MQTT then are left to
// whoever serves them.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	var waiting sync.WaitGroup
	defer waiting.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // what strangers cause
	}
	ln := netutil.LimitListener(s.listener, maxConnections)
	if s.certificates != nil {
		ln = tls.NewListener(ln, &tls.Config{
			MinVersion:         tls.VersionTLS12,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.certificates.Config(), nil },
		})
		waiting.Go(func() { listen.Watch(ctx, map[string]*listen.Certificates{"web": s.certificates}, s.Log) })
	}
	s.Log.Info("console", "url", s.URL())
	waiting.Go(func() {
		<-ctx.Done()
		timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if err := errors.Join(server.Shutdown(timeout), server.Close()); err != nil {
			s.Log.Warn("web requests cut off", "err", err)
		}
	})
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("web: %w", err)
	}
	return nil
}
