package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"checkbus/internal/realtest"
)

// A scraper is a Prometheus that scrapes one gateway.
type scraper struct {
	t    *testing.T
	addr string
}

// startPrometheus runs Debian's Prometheus with the alerts of contrib until the
// test ends.
func startPrometheus(t *testing.T, gateway string) scraper {
	t.Helper()
	program := realtest.Need(t, "prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs("../../contrib/prometheus/checkbus.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{global: {scrape_interval: 500ms, evaluation_interval: 500ms},
		scrape_configs: [{job_name: checkbus, static_configs: [{targets: [%q]}]}], rule_files: [%q]}`, gateway, rules)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scraper{t, realtest.FreeAddr(t)}
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.addr)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ended says nothing
		if t.Failed() {
			t.Logf("Prometheus wrote:\n%s", log.String())
		}
	})
	return p
}

// ask reads an answer of its API; false as long as there is none.
func (p scraper) ask(path string, data any) bool {
	p.t.Helper()
	response, err := http.Get("http://" + p.addr + "/api/v1/" + path)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	answer := struct{ Data any }{data}
	return json.NewDecoder(response.Body).Decode(&answer) == nil && response.StatusCode == http.StatusOK
}

// A rule is an alert as Prometheus sees it.
type rule struct {
	Name, Query, Health, State, LastError string
}

func (p scraper) rules() (all []rule) {
	var answer struct{ Groups []struct{ Rules []rule } }
	p.ask("rules", &answer)
	for _, g := range answer.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

var metricName = regexp.MustCompile(`\b(checkbus|process|go)_[a-z0-9_]+`)

func TestPrometheusScrapesAndAlerts(t *testing.T) {
	t.Parallel()
	web := realtest.FreeAddr(t)
	away, none := "mqtt://"+realtest.FreeAddr(t), filepath.Join(t.TempDir(), "none")
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[nagios]\ncommand_file = %q\nlog_file = %q\nstatus_file = %q\n[[bridge]]\nname = \"dc2\"\naddress = [%q]\ntopics = [\"a/#\"]\n[subscribe]\naddress = [%q]\n",
		web, none, none, none, away, away))
	g.publish("nagios/web1", `{"exit_code":0,"reason":"waits"}`)
	p := startPrometheus(t, web)

	var rules []rule
	waitFor(t, "every rule to be evaluated, and the core to be missed", func() bool {
		rules = p.rules()
		return len(rules) > 0 && !slices.ContainsFunc(rules, func(r rule) bool { return r.Health == "unknown" }) &&
			slices.ContainsFunc(rules, func(r rule) bool { return r.Name == "CheckbusCoreDown" && r.State == "pending" })
	})
	var up struct{ Result []struct{ Value []any } }
	waitFor(t, "the gateway to be up", func() bool {
		return p.ask("query?query="+url.QueryEscape(`up{job="checkbus"} == 1`), &up) && len(up.Result) == 1
	})
	var scraped []string
	if !p.ask("label/__name__/values", &scraped) {
		t.Fatal("Prometheus does not say what it scraped")
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := metricName.FindAllString(string(readme), -1)
	known := func(name string) bool { return slices.Contains(scraped, name) }
	for _, r := range rules {
		if r.Health != "ok" {
			t.Errorf("%s: %s", r.Name, r.LastError)
		}
		for _, name := range metricName.FindAllString(r.Query, -1) {
			if !known(name) {
				t.Errorf("%s: there is no metric %s", r.Name, name)
			}
		}
	}
	for _, name := range scraped {
		family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count"), "_bucket")
		if strings.HasPrefix(name, "checkbus_") && !slices.Contains(listed, name) && !slices.Contains(listed, family+"_bucket") {
			t.Errorf("README does not list %s", name)
		}
	}
	for _, name := range listed {
		if !known(name) {
			t.Errorf("README lists %s, which there is not", name)
		}
	}
	for _, expr := range dashboardQueries(t) {
		if !slices.ContainsFunc(metricName.FindAllString(expr, -1), known) && !strings.HasPrefix(expr, "up{") {
			t.Errorf("the dashboard asks for nothing that is scraped: %s", expr)
		}
		for _, name := range metricName.FindAllString(expr, -1) {
			if !known(name) {
				t.Errorf("the dashboard's %s: there is no metric %s", expr, name)
			}
		}
		query := strings.NewReplacer("$__rate_interval", "1m", `$instance`, ".*").Replace(expr)
		if !p.ask("query?query="+url.QueryEscape(query), &up) {
			t.Errorf("the dashboard's %s is no query", expr)
		}
	}
}

// dashboardQueries are what the panels of the dashboard ask for.
func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../contrib/grafana/checkbus.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, panel := range board.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %s asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

func TestTheAlertsAreSound(t *testing.T) {
	promtool := realtest.Need(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "checkbus.rules.yml"}, {"test", "rules", "checkbus.rules_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "../../contrib/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "config", "--syntax-only", "prometheus.yml")
	cmd.Dir = "../../contrib/prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("prometheus.yml: %v\n%s", err, out)
	}
	rules, err := os.ReadFile("../../contrib/prometheus/checkbus.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../contrib/prometheus/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(readme), alert[1]) {
			t.Errorf("contrib/prometheus/README.md does not list %s", alert[1])
		}
	}
	g := startGateway(t, "")
	_, metrics := g.get("/metrics")
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
