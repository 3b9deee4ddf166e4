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
	tests := map[string]struct {
		cfg  Config
		want string
	}{
		"nothing at all": {Config{}, "listener: at least one is required\n" +
			"broker.max_packet: 0 is not in 1024 to 268435455\n" +
			"broker.max_connections: 0 is not positive"},
		"no listener":      {listen(), "listener: at least one is required"},
		"no port":          {listen("localhost"), `listener[0].address: "localhost" is neither host:port nor unix:/path`},
		"wrong port":       {listen("127.0.0.1:1883", ":70000"), `listener[1].address: ":70000" has no port from 0 to 65535`},
		"empty":            {listen(""), `listener[0].address: "" is neither host:port nor unix:/path`},
		"relative socket":  {listen("unix:mqtt"), `listener[0].address: "unix:mqtt" needs an absolute path, as in unix:/run/checkbus/mqtt`},
		"the same twice":   {listen(":1883", ":1883"), `listener[1].address: :1883 is listener[0]'s already`},
		"any port twice":   {listen("127.0.0.1:0", "127.0.0.1:0"), ""},
		"all kinds":        {listen(":1883", "[::1]:1884", "unix:/run/mqtt"), ""},
		"$SYS too often":   {Config{Listeners: Default().Listeners, MaxPacket: 1024, MaxConnections: 1, SysInterval: 999 * time.Millisecond}, "broker.sys_interval: 999ms is neither 0s nor 1s or more"},
		"$SYS never":       {Config{Listeners: Default().Listeners, MaxPacket: 1024, MaxConnections: 1}, ""},
		"packet too large": {Config{Listeners: Default().Listeners, MaxPacket: 268435456, MaxConnections: 1}, "broker.max_packet: 268435456 is not in 1024 to 268435455"},
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
sys_interval = "5s"
[[listener]]
address = "unix:/run/mqtt"
`)).Decode(&c)
	if err != nil || len(meta.Undecoded()) > 0 {
		t.Fatal(err, meta.Undecoded())
	}
	if c.MaxPacket != 4096 || c.MaxConnections != 7 || c.SysInterval != 5*time.Second || len(c.Listeners) != 1 || c.Listeners[0].Address != "unix:/run/mqtt" {
		t.Errorf("read %+v", c)
	}
}
