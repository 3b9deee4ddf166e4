package icinga

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// A fakeIcinga has one host web1 with any service, and answers as a test says,
// to play what a real one cannot be brought to.
type fakeIcinga struct {
	*httptest.Server
	t testing.TB
	// answer says what becomes of a submission. It is not asked for two at once.
	answer func(submission) (status int, body string)

	mu        sync.Mutex
	pid       int                // of the worker
	submitted []string           // names of services, in order
	held      map[string]float64 // execution_start by name
}

func newFakeIcinga(t testing.TB, answer func(submission) (int, string)) (*fakeIcinga, Config) {
	f := &fakeIcinga{t: t, answer: answer, held: make(map[string]float64)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status/IcingaApplication", f.status)
	mux.HandleFunc("GET /v1/objects/hosts", says(`{"results":[{"name":"web1"}]}`))
	mux.HandleFunc("GET /v1/objects/services", f.objects)
	mux.HandleFunc("GET /v1/objects/services/{name}", f.object)
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /v1/actions/process-check-result", f.submit)
	f.Server = httptest.NewTLSServer(mux)
	t.Cleanup(f.Close)

	dir := t.TempDir()
	cfg := Defaults()
	cfg.URL = []string{f.URL}
	cfg.CA, cfg.PasswordFile, cfg.Username = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "secret"), "checkbus"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := errors.Join(os.WriteFile(cfg.CA, ca, 0o600), os.WriteFile(cfg.PasswordFile, []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return f, cfg
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func (f *fakeIcinga) status(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(w, `{"results":[{"status":{"icingaapplication":{"app":{"pid":%d,"program_start":1795294667.035332}}}}]}`, f.pid)
}

func (f *fakeIcinga) objects(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for name, at := range f.held {
		list = append(list, fmt.Sprintf(`{"name":%q,"attrs":{"last_check_result":{"execution_start":%f}}}`, name, at))
	}
	fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(list, ","))
}

func (f *fakeIcinga) object(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.HasSuffix(r.PathValue("name"), "!absent") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprintf(w, `{"results":[{"attrs":{"last_check_result":{"execution_start":%f}}}]}`, f.held[r.PathValue("name")])
}

func (f *fakeIcinga) submit(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var s submission
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		f.t.Errorf("a submission is no JSON: %v", err)
	}
	if r.ContentLength <= 0 || r.ProtoMajor != 1 || len(r.Header["Accept"]) != 1 || r.Header.Get("Accept") != "application/json" {
		f.t.Errorf("a request as Icinga does not take it: HTTP/%d, length %d, %v", r.ProtoMajor, r.ContentLength, r.Header["Accept"])
	}
	f.submitted = append(f.submitted, s.Service)
	status, body := f.answer(s)
	if status == http.StatusOK && strings.Contains(body, "Success") {
		f.held[s.Service] = s.Start
	}
	if status == 0 {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

const success = `{"results":[{"code":200,"status":"Successfully processed check result."}]}`

func TestVerdicts(t *testing.T) {
	tests := map[string]struct {
		service  string
		status   int
		body     string
		rejected bool
		unknown  bool
		again    bool
		outage   bool
	}{
		"taken":           {status: 200, body: success},
		"ignored":         {status: 200, body: `{"results":[{"code":200,"status":"Ignoring passive check result for unreachable object"}]}`},
		"stale":           {status: 409, body: `{"results":[{"code":409,"status":"Newer check result already present."}]}`},
		"bad value":       {status: 400, body: `{"results":[{"code":400,"status":"bad"}]}`, rejected: true},
		"failed":          {status: 500, body: `{"results":[{"code":500,"status":"Action execution failed"}]}`, rejected: true},
		"nothing":         {status: 500, body: `{"results":[]}`, rejected: true},
		"passive off":     {status: 403, body: `{"results":[{"code":403,"status":"Passive checks are disabled"}]}`, rejected: true},
		"gone":            {service: "absent", status: 404, body: `{"error":404,"status":"No objects found."}`, rejected: true, unknown: true},
		"not permitted":   {status: 404, body: `{"error":404,"status":"No objects found."}`, again: true},
		"inactive object": {status: 503, body: `{"results":[{"code":503,"status":"inactive"}]}`, again: true},
		"reloading":       {status: 503, body: `{"error":503,"status":"reloading"}`, again: true, outage: true},
		"bad password":    {status: 401, body: ``, again: true, outage: true},
		"exception":       {status: 500, body: `{"error":500,"status":"Unhandled exception"}`, again: true, outage: true},
		"broken":          {status: 0, again: true, outage: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			odd := service("odd")
			if tt.service != "" {
				odd = service(tt.service)
			}
			f, cfg := newFakeIcinga(t, func(s submission) (int, string) {
				if s.Service == odd.String() {
					return tt.status, tt.body
				}
				return http.StatusOK, success
			})
			cfg.Connections = 1
			g := newGateway(t, cfg)
			g.start()
			present := service("present")
			for _, o := range []checks.Object{odd, present} {
				g.objects.setPresent(o)
			}
			v := g.Submit(context.Background(), g.accept(checks.Result{Object: present}, checks.Result{Object: odd}, checks.Result{Object: odd}, checks.Result{Object: present}))
			if errors.Is(v[1], checks.ErrRejected) != tt.rejected || errors.Is(v[1], checks.ErrUnknownObject) != tt.unknown || (v[1] != nil && !tt.rejected) != tt.again {
				t.Errorf("verdict = %v", v[1])
			}
			if tt.again && v[2] == nil {
				t.Error("a result overtook the one before it of its object")
			}
			if v[0] != nil || (v[3] != nil) != tt.outage {
				t.Errorf("verdicts on another object = %v, %v", v[0], v[3])
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if n := strings.Count(strings.Join(f.submitted, " "), odd.String()); tt.again && n != 1 {
				t.Errorf("%d results of the object were sent, want 1", n)
			}
		})
	}
}

// Icinga may have taken a result although its answer got lost, and would count
// the same result again as another check attempt.
func TestAResultWithoutAnAnswerIsNotSentTwice(t *testing.T) {
	tests := map[string]struct {
		stored bool
		sent   int
	}{
		"it was taken": {true, 1},
		"it was not":   {false, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var f *fakeIcinga
			lose := true
			f, cfg := newFakeIcinga(t, func(s submission) (int, string) {
				if !lose {
					return http.StatusOK, success
				}
				lose = false
				if tt.stored {
					f.held[s.Service] = s.Start
				}
				return 0, ""
			})
			g := newGateway(t, cfg)
			g.start()
			disk := service("disk")
			if rejected := g.deliver(checks.Result{Object: disk}); rejected != nil {
				t.Fatal(rejected)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.submitted) != tt.sent {
				t.Errorf("sent %d times, want %d", len(f.submitted), tt.sent)
			}
			if micros(f.held["web1!disk"]) != g.last[disk].Executed.UnixMicro() {
				t.Error("icinga does not hold the result")
			}
		})
	}
}

// Connections may outlive the worker process, as behind a proxy.
func TestAnotherWorkerProcessIsAskedWhatItHolds(t *testing.T) {
	f, cfg := newFakeIcinga(t, func(submission) (int, string) { return http.StatusOK, success })
	g := newGateway(t, cfg)
	g.times.look = 5 * time.Millisecond
	g.start()
	disk := service("disk")
	if rejected := g.deliver(checks.Result{Object: disk}); rejected != nil {
		t.Fatal(rejected)
	}
	f.mu.Lock()
	f.held["web1!disk"] = 1
	f.pid++
	f.mu.Unlock()
	realtest.Eventually(t, time.Minute, "the result to be sent again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return micros(f.held["web1!disk"]) == g.last[disk].Executed.UnixMicro()
	})
}

func TestAnObjectThatTakesNothingDoesNotHoldUpTheOthers(t *testing.T) {
	var inactive atomic.Bool
	f, cfg := newFakeIcinga(t, func(s submission) (int, string) {
		if inactive.Load() && s.Service == "web1!inactive" {
			return http.StatusServiceUnavailable, `{"results":[{"code":503,"status":"inactive"}]}`
		}
		return http.StatusOK, success
	})
	g := newGateway(t, cfg)
	g.times.look, g.times.retry = 5*time.Millisecond, 5*time.Millisecond
	g.start()
	odd, even := service("inactive"), service("active")
	if rejected := g.deliver(checks.Result{Object: odd}, checks.Result{Object: even}); rejected != nil {
		t.Fatal(rejected)
	}
	inactive.Store(true)
	f.mu.Lock()
	f.held["web1!inactive"], f.held["web1!active"] = 1, 1
	f.pid++
	f.mu.Unlock()
	has := func(o checks.Object) func() bool {
		return func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return micros(f.held[o.String()]) == g.last[o].Executed.UnixMicro()
		}
	}
	realtest.Eventually(t, time.Minute, "the other object", has(even))
	if rejected := g.deliver(checks.Result{Object: even}); rejected != nil {
		t.Fatal(rejected)
	}
	inactive.Store(false)
	realtest.Eventually(t, time.Minute, "the object that is active again", has(odd))
}
