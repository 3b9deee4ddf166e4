package icinga

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

func TestValidateNamesMistakesByTheirKeys(t *testing.T) {
	dir := t.TempDir()
	ca := realtest.NewAuthority(t, dir)
	cert, key := ca.Issue(t, dir, "gateway")
	secret, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for file, text := range map[string]string{secret: "swordfish\n", empty: "\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	missing := filepath.Join(dir, "missing")
	tests := map[string]struct {
		change func(*Config)
		want   []string // nothing: valid
	}{
		"password":          {func(c *Config) {}, nil},
		"certificate":       {func(c *Config) { c.Username, c.PasswordFile, c.ClientCert, c.ClientKey = "", "", cert, key }, nil},
		"two masters":       {func(c *Config) { c.URL = []string{"https://a:5665", "https://b:5665/"} }, nil},
		"empty":             {func(c *Config) { *c = Config{} }, []string{"icinga.url: required", "icinga.ca: required", "icinga.username: ", "icinga.connections: ", "icinga.timeout: "}},
		"http":              {func(c *Config) { c.URL = []string{"http://127.0.0.1:5665"} }, []string{"icinga.url: "}},
		"with a path":       {func(c *Config) { c.URL = []string{"https://a:5665/v1"} }, []string{"icinga.url: "}},
		"the same twice":    {func(c *Config) { c.URL = []string{"https://a:5665", "https://a:5665"} }, []string{"icinga.url: a:5665 is there twice"}},
		"both accounts":     {func(c *Config) { c.ClientCert, c.ClientKey = cert, key }, []string{"icinga.username: "}},
		"no account":        {func(c *Config) { c.Username, c.PasswordFile = "", "" }, []string{"icinga.username: required"}},
		"no user":           {func(c *Config) { c.Username = "" }, []string{"icinga.username: "}},
		"colon":             {func(c *Config) { c.Username = "a:b" }, []string{"icinga.username: "}},
		"no password file":  {func(c *Config) { c.PasswordFile = "" }, []string{"icinga.password_file: required"}},
		"password missing":  {func(c *Config) { c.PasswordFile = missing }, []string{"icinga.password_file: ", missing}},
		"password empty":    {func(c *Config) { c.PasswordFile = empty }, []string{"icinga.password_file: ", empty}},
		"no key":            {func(c *Config) { c.Username, c.PasswordFile, c.ClientCert = "", "", cert }, []string{"icinga.client_cert: "}},
		"key and cert":      {func(c *Config) { c.Username, c.PasswordFile, c.ClientCert, c.ClientKey = "", "", key, cert }, []string{"icinga.client_cert: "}},
		"ca missing":        {func(c *Config) { c.CA = missing }, []string{"icinga.ca: ", missing}},
		"ca without one":    {func(c *Config) { c.CA = secret }, []string{"icinga.ca: ", secret}},
		"connections":       {func(c *Config) { c.Connections = 65 }, []string{"icinga.connections: 65"}},
		"timeout":           {func(c *Config) { c.Timeout = time.Millisecond }, []string{"icinga.timeout: 1ms"}},
		"secret in the URL": {func(c *Config) { c.URL = []string{"https://u:swordfish@a:5665"} }, []string{"icinga.url: "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := Defaults()
			cfg.URL, cfg.CA, cfg.Username, cfg.PasswordFile = []string{"https://icinga1:5665"}, ca.File, "checkbus", secret
			tt.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Validate = %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Validate = %v\nwant %s", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "swordfish") {
				t.Errorf("Validate tells the secret: %v", err)
			}
		})
	}
}
