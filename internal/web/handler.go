package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxBusy is how many requests for one path are worked on at once; others wait,
// and who reads slowly keeps only those for the same path waiting.
const maxBusy = 4

// ErrQuery is a request whose parameters are wrong.
var ErrQuery = errors.New("bad query")

// handler serves all paths. Only /healthz is for everybody.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	metrics := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{Timeout: writeTimeout / 3})
	s.handle(mux, "/metrics", func(w http.ResponseWriter, r *http.Request, _ string) { metrics.ServeHTTP(w, r) })
	s.handle(mux, "/readyz", s.readyz)
	s.handle(mux, "/", s.servePage)
	for name, get := range s.API {
		s.handle(mux, "/api/"+name, func(w http.ResponseWriter, r *http.Request, user string) {
			value, err := get(user, r.URL.Query())
			switch {
			case errors.Is(err, ErrQuery):
				http.Error(w, err.Error(), http.StatusBadRequest)
			case err != nil:
				s.Log.Debug("not shown", "path", r.URL.Path, "err", err)
				http.Error(w, "this cannot be read now", http.StatusInternalServerError)
			default:
				answer(w, http.StatusOK, value)
			}
		})
	}
	mux.HandleFunc("GET /mqtt", func(w http.ResponseWriter, r *http.Request) {
		if user, ok := s.enter(w, r); ok {
			s.MQTT(w, r, user)
		}
	})
	return secured(mux)
}

// handle serves a path to those who may enter, a few at a time.
func (s *Server) handle(mux *http.ServeMux, path string, serve func(http.ResponseWriter, *http.Request, string)) {
	busy := make(chan struct{}, maxBusy)
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		user, ok := s.enter(w, r)
		if !ok {
			return
		}
		select {
		case busy <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-busy }()
		serve(w, r, user)
	})
}

// secured tells browsers to keep what they get to this origin, and to run
// nothing but its own scripts.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Readiness is what /readyz says.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// readyz answers 200 when the gateway is ready, and else 503.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request, _ string) {
	checks := s.Ready()
	ready, status := Ready(checks), http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, Readiness{ready, checks})
}

func answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// Number reads a parameter from 1 to most; when it is missing it is usual.
func Number(query url.Values, name string, usual, most int) (int, error) {
	if !query.Has(name) {
		return usual, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%w: %s is not a number from 1 to %d", ErrQuery, name, most)
	}
	return n, nil
}
