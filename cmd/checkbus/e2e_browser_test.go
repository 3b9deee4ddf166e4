package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"checkbus/internal/realtest"
)

// A pageServer serves testdata/browser.html and collects what the pages report.
type pageServer struct {
	*httptest.Server
	mu      sync.Mutex
	reports map[string][]string // by the page's name
}

func newPageServer(t *testing.T) *pageServer {
	t.Helper()
	s := &pageServer{reports: map[string][]string{}}
	library := filepath.Join(realtest.NodeModules(t), "mqtt", "dist", "mqtt.min.js")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/browser.html") })
	mux.HandleFunc("GET /mqtt.min.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, library) })
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		name := r.URL.Query().Get("name")
		s.reports[name] = append(s.reports[name], string(text))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// page is the address of a page that talks to server.
func (s *pageServer) page(name, server string, version int) string {
	return fmt.Sprintf("%s/?name=%s&server=%s&version=%d", s.URL, url.QueryEscape(name), url.QueryEscape(server), version)
}

// reported lists what a page has reported so far, without repetitions.
func (s *pageServer) reported(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(s.reports[name])))
}

// A browser publishes results, and gets them and the event that they make.
func TestPagesPublishAndFollowResults(t *testing.T) {
	dir := t.TempDir()
	cert, key := realtest.NewAuthority(t, dir).Issue(t, dir, "server")
	plain, secured, closed := realtest.FreeAddr(t), realtest.FreeAddr(t), realtest.FreeAddr(t)
	pages := newPageServer(t)
	startGateway(t, fmt.Sprintf(`
[[listener]]
address = %q
protocol = "websocket"
origins = [%q]
allow_anonymous = true
[[listener]]
address = %q
protocol = "websocket"
tls_cert = %q
tls_key = %q
allow_anonymous = true
[[listener]]
address = %q
protocol = "websocket"
origins = ["https://console.example.org"]
allow_anonymous = true
`, plain, pages.URL, secured, cert, key, closed))

	all := []string{"acknowledged broke", "acknowledged fine", "checkbus CRITICAL broke", "nagios 0 fine", "nagios 2 broke"}
	tests := map[string]struct {
		server  string
		version int
		want    []string
	}{
		"plain-4":        {"ws://" + plain + "/mqtt", 4, all},
		"plain-5":        {"ws://" + plain + "/mqtt", 5, all},
		"secured-4":      {"wss://" + secured + "/mqtt", 4, all},
		"secured-5":      {"wss://" + secured + "/mqtt", 5, all},
		"another-origin": {"ws://" + closed + "/mqtt", 5, []string{"closed"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			realtest.OpenPage(t, pages.page(name, tt.server, tt.version), cert)
			waitFor(t, "the page's reports", func() bool { return len(pages.reported(name)) >= len(tt.want) })
			if got := pages.reported(name); !slices.Equal(got, tt.want) {
				t.Errorf("reported %q, want %q", got, tt.want)
			}
		})
	}
}
