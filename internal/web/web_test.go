package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"checkbus/internal/realtest"
)

// users have the passwords that they are given.
type users struct {
	mu      sync.Mutex
	byName  map[string]string
	checked int
	wait    time.Duration
}

func (u *users) CheckPassword(_ context.Context, address netip.Addr, user, password string) (bool, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.checked++
	known, there := u.byName[user]
	return u.wait == 0 && address.IsLoopback() && there && known == password, u.wait
}

func (u *users) PasswordStamp(user string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.byName[user]
}

func (u *users) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

// who answers with the name of the user that MQTT would have.
func who(w http.ResponseWriter, _ *http.Request, user string) { fmt.Fprintf(w, "user %q", user) }

func options() Options {
	return Options{
		MQTT:    who,
		Metrics: prometheus.NewRegistry(),
		Ready:   func() []Check { return []Check{{Name: "spool", OK: true}} },
		API: map[string]func(string, url.Values) (any, error){
			"user": func(user string, query url.Values) (any, error) {
				n, err := Number(query, "n", 3, 10)
				if query.Has("broken") {
					err = errors.New("/secret/path is broken")
				}
				return map[string]any{"user": user, "n": n}, err
			},
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// start runs a server until the test ends.
func start(t *testing.T, cfg Config, o Options) *Server {
	t.Helper()
	s := New(cfg, o)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

// startRemote runs a server that demands TLS and a login, as it is on another
// address than loopback.
func startRemote(t *testing.T, u *users) (*Server, *http.Client) {
	t.Helper()
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	cert, key := authority.Issue(t, dir, "gateway")
	o := options()
	o.Users = u
	s := start(t, Config{Address: "0.0.0.0:0", TLSCert: cert, TLSKey: key}, o)
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "gateway"}}
	t.Cleanup(transport.CloseIdleConnections)
	return s, &http.Client{Transport: transport}
}

func (s *Server) at(path string) string {
	u, _ := url.Parse(s.URL())
	return u.Scheme + "://127.0.0.1:" + u.Port() + path
}

// get asks with a request that change may change.
func get(t *testing.T, client *http.Client, url string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(r)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func login(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func TestOnLoopbackNobodyIsAsked(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0"}, options())
	for path, want := range map[string]string{
		"/healthz":       "ok\n",
		"/readyz":        `{"ready":true,"checks":[{"name":"spool","ok":true}]}` + "\n",
		"/mqtt":          `user ""`,
		"/api/user":      `{"n":3,"user":""}` + "\n",
		"/api/user?n=10": `{"n":10,"user":""}` + "\n",
		"/metrics":       "",
	} {
		response, text := get(t, http.DefaultClient, s.at(path))
		if response.StatusCode != http.StatusOK || text != want {
			t.Errorf("%s: %s, %q", path, response.Status, text)
		}
	}
}

func TestWhatIsNotThereOrNotRightIsRefused(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0"}, options())
	for path, want := range map[string]int{
		"/nothing":         http.StatusNotFound,
		"/api/nothing":     http.StatusNotFound,
		"/api/user?n=11":   http.StatusBadRequest,
		"/api/user?n=0":    http.StatusBadRequest,
		"/api/user?n=x":    http.StatusBadRequest,
		"/api/user?broken": http.StatusInternalServerError,
	} {
		response, text := get(t, http.DefaultClient, s.at(path))
		if response.StatusCode != want || strings.Contains(text, "secret") {
			t.Errorf("%s: %s, %q", path, response.Status, text)
		}
	}
	response, err := http.Post(s.at("/api/user"), "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
}

// Who keeps a path busy, as by reading slowly, is in nobody's way elsewhere.
func TestABusyPathHoldsUpNoOther(t *testing.T) {
	began, end := make(chan struct{}, 2*maxBusy), make(chan struct{})
	o := options()
	o.API["slow"] = func(string, url.Values) (any, error) {
		began <- struct{}{}
		<-end
		return nil, nil
	}
	s := start(t, Config{Address: "127.0.0.1:0"}, o)
	var all sync.WaitGroup
	defer all.Wait()
	defer close(end)
	for range 2 * maxBusy {
		all.Go(func() {
			if response, err := http.Get(s.at("/api/slow")); err != nil {
				t.Error(err)
			} else {
				response.Body.Close()
			}
		})
	}
	for range maxBusy {
		<-began
	}
	for _, path := range []string{"/", "/console.js", "/readyz", "/metrics", "/api/user", "/healthz"} {
		if response, text := get(t, http.DefaultClient, s.at(path)); response.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", path, response.StatusCode, text)
		}
	}
	if len(began) > 0 {
		t.Errorf("more than %d requests for one path are worked on at once", maxBusy)
	}
}

func TestAForeignNameIsRefusedOnLoopback(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0"}, options())
	for host, want := range map[string]int{
		"localhost:8090":         http.StatusOK,
		"localhost":              http.StatusOK,
		"LocalHost":              http.StatusOK,
		"127.0.0.1":              http.StatusOK,
		"127.0.0.2:1":            http.StatusOK,
		"[::1]:8090":             http.StatusOK,
		"evil.example.org":       http.StatusMisdirectedRequest,
		"evil.example.org:8090":  http.StatusMisdirectedRequest,
		"localhost.example.org":  http.StatusMisdirectedRequest,
		"192.0.2.1:8090":         http.StatusMisdirectedRequest,
		"127.0.0.1.evil.example": http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/api/user", "/mqtt", "/metrics", "/readyz"} {
			response, text := get(t, http.DefaultClient, s.at(path), func(r *http.Request) { r.Host = host })
			if response.StatusCode != want {
				t.Errorf("%s of %s: %s, %q", path, host, response.Status, text)
			}
		}
	}
}

func TestElsewhereALoginIsDemanded(t *testing.T) {
	u := &users{byName: map[string]string{"ann": "secret"}}
	s, client := startRemote(t, u)
	if response, text := get(t, client, s.at("/healthz")); response.StatusCode != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %s, %q", response.Status, text)
	}
	for _, path := range []string{"/api/user", "/mqtt", "/metrics", "/readyz"} {
		for name, tt := range map[string]struct {
			change func(*http.Request)
			want   int
		}{
			"nobody":         {func(*http.Request) {}, http.StatusUnauthorized},
			"a stranger":     {login("eve", ""), http.StatusUnauthorized},
			"wrong password": {login("ann", "wrong"), http.StatusUnauthorized},
			"forged session": {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "YW5u.9999999999.x"}) }, http.StatusUnauthorized},
			"a user":         {login("ann", "secret"), http.StatusOK},
		} {
			response, text := get(t, client, s.at(path), tt.change)
			if response.StatusCode != tt.want {
				t.Errorf("%s by %s: %s, %q", path, name, response.Status, text)
			}
			if tt.want == http.StatusUnauthorized && !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s by %s is not asked for a password", path, name)
			}
		}
	}
	if _, text := get(t, client, s.at("/mqtt"), login("ann", "secret")); text != `user "ann"` {
		t.Errorf("/mqtt: %s", text)
	}
	u.set(func() { u.wait = 90 * time.Second })
	if response, _ := get(t, client, s.at("/metrics"), login("ann", "secret")); response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "90" {
		t.Errorf("after too many: %s, %v", response.Status, response.Header)
	}
}

func TestASessionLastsAsLongAsThePassword(t *testing.T) {
	u := &users{byName: map[string]string{"ann": "secret", "bob": "hidden"}}
	s, client := startRemote(t, u)
	response, _ := get(t, client, s.at("/api/user"), login("ann", "secret"))
	cookies := response.Cookies()
	if len(cookies) != 1 || !cookies[0].Secure || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("cookies = %v", cookies)
	}
	session := func(r *http.Request) { r.AddCookie(cookies[0]) }
	asked := u.checked
	if _, text := get(t, client, s.at("/mqtt"), session); text != `user "ann"` || u.checked != asked {
		t.Errorf("with a session: %s, %d passwords checked", text, u.checked-asked)
	}
	if _, text := get(t, client, s.at("/mqtt"), session, login("bob", "hidden")); text != `user "bob"` {
		t.Errorf("another user: %s", text)
	}
	other := *cookies[0]
	other.Value = "Ym9i" + other.Value[strings.Index(other.Value, "."):]
	if response, _ := get(t, client, s.at("/mqtt"), func(r *http.Request) { r.AddCookie(&other) }); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("another's session: %s", response.Status)
	}
	u.set(func() { u.byName["ann"] = "changed" })
	if response, _ := get(t, client, s.at("/mqtt"), session); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the password changed: %s", response.Status)
	}
}

func TestBrowsersAreToldToRunNothingElse(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0"}, options())
	for _, path := range []string{"/nothing", "/healthz", "/api/user", "/metrics"} {
		response, _ := get(t, http.DefaultClient, s.at(path))
		policy := response.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: policy %q lacks %s", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, response.Header)
		}
	}
}

func TestNotReadyIs503WithReasons(t *testing.T) {
	o := options()
	o.Ready = func() []Check {
		return []Check{{Name: "spool", OK: true}, {Name: "core icinga", Reason: "cannot be reached"}}
	}
	s := start(t, Config{Address: "127.0.0.1:0"}, o)
	response, text := get(t, http.DefaultClient, s.at("/readyz"))
	want := `{"ready":false,"checks":[{"name":"spool","ok":true},{"name":"core icinga","ok":false,"reason":"cannot be reached"}]}`
	if response.StatusCode != http.StatusServiceUnavailable || strings.TrimSpace(text) != want {
		t.Errorf("%s, %s", response.Status, text)
	}
	if response, _ := get(t, http.DefaultClient, s.at("/healthz")); response.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %s", response.Status)
	}
}

func TestAnAddressThatOthersReachNeedsTLSAndPasswords(t *testing.T) {
	tests := map[string]struct {
		cfg       Config
		passwords bool
		want      string
	}{
		"none":               {Config{}, false, ""},
		"default":            {Default(), false, ""},
		"any port":           {Config{Address: "[::1]:0"}, false, ""},
		"localhost":          {Config{Address: "localhost:8090"}, false, ""},
		"secured":            {Config{Address: ":8090", TLSCert: "c", TLSKey: "k"}, true, ""},
		"loopback with TLS":  {Config{Address: "127.0.0.1:8090", TLSCert: "c", TLSKey: "k"}, false, ""},
		"systemd":            {Config{Address: "systemd:web"}, false, ""},
		"plain":              {Config{Address: ":8090"}, true, "web.address: other machines reach :8090, which needs web.tls_cert, web.tls_key and access.password_file"},
		"without passwords":  {Config{Address: "192.0.2.1:8090", TLSCert: "c", TLSKey: "k"}, false, "web.address: other machines reach 192.0.2.1:8090"},
		"a name":             {Config{Address: "gateway:8090"}, false, "web.address: other machines reach gateway:8090"},
		"no port":            {Config{Address: "127.0.0.1"}, false, "web.address: "},
		"Unix socket":        {Config{Address: "unix:/run/web"}, false, "web.address: \"unix:/run/web\" is neither host:port nor systemd:NAME"},
		"nameless":           {Config{Address: "systemd:"}, false, "web.address: "},
		"key alone":          {Config{Address: "127.0.0.1:1", TLSKey: "k"}, false, "web.tls_key: needs web.tls_cert"},
		"certificate alone":  {Config{Address: "127.0.0.1:1", TLSCert: "c"}, false, "web.tls_cert: needs web.tls_key"},
		"nothing but a name": {Config{Address: "everywhere"}, false, "web.address: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.cfg.Validate(tt.passwords)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestASocketOfSystemdThatOthersReachNeedsTheSame(t *testing.T) {
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Socket = ln
	err = New(Config{Address: "systemd:web"}, o).Listen()
	if err == nil || !strings.Contains(err.Error(), "web.address: other machines reach systemd:web") {
		t.Errorf("Listen = %v", err)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	taken := start(t, Config{Address: "127.0.0.1:0"}, options())
	address := strings.TrimSuffix(strings.TrimPrefix(taken.URL(), "http://"), "/")
	err := New(Config{Address: address}, options()).Listen()
	if err == nil || !strings.HasPrefix(err.Error(), "web.address: ") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Listen = %v", err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := start(t, Config{Address: "127.0.0.1:0"}, options())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.at("/healthz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return // the connection was closed before all of it was sent
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %s", response.Status)
	}
}

func TestARenewedCertificateIsTaken(t *testing.T) {
	u := &users{byName: map[string]string{"ann": "secret"}}
	s, client := startRemote(t, u)
	before, _ := get(t, client, s.at("/healthz"))
	dir := t.TempDir()
	cert, key := realtest.NewAuthority(t, dir).Issue(t, dir, "gateway")
	for from, to := range map[string]string{cert: s.cfg.TLSCert, key: s.cfg.TLSKey} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	nc, err := tls.Dial("tcp", strings.TrimPrefix(s.at(""), "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.ConnectionState().PeerCertificates[0].Equal(before.TLS.PeerCertificates[0]) {
		t.Error("the old certificate is shown")
	}
}
