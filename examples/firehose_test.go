package examples

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"checkbus/internal/realtest"
)

const patience = time.Minute

// A firehose is the bus of the example, on ports of this test.
type firehose struct {
	dir     string            // its files
	addr    map[string]string // host:port by listener
	replace *strings.Replacer // makes commands of the README talk to it
	env     []string          // for these
}

// startFirehose runs the example's settings but for addresses and places.
func startFirehose(t *testing.T) *firehose {
	t.Helper()
	f := &firehose{dir: t.TempDir(), addr: map[string]string{}}
	ca := realtest.NewAuthority(t, f.dir)
	ca.Issue(t, f.dir, "server")
	program := filepath.Join(f.dir, "checkbus")
	run(t, "go", "build", "-o", program, "../cmd/checkbus")

	text := readFile(t, "firehose/checkbus.toml")
	for _, listener := range []string{":1883", ":8883", "systemd:ws", "systemd:wss"} {
		f.addr[listener] = realtest.FreeAddr(t)
		quoted := fmt.Sprintf("address = %q", listener)
		if !strings.Contains(text, quoted) {
			t.Fatalf("no listener has the %s", quoted)
		}
		text = strings.Replace(text, quoted, fmt.Sprintf("address = %q", f.addr[listener]), 1)
	}
	text = strings.NewReplacer("/etc/checkbus", f.dir, "/var/lib/checkbus", filepath.Join(f.dir, "data")).Replace(text)
	settings := filepath.Join(f.dir, "checkbus.toml")
	writeFile(t, settings, text+"[web]\naddress = \"\" # else a port that others may have\n")
	writeFile(t, filepath.Join(f.dir, "acl"), readFile(t, "firehose/acl"))
	passwd := exec.CommandContext(t.Context(), program, "passwd", filepath.Join(f.dir, "passwd"), "feed")
	passwd.Stdin = strings.NewReader("the-password\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		t.Fatalf("checkbus passwd: %v\n%s", err, out)
	}
	run(t, program, "check-config", "-config", settings)

	port := func(listener string) string { _, port, _ := net.SplitHostPort(f.addr[listener]); return port }
	f.replace = strings.NewReplacer(
		"bus.example.org:8883", f.addr[":8883"],
		"bus.example.org:443", f.addr["systemd:wss"],
		"-h bus.example.org -p 8883", "-h 127.0.0.1 -p "+port(":8883"),
		"--capath /etc/ssl/certs", "--cafile "+ca.File,
	)
	f.env = append(os.Environ(), "PATH=/usr/bin:"+os.Getenv("PATH"), // Debian's python3 has paho-mqtt
		"GOTMPDIR="+f.dir, "SSL_CERT_FILE="+ca.File, "NODE_EXTRA_CA_CERTS="+ca.File, "NODE_PATH="+realtest.NodeModules(t))
	startLines(t, exec.Command(program, "serve", "-config", settings)).wait(t, "msg=listening")
	return f
}

// command is a command of the README.
func (f *firehose) command(text string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-eu", "-c", f.replace.Replace(text))
	cmd.Dir, cmd.Env = "firehose", f.env
	return cmd
}

// lines are what a program has printed so far.
type lines struct {
	mu      sync.Mutex
	printed []string
}

// startLines runs a program, with all that it starts, until the test ends.
func startLines(t *testing.T, cmd *exec.Cmd) *lines {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &lines{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			l.add(s.Text())
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-read
		_ = cmd.Wait() // by that signal
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, strings.Join(l.printed, "\n"))
		}
	})
	return l
}

func (l *lines) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.printed = append(l.printed, text)
}

// has reports whether a line with text was printed.
func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.printed {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	realtest.Eventually(t, patience, text, func() bool { return l.has(text) })
}

// showPage opens the example's page, and returns the lines of its list.
func (f *firehose) showPage(t *testing.T, server string) *lines {
	t.Helper()
	const reporter = `<script>
new MutationObserver(changes => changes.forEach(c => c.addedNodes.forEach(n => fetch("/report", {method: "POST", body: n.textContent}))))
	.observe(document.getElementById("messages"), {childList: true})
</script>`
	l := &lines{}
	page := readFile(t, "firehose/subscribe.html")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, page, reporter)
	})
	mux.HandleFunc("GET /mqtt.min.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(realtest.NodeModules(t), "mqtt", "dist", "mqtt.min.js"))
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := bufio.NewReader(r.Body).ReadString(0)
		l.add(text)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	realtest.OpenPage(t, s.URL+"/?server="+url.QueryEscape(server), filepath.Join(f.dir, "server.crt"))
	return l
}

// Every subscriber of the README gets what the one user writes, over every port,
// and nobody gets what others write.
func TestFirehoseReachesEverySubscriber(t *testing.T) {
	for _, program := range []string{"mosquitto_sub", "mosquitto_pub", "node", "chromium", "/usr/bin/python3"} {
		realtest.Need(t, program)
	}
	f := startFirehose(t)
	subscribers, write := map[string]*lines{}, ""
	for _, c := range readmeCommands(t, "firehose/README.md") {
		switch c.heading {
		case "Setting it up":
		case "Writing":
			write = c.text
		case "A page":
			_, server, _ := strings.Cut(c.text, "?server=")
			subscribers[c.heading] = f.showPage(t, f.replace.Replace(server))
		default:
			subscribers[c.heading] = startLines(t, f.command(c.text))
		}
	}
	_, plain, _ := net.SplitHostPort(f.addr[":1883"])
	subscribers["plain MQTT"] = startLines(t, f.command("mosquitto_sub -p "+plain+" -t '#' -v"))
	subscribers["WebSocket"] = startLines(t, f.command("node subscribe.js ws://"+f.addr["systemd:ws"]+"/mqtt"))

	realtest.Eventually(t, patience, "every subscriber to be there", func() bool {
		run(t, "/bin/sh", "-eu", "-c", f.replace.Replace(write))
		for _, s := range subscribers {
			if !s.has("news/today hello") {
				return false
			}
		}
		return true
	})
	run(t, "mosquitto_pub", "-p", plain, "-q", "1", "-t", "news/today", "-m", "not by feed")
	run(t, "/bin/sh", "-eu", "-c", strings.Replace(f.replace.Replace(write), "hello", "the end", 1))
	for name, s := range subscribers {
		s.wait(t, "news/today the end")
		if s.has("not by feed") {
			t.Errorf("%s: anybody may write", name)
		}
	}
}

func TestFirehosesSocketsAreValid(t *testing.T) {
	for _, socket := range []string{"checkbus-ws.socket", "checkbus-wss.socket"} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, socket), readFile(t, "firehose/"+socket))
		writeFile(t, filepath.Join(dir, "checkbus.service"), "[Service]\nExecStart=/bin/true\n")
		// It exits 0 for keys that it does not know, and may have words for other units.
		if out := run(t, realtest.Need(t, "systemd-analyze"), "verify", "--man=no", filepath.Join(dir, socket)); strings.Contains(out, "checkbus") {
			t.Error(out)
		}
	}
}

// run runs a program that must succeed, and returns what it prints.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
