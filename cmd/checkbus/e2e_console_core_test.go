package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

// What only a core says of an object is seen beside its state: soft and the
// attempt, acknowledged, in downtime, flapping, and PENDING.
func TestConsoleShowsWhatACoreSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services.cfg")
	services := ""
	for name, setting := range map[string]string{"soft": "max_check_attempts 3", "acknowledged": "", "downtime": "", "flapping": "flap_detection_enabled 1", "pending": ""} {
		services += fmt.Sprintf("define service {\n  use test-service\n  host_name h0000\n  service_description %s\n  %s\n}\n", name, setting)
	}
	if err := os.WriteFile(file, []byte(services), 0o644); err != nil {
		t.Fatal(err)
	}
	n := realtest.StartNagios(t, realtest.NagiosOptions{Hosts: 1, Includes: []string{file}, Config: []string{
		"enable_flap_detection=1", "low_service_flap_threshold=10", "high_service_flap_threshold=20",
		"log_service_retries=1", "log_external_commands=1",
	}})
	web := realtest.FreeAddr(t)
	g := startGateway(t, feedTable(n)+fmt.Sprintf("[web]\naddress = %q\n[broker]\nsys_interval = \"1s\"\n", web))
	p := openConsole(t, "http://"+web, "/?state=all")
	p.live()
	row := func(service, pill, flags string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('#objects .row:not([hidden])')].some((r) =>
			r.service.textContent === %q && r.pill.textContent === %q && r.extra.textContent === %q)`, service, pill, flags)
	}
	p.until(row("pending", "PENDING", ""))
	for service, codes := range map[string][]int{"soft": {0, 1, 1}, "acknowledged": {2}, "downtime": {2}, "flapping": {0, 2, 0, 2, 0, 2, 0, 2}} {
		for _, code := range codes {
			g.publish("nagios/h0000/"+service, fmt.Sprintf(`{"exit_code":%d,"reason":"%s says %d"}`, code, service, code))
		}
	}
	n.WaitLog("h0000;acknowledged;CRITICAL")
	n.Command("ACKNOWLEDGE_SVC_PROBLEM;h0000;acknowledged;1;0;0;me;on it")
	now := time.Now().Unix()
	n.Command("SCHEDULE_SVC_DOWNTIME;h0000;downtime;%d;%d;1;0;3600;me;why", now-1, now+3600)
	p.until(row("soft", "WARNING", "soft 2"))
	p.until(row("acknowledged", "CRITICAL", "acknowledged"))
	p.until(row("downtime", "CRITICAL", "downtime"))
	p.until(row("flapping", "CRITICAL", "flapping"))
	if rows := p.rows(); len(rows) != 6 || rows[0] != "CRITICAL h0000 flapping" || rows[1] != "WARNING h0000 soft" {
		t.Errorf("what nobody has seen to does not come first: %q", rows)
	}
	p.until(`document.querySelectorAll('#objects .row.handled:not([hidden])').length === 2`)
	for _, want := range []string{"is acknowledged", "is in downtime", "began to flap", "(soft 1)"} {
		p.until(fmt.Sprintf(`document.getElementById('events').textContent.includes(%q)`, want))
	}
	p.until(`document.querySelector('#cores tbody').textContent.includes('nagios')`)
	g.publish("nagios/h0000/soft", `{"exit_code":0,"reason":"fine"}`)
	g.publish("nagios/h0000/flapping", `{"exit_code":0,"reason":"fine"}`)
	p.visit("/?unhandled=1")
	p.until(`document.getElementById('objects-empty').textContent === 'No unhandled problems; 2 are acknowledged or in downtime.'`)
	p.visit("/?state=all")
	p.live()

	if err := os.WriteFile(file, []byte(strings.ReplaceAll(services, "service_description pending", "service_description other")), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Reload()
	p.until(row("other", "PENDING", ""))
	p.until("!(" + row("pending", "PENDING", "") + ")")
}
