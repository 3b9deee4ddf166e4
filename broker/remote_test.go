package broker

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"checkbus/internal/realtest"
)

func TestRemoteMistakesAreNamedByTheirKey(t *testing.T) {
	plain := []string{"mqtt://broker"}
	tests := map[string]struct {
		remote Remote
		want   string // "" is no mistake
	}{
		"one address":            {Remote{Address: plain}, ""},
		"several":                {Remote{Address: []string{"mqtts://a:8884", "wss://b/mqtt?x=1", "ws://[::1]:80", "unix:/run/m"}, CA: "ca.pem"}, ""},
		"none":                   {Remote{}, "address: required"},
		"no URL":                 {Remote{Address: []string{"broker:1883"}}, "is not of the form"},
		"no host":                {Remote{Address: []string{"mqtt://:1883"}}, "is not of the form"},
		"a password in it":       {Remote{Address: []string{"mqtt://me:secret@broker"}}, "address: mqtt://me:xxxxx@broker: give username"},
		"a path for TCP":         {Remote{Address: []string{"mqtt://broker/x"}}, "has a path"},
		"a relative socket":      {Remote{Address: []string{"unix:run/m"}}, "needs an absolute path"},
		"twice":                  {Remote{Address: []string{"mqtt://a", "mqtt://a:1883"}}, "is there twice"},
		"a password for nobody":  {Remote{Address: plain, PasswordFile: "p"}, "password_file: needs username"},
		"a name alone":           {Remote{Address: plain, Username: "me"}, ""},
		"a key without its cert": {Remote{Address: []string{"mqtts://a"}, Key: "k"}, "cert: cert and key need each other"},
		"a CA without TLS":       {Remote{Address: plain, CA: "ca.pem"}, "need an address with mqtts://"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := errors.Join(tt.remote.validate()...)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("validate() = %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the mistake shows a password")
			}
		})
	}
}

func TestRemoteFilesAreReadAgainAndNeverShown(t *testing.T) {
	dir := t.TempDir()
	r := Remote{Username: "me", PasswordFile: filepath.Join(dir, "secret"), CA: filepath.Join(dir, "ca.pem")}
	bridges := checkBridges([]Bridge{{Remote: r}})
	outside := Subscribe{Remote: r}.Check()
	for prefix, err := range map[string]error{"bridge[0].": bridges, "subscribe.": outside} {
		if err == nil || !strings.Contains(err.Error(), prefix+"password_file: ") || !strings.Contains(err.Error(), prefix+"ca: ") {
			t.Errorf("missing files: %v, want both named", err)
		}
	}
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(r.PasswordFile, []byte(want+"\r\nrest\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.password(); got != want || err != nil {
			t.Errorf("password() = %q, %v, want %q", got, err, want)
		}
	}
	if err := os.WriteFile(r.CA, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	if errs := r.check(); len(errs) != 1 || strings.Contains(errs[0].Error(), "hidden") {
		t.Errorf("a bad CA: %v", errs)
	}
}

func TestRedialGoesThroughTheAddressesAndWaitsAfterAllFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &redial{remote: Remote{Address: []string{"unix:/nowhere/1", "unix:/nowhere/2"}}, least: time.Second, most: 30 * time.Second}
		began, last := time.Now(), time.Now()
		for i, upper := range []time.Duration{0, 0, 2, 0, 4, 0, 8, 0, 16, 0, 30, 0, 30} {
			_, address, err := r.dial(t.Context())
			if err == nil || address != r.remote.Address[i%2] {
				t.Fatalf("try %d: %s, %v", i, address, err)
			}
			paused := time.Since(last)
			last = time.Now()
			if least := min(time.Second, upper*time.Second); paused < least || paused > upper*time.Second {
				t.Errorf("try %d came after %v, want %v to %v s", i, paused, least, upper)
			}
		}
		if time.Since(began) < 6*time.Second {
			t.Error("no pauses")
		}
	})
}

func TestRedialAfterAGoodConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		roundRobin bool
		want       int
	}{
		"goes back to the first": {false, 0},
		"or on to the next":      {true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			free := realtest.FreeAddr(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			addresses := []string{"mqtt://" + free, "mqtt://" + ln.Addr().String(), "mqtt://localhost:1"}
			r := &redial{remote: Remote{Address: addresses}, roundRobin: tt.roundRobin, least: time.Microsecond, most: time.Microsecond}
			if _, _, err := r.dial(t.Context()); err == nil {
				t.Fatal("connected to nobody")
			}
			nc, address, err := r.dial(t.Context())
			if err != nil || address != addresses[1] {
				t.Fatalf("second try: %s, %v", address, err)
			}
			nc.Close()
			if _, address, _ = r.dial(t.Context()); address != addresses[tt.want] {
				t.Errorf("then %s, want %s", address, addresses[tt.want])
			}
		})
	}
}
