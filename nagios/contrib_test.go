package nagios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"checkbus/checks"
	"checkbus/internal/realtest"
)

// The shipped templates and settings are accepted by the real daemon, take a
// result, and report a service that is silent for too long.
func TestShippedConfigurationWorks(t *testing.T) {
	for _, core := range []string{"nagios", "naemon"} {
		t.Run(core, func(t *testing.T) {
			dir, err := filepath.Abs(filepath.Join("..", "contrib", core))
			if err != nil {
				t.Fatal(err)
			}
			settings, err := os.ReadFile(filepath.Join(dir, core+".cfg.example"))
			if err != nil {
				t.Fatal(err)
			}
			mine := filepath.Join(t.TempDir(), "mine.cfg")
			if err := os.WriteFile(mine, []byte(`
define host {
  use        checkbus-host
  host_name  web1
  address    192.0.2.10
}
define service {
  use                  checkbus-service
  host_name            web1
  service_description  Disk /var
}
define service {
  use                  checkbus-service-fresh
  host_name            web1
  service_description  silent
  freshness_threshold  1
}
`), 0o644); err != nil {
				t.Fatal(err)
			}
			n := realtest.StartNagios(t, realtest.NagiosOptions{
				Includes: []string{filepath.Join(dir, "checkbus.cfg"), mine},
				Config:   append(strings.Split(string(settings), "\n"), "service_freshness_check_interval=1", "additional_freshness_latency=0"),
			})
			n.Verify()
			s := sinkFor(t, n, nil)
			disk := checks.Object{Host: "web1", Service: "Disk /var"}
			silent := checks.Object{Host: "web1", Service: "silent"}
			wantTaken(t, s.Submit(t.Context(), []checks.Result{{Object: disk, State: checks.Critical, Reason: "97%", Seq: 1}}))
			n.WaitStatus("report both", func(m map[checks.Object]realtest.NagiosStatus) bool {
				return m[disk].Output == "97%" && m[silent].Output == "UNKNOWN - no result from checkbus"
			})
		})
	}
}
