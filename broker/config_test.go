package broker

import (
	"strings"
	"testing"
)

func TestEveryMistakeInTheSettingsIsNamed(t *testing.T) {
	yes, no := true, false
	tests := map[string]struct {
		listener Listener
		access   Access
		want     string // "" is none
	}{
		"loopback":                 {Listener{Address: "127.0.0.1:0"}, Access{}, ""},
		"loopback, IPv6":           {Listener{Address: "[::1]:0"}, Access{}, ""},
		"loopback, by name":        {Listener{Address: "localhost:0"}, Access{}, ""},
		"Unix socket":              {Listener{Address: "unix:/run/x"}, Access{}, ""},
		"relative Unix socket":     {Listener{Address: "unix:x"}, Access{}, "listener[0].address: "},
		"no port":                  {Listener{Address: "127.0.0.1"}, Access{}, "listener[0].address: "},
		"nobody may connect":       {Listener{Address: "0.0.0.0:1883"}, Access{}, "listener[0].allow_anonymous: "},
		"nobody may connect, IPv6": {Listener{Address: ":1883"}, Access{ACLFile: "acl"}, "listener[0].allow_anonymous: "},
		"nobody on loopback":       {Listener{Address: "127.0.0.1:0", AllowAnonymous: &no}, Access{}, "listener[0].allow_anonymous: "},
		"open to all":              {Listener{Address: "0.0.0.0:1883", AllowAnonymous: &yes}, Access{}, ""},
		"users":                    {Listener{Address: "0.0.0.0:1883"}, Access{PasswordFile: "passwd"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			cfg.Listeners, cfg.Access = []Listener{tt.listener}, tt.access
			err := cfg.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAnonymousClientsAreLetInByDefaultOnlyWhereNothingIsSecured(t *testing.T) {
	yes := true
	tests := map[string]struct {
		listener Listener
		access   Access
		want     bool
	}{
		"loopback":                      {Listener{Address: "127.0.0.1:0"}, Access{}, true},
		"loopback with an ACL file":     {Listener{Address: "127.0.0.1:0"}, Access{ACLFile: "acl"}, true},
		"loopback with a password file": {Listener{Address: "127.0.0.1:0"}, Access{PasswordFile: "passwd"}, false},
		"Unix socket":                   {Listener{Address: "unix:/run/x"}, Access{}, true},
		"elsewhere":                     {Listener{Address: "192.0.2.1:0"}, Access{}, false},
		"elsewhere, when told so":       {Listener{Address: "192.0.2.1:0", AllowAnonymous: &yes}, Access{PasswordFile: "passwd"}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := (Config{Access: tt.access}).anonymous(tt.listener); got != tt.want {
				t.Errorf("anonymous = %t", got)
			}
		})
	}
}
