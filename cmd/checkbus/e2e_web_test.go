package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

var webLine = regexp.MustCompile(`msg=console url=(\S+)/`)

// web is where the gateway's web server is: http://127.0.0.1:port.
func (g *gateway) web() string {
	g.t.Helper()
	var url string
	waitFor(g.t, "the web server", func() bool {
		if all := webLine.FindAllStringSubmatch(g.logged(), -1); all != nil {
			url = all[len(all)-1][1]
		}
		return url != ""
	})
	return url
}

// get returns what the gateway's web server answers.
func (g *gateway) get(path string) (status int, text string) {
	g.t.Helper()
	response, err := http.Get(g.web() + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// status runs checkbus status and returns its exit code and what it prints.
func (g *gateway) status(args ...string) (code int, out string) {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), program, append([]string{"status"}, args...)...)
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), all.String()
}

func TestStatusTellsTheGatewaysHealthByItsExitCode(t *testing.T) {
	t.Parallel()
	addr := realtest.FreeAddr(t)
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n", addr))
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	g.publish("nagios/web1/disk", `{"reason":"no code"}`)
	var code int
	var out string
	waitFor(t, "the event, which comes after the acknowledgement", func() bool {
		code, out = g.status("-config", g.settings)
		return strings.Contains(out, "; 1 told as events")
	})
	for _, want := range []string{", healthy, up ", "results   2 received, 1 accepted, 1 rejected (invalid 1)\n", "states    1 CRITICAL; 1 told as events\n", "spool     none waiting, of 1GiB\n"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, lacks %q:\n%s", code, want, out)
		}
	}
	code, out = g.status("-json", "-address", addr)
	var f figures
	if err := json.Unmarshal([]byte(out), &f); code != 0 || err != nil || !f.Ready || f.Results.Received != 2 || f.Results.Causes["invalid"] != 1 || f.States["critical"] != 1 || f.Events != 1 {
		t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no URL":          {[]string{"-address", "mqtt://" + addr}, 1, "is neither host:port nor a URL"},
		"nobody there":    {[]string{"-address", "http://127.0.0.1:1"}, 1, "connection refused"},
		"another server":  {[]string{"-address", "http://" + addr + "/nothing"}, 1, "404 Not Found"},
		"unknown flag":    {[]string{"-nosuch"}, 2, "flag provided but not defined"},
		"an argument":     {[]string{"now"}, 2, "unexpected argument"},
		"no password":     {[]string{"-address", "http://" + addr, "-user", "ann"}, 1, "-password-file: "},
		"no such gateway": {[]string{"-config", "/nosuch.toml"}, 1, "/nosuch.toml: no such file"},
	} {
		if code, out := g.status(tt.args...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, tt.code, out)
		}
	}
	g.stop()
	if code, out := g.status("-config", g.settings); code != 1 || !strings.Contains(out, "connection refused") {
		t.Errorf("once it is stopped: exit code %d\n%s", code, out)
	}
}

func TestACoreThatIsDownIsNotReadyAndTwoLines(t *testing.T) {
	t.Parallel()
	addr := realtest.FreeAddr(t)
	pipe := filepath.Join(t.TempDir(), "nagios.cmd")
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[nagios]\ncommand_file = %q\n", addr, pipe))
	g.publish("nagios/web1", `{"exit_code":0,"reason":"waits"}`)
	waitFor(t, "the core to be down", func() bool { status, _ := g.get("/readyz"); return status == http.StatusServiceUnavailable })
	if _, text := g.get("/readyz"); !strings.Contains(text, `{"name":"core nagios","ok":false,"reason":"cannot be reached`) || !strings.Contains(text, `{"name":"spool","ok":true}`) {
		t.Errorf("/readyz: %s", text)
	}
	if status, text := g.get("/healthz"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d, %q", status, text)
	}
	code, out := g.status("-config", g.settings)
	for _, want := range []string{"NOT READY core nagios: cannot be reached", "nagios    DOWN, 0 submitted, ", "1 waiting"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, lacks %q:\n%s", code, want, out)
		}
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	core, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	if line, err := bufio.NewReader(core).ReadString('\n'); err != nil || !strings.Contains(line, "waits") {
		t.Errorf("the core read %q, %v", line, err)
	}
	waitFor(t, "the core to be up", func() bool { status, _ := g.get("/readyz"); return status == http.StatusOK })
	g.stop()
	if log := g.logged(); strings.Count(log, "core unreachable") != 1 || strings.Count(log, "core back") != 1 || strings.Count(log, "level=WARN") != 1 {
		t.Errorf("logged:\n%s", log)
	}
}

// A gateway that has lost a bridge or the outside broker is ready, and not well.
func TestAnotherBrokerThatIsAwayIsDegraded(t *testing.T) {
	t.Parallel()
	addr := realtest.FreeAddr(t)
	m := realtest.StartMosquitto(t)
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n", addr)+bridgeTable(m.Addr, "a/# out 1")+subscribeTable(m))
	healthy := func() bool {
		_, text := g.get("/readyz")
		return strings.Contains(text, `{"name":"bridge peer","ok":true,"optional":true},{"name":"outside broker","ok":true,"optional":true}`)
	}
	waitFor(t, "both to be connected", healthy)
	code, out := g.status("-config", g.settings)
	for _, want := range []string{", healthy, up ", "bridge    peer up, 0 sent, 0 received, 0 dropped, 0 queued\n", "subscribe up, 0 received, 0 held, "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, lacks %q:\n%s", code, want, out)
		}
	}
	m.Stop()
	g.publish("a/x", "waits")
	waitFor(t, "both to be missed, and tried again", func() bool {
		status, text := g.get("/readyz")
		return status == http.StatusOK && strings.HasPrefix(text, `{"ready":true,`) &&
			strings.Count(text, `"ok":false,"optional":true,"reason":"mqtt://`) == 2 && strings.Count(text, ": connection refused") == 2
	})
	code, out = g.status("-config", g.settings)
	for _, want := range []string{
		", DEGRADED, up ", "DEGRADED  bridge peer: mqtt://" + m.Addr, "DEGRADED  outside broker: mqtt://" + m.Addr, ": connection refused\n",
		"bridge    peer DOWN, 0 sent, 0 received, 0 dropped, 1 queued\n", "subscribe DOWN, ", "another broker is not connected\n",
	} {
		if code != 3 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, lacks %q:\n%s", code, want, out)
		}
	}
	var f figures
	_, text := g.get("/api/status")
	if err := json.Unmarshal([]byte(text), &f); err != nil || !f.Ready || f.Bridges[0].Up || f.Bridges[0].Queued != 1 || f.Bridges[0].Reason == "" || f.Subscribe.Up || f.Subscribe.Reason == "" {
		t.Errorf("%v: %s", err, text)
	}
	m.Start()
	waitFor(t, "both to be back", healthy)
	if code, out := g.status("-config", g.settings); code != 0 || !strings.Contains(out, "healthy") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestAFullSpoolIsNotReady(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "[spool]\nmax_size = \"1MiB\"\n[nagios]\ncommand_file = \""+filepath.Join(t.TempDir(), "none")+"\"\n")
	item := `{"exit_code":0,"reason":"` + strings.Repeat("x", 16<<10) + `"},`
	batch := "[" + strings.TrimSuffix(strings.Repeat(item, 10), ",") + "]"
	for range 6 {
		if _, text := g.get("/readyz"); !strings.Contains(text, `{"name":"spool","ok":true}`) {
			t.Errorf("before it is full: %s", text)
		}
		g.publish("nagios/web1", batch)
	}
	waitFor(t, "the spool to be full", func() bool {
		status, text := g.get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, `{"name":"spool","ok":false,"reason":"full: `)
	})
}

func TestOtherMachinesNeedTLSAndALogin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := realtest.NewAuthority(t, dir)
	cert, key := authority.Issue(t, dir, "gateway")
	passwords, secret := filepath.Join(dir, "passwd"), filepath.Join(dir, "secret")
	passwd := exec.Command(program, "passwd", passwords, "ann")
	passwd.Stdin = strings.NewReader("secret\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, text := range map[string]string{secret: "secret\n", filepath.Join(dir, "acl"): "topic write nagios/#\nuser ann\ntopic read checkbus/rejected/mine\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := realtest.FreeAddr(t)[len("127.0.0.1:"):]
	g := startGateway(t, fmt.Sprintf("allow_anonymous = true\n[access]\npassword_file = %q\nacl_file = %q\n[web]\naddress = \"0.0.0.0:%s\"\ntls_cert = %q\ntls_key = %q\n",
		passwords, filepath.Join(dir, "acl"), port, cert, key))
	g.publish("nagios/web1", `{"reason":"mine"}`, "-i", "mine")
	g.publish("nagios/web1", `{"reason":"not mine"}`, "-i", "another")

	if code, out := g.status("-config", g.settings); code != 1 || !strings.Contains(out, "401 Unauthorized") {
		t.Errorf("without a password: exit code %d\n%s", code, out)
	}
	if code, out := g.status("-config", g.settings, "-user", "ann", "-password-file", secret); code != 0 || !strings.Contains(out, "healthy") {
		t.Errorf("by its settings: exit code %d\n%s", code, out)
	}
	if code, out := g.status("-address", "https://127.0.0.1:"+port, "-ca", authority.File, "-user", "ann", "-password-file", secret); code != 0 || !strings.Contains(out, "healthy") {
		t.Errorf("by its address: exit code %d\n%s", code, out)
	}
	if code, out := g.status("-address", "https://127.0.0.1:"+port, "-user", "ann", "-password-file", secret); code != 1 || !strings.Contains(out, "certificate signed by unknown authority") {
		t.Errorf("with no authority: exit code %d\n%s", code, out)
	}

	trust := &tls.Config{RootCAs: x509.NewCertPool()}
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	trust.RootCAs.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+"/api/rejected", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("ann", "secret")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(text), `"client":"mine"`) || strings.Contains(string(text), "another") {
		t.Errorf("refusals shown: %v %s", err, text)
	}

	// The page's own connection goes by the session that the login began.
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: trust}
	for name, header := range map[string]http.Header{"a stranger": {}, "a forger": {"Cookie": {"__Host-checkbus=YW5u.99999999999.x"}}} {
		if _, response, err := dialer.Dial("wss://127.0.0.1:"+port+"/mqtt", header); err == nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
	header := http.Header{}
	for _, c := range response.Cookies() {
		header.Add("Cookie", c.Name+"="+c.Value)
	}
	ws, _, err := dialer.Dial("wss://127.0.0.1:"+port+"/mqtt", header)
	if err != nil {
		t.Fatal(err)
	}
	c := mqtttest.Over(t, &webSocketStream{Conn: ws.NetConn(), ws: ws}, mqtttest.Options{})
	c.Send(mqtttest.Options{ID: "console"}.Encode())
	c.Next(mqtttest.CONNACK)
	c.Subscribe("checkbus/rejected/#", 0)
	g.publish("nagios/web1", `{"reason":"another one"}`, "-i", "another")
	g.publish("nagios/web1", `{"reason":"seen"}`, "-i", "mine")
	if p := c.Next(mqtttest.PUBLISH); p.Topic() != "checkbus/rejected/mine" {
		t.Errorf("got %v", p)
	}
}

// A webSocketStream is the bytes in the messages of a WebSocket.
type webSocketStream struct {
	net.Conn
	ws   *websocket.Conn
	rest []byte // of the message read last
}

func (s *webSocketStream) Read(p []byte) (n int, err error) {
	if len(s.rest) == 0 {
		_, s.rest, err = s.ws.ReadMessage()
	}
	n = copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, err
}

func (s *webSocketStream) Write(b []byte) (int, error) {
	return len(b), s.ws.WriteMessage(websocket.BinaryMessage, b)
}
