package broker

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	listen := func(addresses ...string) Config {
		c := Default()
		c.Listeners = nil
		for _, a := range addresses {
			c.Listeners = append(c.Listeners, Listener{Address: a})
		}
		return c
	}
	with := func(change func(*Config)) Config {
		c := Default()
		change(&c)
		return c
	}
	tests := map[string]struct {
		cfg  Config
		want string
	}{
		"nothing at all": {Config{}, "listener: at least one is required\n" +
			"broker.max_packet: 0 is not in 1024 to 268435455\n" +
			"broker.max_connections: 0 is not positive\n" +
			"broker.max_retained: 0 is less than 1MiB\n" +
			"broker.max_kept: 0 is less than 1MiB\n" +
			"broker.connect_timeout: 0s is not in 1s to 5m0s\n" +
			"broker.max_topic_levels: 0 is not in 1 to 200\n" +
			"broker.max_queued_messages: 0 is not positive\n" +
			"broker.max_queued_bytes: 0 is less than 64KiB\n" +
			"broker.max_stored: 0 is less than 1MiB"},
		"no listener":      {listen(), "listener: at least one is required"},
		"no port":          {listen("localhost"), `listener[0].address: "localhost" is none of host:port, unix:/path and systemd:NAME`},
		"wrong port":       {listen("127.0.0.1:1883", "[::1]:70000"), `listener[1].address: "[::1]:70000" has no port from 0 to 65535`},
		"empty":            {listen(""), `listener[0].address: "" is none of host:port, unix:/path and systemd:NAME`},
		"relative socket":  {listen("unix:mqtt"), `listener[0].address: "unix:mqtt" needs an absolute path, as in unix:/run/checkbus/mqtt`},
		"the same twice":   {listen("[::1]:1883", "[::1]:1883"), `listener[1].address: [::1]:1883 is listener[0]'s already`},
		"any port twice":   {listen("127.0.0.1:0", "127.0.0.1:0"), ""},
		"all kinds":        {listen("127.0.0.1:1883", "[::1]:1884", "unix:/run/mqtt"), ""},
		"$SYS too often":   {with(func(c *Config) { c.SysInterval = 999 * time.Millisecond }), "broker.sys_interval: 999ms is neither 0s nor 1s or more"},
		"$SYS never":       {with(func(c *Config) { c.SysInterval = 0 }), ""},
		"packet too large": {with(func(c *Config) { c.MaxPacket = 268435456 }), "broker.max_packet: 268435456 is not in 1024 to 268435455"},
		"few sessions":     {with(func(c *Config) { c.MaxSessions = 9_999 }), "broker.max_sessions: 9999 is less than max_connections (10000)"},
		"limits off":       {with(func(c *Config) { c.MaxRate, c.MaxConnectionsPerAddress = 0, 0 }), ""},
		"limits below 0": {with(func(c *Config) { c.MaxRate, c.MaxConnectionsPerAddress = -1, -1 }), "broker.max_connections_per_address: -1 is negative\n" +
			"broker.max_rate: -1 is not in 0 to 1000000"},
		"limits too high": {with(func(c *Config) { c.MaxRate, c.ConnectTimeout, c.MaxTopicLevels = 1_000_001, time.Hour, 201 }), "broker.max_rate: 1000001 is not in 0 to 1000000\n" +
			"broker.connect_timeout: 1h0m0s is not in 1s to 5m0s\n" +
			"broker.max_topic_levels: 201 is not in 1 to 200"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := tt.cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("Validate:\n%s\nwant:\n%s", got, tt.want)
			}
			if _, err := New(tt.cfg, slog.New(slog.DiscardHandler)); (err == nil) != (tt.want == "") {
				t.Errorf("New: %v", err)
			}
		})
	}
}

func TestSettingsAreReadByTheirKeys(t *testing.T) {
	var c Config
	meta, err := toml.NewDecoder(strings.NewReader(`
max_packet = 4096
max_connections = 7
max_connections_per_address = 6
max_rate = 5
connect_timeout = "4s"
max_topic_levels = 3
sys_interval = "5s"
[[listener]]
address = "unix:/run/mqtt"
`)).Decode(&c)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatal(err, meta.Undecoded())
	}
	if c.MaxConnectionsPerAddress != 6 || c.MaxRate != 5 || c.ConnectTimeout != 4*time.Second || c.MaxTopicLevels != 3 {
		t.Errorf("read %+v", c)
	}
	if c.MaxPacket != 4096 || c.MaxConnections != 7 || c.SysInterval != 5*time.Second || len(c.Listeners) != 1 || c.Listeners[0].Address != "unix:/run/mqtt" {
		t.Errorf("read %+v", c)
	}
}

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
		"certificates":             {Listener{Address: ":8883", TLSCert: "c", TLSKey: "k", ClientCA: "a", Identity: "cn"}, Access{}, ""},
		"nameless certificates":    {Listener{Address: ":8883", TLSCert: "c", TLSKey: "k", ClientCA: "a"}, Access{}, "listener[0].allow_anonymous: "},
		"no key":                   {Listener{Address: "[::1]:0", TLSCert: "c"}, Access{}, "listener[0].tls_cert: needs tls_key"},
		"no certificate":           {Listener{Address: "[::1]:0", TLSKey: "k"}, Access{}, "listener[0].tls_key: needs tls_cert"},
		"authority without TLS":    {Listener{Address: "[::1]:0", ClientCA: "a"}, Access{}, "listener[0].client_ca: needs tls_cert and tls_key"},
		"required of whom":         {Listener{Address: "[::1]:0", RequireClientCert: true}, Access{}, "listener[0].require_client_cert: needs client_ca"},
		"identity of whom":         {Listener{Address: "[::1]:0", Identity: "cn"}, Access{}, "listener[0].identity: needs client_ca"},
		"unknown identity":         {Listener{Address: "[::1]:0", Identity: "dn"}, Access{}, "listener[0].identity: \"dn\" is neither cn nor subject"},
		"systemd":                  {Listener{Address: "systemd:mqtt"}, Access{PasswordFile: "p"}, ""},
		"systemd without a name":   {Listener{Address: "systemd:"}, Access{PasswordFile: "p"}, "listener[0].address: "},
		"nobody over systemd":      {Listener{Address: "systemd:mqtt"}, Access{}, "listener[0].allow_anonymous: "},
		"mode of a port":           {Listener{Address: "[::1]:0", SocketMode: "0660"}, Access{}, "listener[0].socket_mode: needs a Unix socket"},
		"wrong mode":               {Listener{Address: "unix:/x", SocketMode: "rw"}, Access{}, "listener[0].socket_mode: "},
		"too much mode":            {Listener{Address: "unix:/x", SocketMode: "1777"}, Access{}, "listener[0].socket_mode: "},
		"nobody behind a proxy":    {Listener{Address: "[::1]:0", ProxyProtocol: true}, Access{}, "listener[0].allow_anonymous: "},
		"trusted proxies":          {Listener{Address: ":1883", ProxyProtocol: true, ProxyFrom: []string{"10.0.0.0/8", "::1", "2001:db8::/32"}}, Access{PasswordFile: "p"}, ""},
		"trusted for nothing":      {Listener{Address: "[::1]:0", ProxyFrom: []string{"::1"}}, Access{}, "listener[0].proxy_from: needs proxy_protocol"},
		"trusted by name":          {Listener{Address: ":1883", ProxyProtocol: true, ProxyFrom: []string{"lb.example"}}, Access{PasswordFile: "p"}, "listener[0].proxy_from: \"lb.example\" is neither"},
		"WebSocket":                {Listener{Address: ":80", Protocol: "websocket", Path: "/x", Origins: []string{"https://a.example:8443"}}, Access{PasswordFile: "p"}, ""},
		"unknown protocol":         {Listener{Address: "[::1]:0", Protocol: "ws"}, Access{}, "listener[0].protocol: \"ws\" is neither mqtt nor websocket"},
		"path of nothing":          {Listener{Address: "[::1]:0", Protocol: "mqtt", Path: "/x"}, Access{}, "listener[0].path: needs protocol"},
		"origins of nothing":       {Listener{Address: "[::1]:0", Origins: []string{"https://a.example"}}, Access{}, "listener[0].origins: needs protocol"},
		"relative path":            {Listener{Address: "[::1]:0", Protocol: "websocket", Path: "x"}, Access{}, "listener[0].path: "},
		"origin with a path":       {Listener{Address: "[::1]:0", Protocol: "websocket", Origins: []string{"https://a.example/"}}, Access{}, "listener[0].origins: "},
		"origin without a scheme":  {Listener{Address: "[::1]:0", Protocol: "websocket", Origins: []string{"a.example"}}, Access{}, "listener[0].origins: "},
		"pages on this machine":    {Listener{Address: "[::1]:0", Protocol: "websocket"}, Access{}, "listener[0].allow_anonymous: "},
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
		"loopback with certificates":    {Listener{Address: "127.0.0.1:0", Identity: "cn"}, Access{}, false},
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

func TestListenersSayWhereClientsOfThisMachineFindThem(t *testing.T) {
	tests := map[string]struct {
		l    Listener
		want string
	}{
		"plain":                  {Listener{Address: "127.0.0.1:1883"}, "mqtt://127.0.0.1:1883"},
		"everywhere, TLS":        {Listener{Address: "0.0.0.0:8883", TLSCert: "x"}, "mqtts://localhost:8883"},
		"everywhere, IPv6":       {Listener{Address: "[::]:1883"}, "mqtt://localhost:1883"},
		"no host":                {Listener{Address: ":1883"}, "mqtt://localhost:1883"},
		"WebSocket":              {Listener{Address: "[::1]:80", Protocol: "websocket"}, "ws://[::1]:80/mqtt"},
		"Unix socket":            {Listener{Address: "unix:/run/checkbus.sock"}, "unix:/run/checkbus.sock"},
		"Unix socket, TLS":       {Listener{Address: "unix:/run/checkbus.sock", TLSCert: "x"}, ""},
		"opened by systemd":      {Listener{Address: "systemd:mqtt"}, ""},
		"any port":               {Listener{Address: "127.0.0.1:0"}, ""},
		"behind a load balancer": {Listener{Address: "127.0.0.1:1883", ProxyProtocol: true}, ""},
	}
	for name, tt := range tests {
		got := tt.l.URL()
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if _, err := parseRemote(got); got != "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
