package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// FuzzEnter tries to be let in by a session that was not given out, or by a name
// that is not this machine's.
func FuzzEnter(f *testing.F) {
	u := &users{byName: map[string]string{"ann": "secret"}}
	o := options()
	o.Users = u
	elsewhere := New(Config{Address: "0.0.0.0:8090"}, o)
	here := New(Default(), options())
	here.local = true
	f.Add("YW5u.9999999999.", "evil.example.org")
	f.Add("..", "[::1")
	f.Add("YW5u.-1.x", "127.0.0.1.example.org:80")
	f.Fuzz(func(t *testing.T, cookie, host string) {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Cookie", sessionCookie+"="+cookie)
		if user, ok := elsewhere.enter(httptest.NewRecorder(), r); ok {
			t.Errorf("%q was let in as %q", cookie, user)
		}
		r.Host = host
		here.enter(httptest.NewRecorder(), r)
	})
}
