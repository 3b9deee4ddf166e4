package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"checkbus/broker"
	"checkbus/internal/realtest"
)

func TestConsoleShowsProblemsFirst(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios/web1", `{"exit_code":0,"reason":"PING OK"}`)
	g.publish("nagios/web1/disk", `{"exit_code":1,"reason":"DISK WARNING - / 91%|/=91%;90;95"}`)
	g.publish("nagios/web1/load", `{"exit_code":0,"reason":"LOAD OK"}`)
	p := openConsole(t, base, "/")
	p.live()
	p.until(`document.title === '(1) checkbus'`)
	g.publish("nagios/db1/mysql", `{"exit_code":2,"reason":"MYSQL CRITICAL - no answer\nsecond line","perfdata":"up=0"}`)
	p.until(`document.title === '(2) checkbus'`)
	if got, want := p.rows(), []string{"CRITICAL db1 mysql", "WARNING web1 disk"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	p.until(`document.querySelector('#events li .name')?.textContent === 'db1 mysql'`)
	p.run(`document.getElementById('objects').focus()`)
	p.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	p.until(`document.getElementById('detail').open`)
	for _, want := range []string{"db1 mysql", "second line", "up=0", "checkbus/state/db1/mysql"} {
		if got := valueOf[string](p, `document.getElementById('detail').innerText`); !strings.Contains(got, want) {
			t.Errorf("details %q lack %q", got, want)
		}
	}
	g.publish("nagios/db1/mysql", `{"exit_code":0,"reason":"MYSQL OK"}`)
	p.until(`document.querySelector('#detail .pill').textContent === 'OK'`)
}

// A busy machine may take longer now and then, but not always.
func TestConsoleShowsAProblemWithinASecond(t *testing.T) {
	g, base := startWithConsole(t)
	p := openConsole(t, base, "/")
	p.live()
	p.run(watchProbe)
	var delays []float64
	for n := 1; n <= 10; n++ {
		g.publish("nagios/probe", fmt.Sprintf(`{"exit_code":2,"reason":"%d"}`, time.Now().UnixMilli()))
		p.until(fmt.Sprintf(`delays.length === %d`, n))
		if delays = valueOf[[]float64](p, `delays`); delays[n-1] < 1000 {
			return
		}
	}
	t.Errorf("from the publication to the page it took %v ms", delays)
}

// The address says what is shown, for bookmarks and colleagues.
func TestConsoleFiltersLiveInTheAddress(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios", `[{"host":"web1","service":"disk","exit_code":2,"reason":"full"},{"host":"web2","service":"disk","exit_code":1,"reason":"nearly"},
		{"host":"web2","service":"load","exit_code":2,"reason":"high"},{"host":"web3","service":"disk","exit_code":0,"reason":"fine"}]`)
	tests := map[string]struct {
		path string
		want []string
	}{
		"a state":         {"/?state=CRITICAL", []string{"CRITICAL web1 disk", "CRITICAL web2 load"}},
		"words":           {"/?q=disk+web2", []string{"WARNING web2 disk"}},
		"a field":         {"/?q=host:web2&state=all", []string{"CRITICAL web2 load", "WARNING web2 disk"}},
		"all":             {"/?state=all&q=service:disk", []string{"CRITICAL web1 disk", "WARNING web2 disk", "OK web3 disk"}},
		"a made-up state": {"/?state=%3Cb%3E&q=full", []string{"CRITICAL web1 disk"}},
	}
	p := openConsole(t, base, "/")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			p.visit(tt.path)
			p.live()
			p.until(fmt.Sprintf(`document.querySelectorAll('#objects .row:not([hidden])').length === %d`, len(tt.want)))
			got := p.rows()
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("rows %q, want %q", got, tt.want)
			}
		})
	}
	p.visit("/")
	p.run(`document.getElementById('search').focus()`)
	p.do(chromedp.KeyEvent("nearly"))
	p.until(`location.search === '?q=nearly'`)
	p.click(`#counts a[data-state=CRITICAL]`)
	p.until(`location.search === '?state=CRITICAL&q=nearly'`)
	p.until(`!document.getElementById('objects-empty').hidden`)
	p.run(`history.back()`)
	p.until(`location.search === '?q=nearly' && document.querySelectorAll('#objects .row:not([hidden])').length === 1`)
}

func TestConsoleShowsMarkupAsText(t *testing.T) {
	g, base := startWithConsole(t)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	p := openConsole(t, base, "/")
	p.live()
	payload, _ := json.Marshal(map[string]any{"exit_code": 2, "reason": evil, "perfdata": "'<b>'=1"})
	g.publish("nagios/<b>web1<%2Fb>/<i>disk", string(payload))
	g.publish("nagios/<b>x/y", evil)
	p.until(`document.querySelectorAll('#objects .row:not([hidden])').length === 1 && document.querySelectorAll('#rejected li').length === 1 && document.querySelectorAll('#events li').length === 1`)
	p.click(`#objects .row`)
	p.until(`document.getElementById('detail').open`)
	if got := valueOf[string](p, `document.querySelector('#objects .row .reason').textContent`); got != evil {
		t.Errorf("the reason is shown as %q", got)
	}
	if got := valueOf[int](p, `document.querySelectorAll('img, b, i, main script').length`); got != 0 {
		t.Errorf("%d elements came out of texts", got)
	}
	if got := valueOf[string](p, `document.title`); got != "(1) checkbus" {
		t.Errorf("the title is %q", got)
	}
}

// A lost connection is seen at once, heals by itself, and what went meanwhile is
// not shown any more.
func TestConsoleHealsAfterARestart(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	p := openConsole(t, base, "/")
	p.live()
	p.until(`document.title === '(1) checkbus'`)
	g.kill()
	p.until(`document.body.dataset.connection === 'lost' && !document.getElementById('lost').hidden && document.title === '(lost) checkbus'`)
	if err := os.RemoveAll(g.dataDir); err != nil {
		t.Fatal(err)
	}
	g.start()
	p.live()
	p.until(`document.getElementById('lost').hidden && document.title === 'checkbus'`)
	g.publish("nagios/web2/load", `{"exit_code":1,"reason":"high"}`)
	p.until(`document.title === '(1) checkbus'`)
	if got, want := p.rows(), []string{"WARNING web2 load"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// Who may not read everything sees what it may, and need not wait for the rest.
func TestConsoleShowsWhatMayBeRead(t *testing.T) {
	web, acl := realtest.FreeAddr(t), filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(acl, []byte("topic write nagios/#\ntopic read checkbus/state/web1/#\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[access]\nacl_file = %q\n", web, acl))
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	g.publish("nagios/web2/disk", `{"exit_code":2,"reason":"full"}`)
	p := openConsole(t, "http://"+web, "/")
	p.live()
	p.until(`document.title === '(1) checkbus'`)
	if got, want := p.rows(), []string{"CRITICAL web1 disk"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// A gateway that hangs, or whose network is gone, breaks no connection; it is seen
// all the same.
func TestConsoleSeesAGatewayThatHangs(t *testing.T) {
	g, base := startWithConsole(t)
	p := openConsole(t, base, "/")
	p.live()
	if err := g.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.cmd.Process.Signal(syscall.SIGCONT) }() // when the test fails, so that it can be ended
	p.until(`document.body.dataset.connection === 'lost' && !document.getElementById('lost').hidden`)
	if err := g.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.live()
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	p.until(`document.title === '(1) checkbus'`)
}

// Of ten thousand objects only those in sight are elements of the page.
func TestConsoleShowsTenThousandObjects(t *testing.T) {
	g, base := startWithConsole(t)
	for part := range 10 {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, `{"host":"host%d%03d","service":"disk","exit_code":%d,"reason":"number %d"}`+"\n", part, i, i%100/99*2, i)
		}
		g.publish("nagios", b.String())
	}
	p := openConsole(t, base, "/?state=all")
	p.live()
	p.until(`document.querySelector('#counts a[data-state=all] .count').textContent.replace(/\D/g, '') === '10000'`)
	if got := valueOf[bool](p, `document.querySelectorAll('#objects .row').length < 100`); !got {
		t.Error("the page has more rows than can be seen")
	}
	if got := p.rows()[0]; !strings.HasPrefix(got, "CRITICAL") {
		t.Errorf("first comes %q", got)
	}
	p.run(`document.getElementById('objects').focus()`)
	p.do(chromedp.KeyEvent(kb.End))
	p.until(`[...document.querySelectorAll('#objects .row:not([hidden])')].some((r) => r.ariaRowIndex === '10001' && r.ariaSelected === 'true')`)
	g.publish("nagios/host0000/disk", `{"exit_code":1,"reason":"number 0"}`)
	p.until(`document.querySelector('#counts a[data-state=WARNING] .count').textContent === '1'`)
}

// What somebody reads stands still, whatever the gateway does, and what came
// meanwhile is not lost.
func TestConsoleFeedsPause(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios/web1/disk", "earlier")
	p := openConsole(t, base, "/?view=rejected")
	p.live()
	p.until(`document.querySelectorAll('#rejected li').length === 1`) // what was before has been asked for
	g.publish("nagios/web1/disk", "first")
	p.until(`document.querySelectorAll('#rejected li').length === 2`)
	p.click(`#rejected-pause`)
	g.publish("nagios/web1/disk", "second")
	g.publish("nagios/web1/disk", "third")
	p.until(`document.getElementById('rejected-pause').textContent === 'Paused, 2 new'`)
	g.kill()
	p.until(`document.body.dataset.connection === 'lost'`)
	g.start()
	p.live()
	if got := valueOf[int](p, `document.querySelectorAll('#rejected li').length`); got != 2 {
		t.Errorf("%d items are shown while the list is paused, want 2", got)
	}
	p.until(`document.getElementById('rejected-pause').textContent === 'Paused, 2 new'`)
	p.run(`
		const list = document.getElementById('rejected'), oldest = list.lastElementChild
		let least = list.childElementCount
		new MutationObserver(() => least = Math.min(least, list.childElementCount)).observe(list, { childList: true })`)
	p.click(`#rejected-pause`)
	p.until(`!oldest.isConnected`) // what was before has been asked for again
	if got := valueOf[int](p, `least`); got != 2 {
		t.Errorf("%d items were shown meanwhile, want 2", got)
	}
	p.until(`document.querySelectorAll('#rejected li').length === 4 && document.getElementById('rejected-pause').textContent === 'Pause'`)
	if got, want := valueOf[[]string](p, `[...document.querySelectorAll('#rejected pre')].map((e) => e.textContent)`), []string{"third", "second", "first", "earlier"}; !slices.Equal(got, want) {
		t.Errorf("payloads %q, want %q", got, want)
	}
}

// From an event one comes to all of its object, and from the search to the list.
func TestConsoleIsUsedByKeyboard(t *testing.T) {
	g, base := startWithConsole(t)
	p := openConsole(t, base, "/")
	p.live()
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	g.publish("nagios/web1/load", `{"exit_code":1,"reason":"high"}`)
	p.until(`document.querySelectorAll('#objects .row:not([hidden])').length === 2 && document.querySelectorAll('#events li').length === 2`)
	p.run(`document.querySelector('#events li:last-child .name').focus()`)
	p.do(chromedp.KeyEvent(kb.Enter))
	p.until(`document.getElementById('detail').open && document.getElementById('detail-title').textContent === 'web1 disk'`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until(`!document.getElementById('detail').open`)
	p.run(`document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))`)
	p.do(chromedp.KeyEvent("load"))
	p.until(`location.search === '?q=load' && document.querySelectorAll('#objects .row:not([hidden])').length === 1`)
	p.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	p.until(`document.getElementById('detail').open && document.getElementById('detail-title').textContent === 'web1 load'`)
}

// A page in the background is given no frames to draw; its title still counts.
func TestConsoleCountsProblemsInTheBackground(t *testing.T) {
	g, base := startWithConsole(t)
	p := openConsole(t, base, "/")
	p.live()
	p.run(`Object.defineProperty(document, 'hidden', { get: () => true }); requestAnimationFrame = () => 0`)
	g.publish("nagios/web1/disk", `{"exit_code":2,"reason":"full"}`)
	p.until(`document.title === '(1) checkbus'`)
}

// The page of another machine asks for a password of the password file, and
// then speaks MQTT as that user.
func TestConsoleAsksForALogin(t *testing.T) {
	dir := t.TempDir()
	cert, key := realtest.NewAuthority(t, dir).Issue(t, dir, "server")
	passwords := filepath.Join(dir, "passwd")
	if err := broker.SetPassword(passwords, "oscar", "secret"); err != nil {
		t.Fatal(err)
	}
	web := realtest.FreeAddr(t)
	_, port, _ := strings.Cut(web, ":")
	startGateway(t, fmt.Sprintf("[access]\npassword_file = %q\n[web]\naddress = \"0.0.0.0:%s\"\ntls_cert = %q\ntls_key = %q\n", passwords, port, cert, key))
	p := openConsole(t, "https://oscar:secret@127.0.0.1:"+port, "/")
	p.live()
	p.click(`nav a[data-view=clients]`)
	p.until(`document.querySelector('#clients tbody')?.innerText.includes('oscar')`)
}

// The accessibility rules of axe-core (WCAG 2.2 AA and best practices) hold for
// every view, in both themes, and on a telephone. The pictures in the folder
// are for a person to look at.
func TestConsoleIsAccessible(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(realtest.NodeModules(t), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	pictures := filepath.Join("..", "..", ".bin", "console")
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	g, base := startWithConsole(t)
	for i := range 40 {
		g.publish(fmt.Sprintf("nagios/web%d", i%7), fmt.Sprintf(`[{"exit_code":%d,"reason":"a host"},{"service":"disk %d","exit_code":%d,"reason":"DISK - / %d%%|/=%d%%;90;95"}]`, i%5/4, i, i%4, 60+i, 60+i))
	}
	p := openConsole(t, base, "/?state=all")
	p.live()
	g.publish("nagios/web1/disk 4", `{"exit_code":2,"reason":"DISK CRITICAL - / 99%\n/var is full, too"}`)
	g.publish("nagios/web1/disk 4", `no JSON`)
	p.until(`document.querySelectorAll('#events li').length > 0`)
	for _, theme := range []string{"light", "dark"} {
		for _, size := range []struct {
			name          string
			width, height int64
		}{{"desktop", 1440, 900}, {"phone", 390, 844}} {
			p.look(size.width, size.height, theme)
			for _, view := range []string{"objects", "events", "rejected", "gateway", "clients", "detail"} {
				t.Run(strings.Join([]string{theme, size.name, view}, " "), func(t *testing.T) {
					p := p.in(t)
					p.show(view)
					p.check(string(axe))
					file := filepath.Join(pictures, strings.Join([]string{view, size.name, theme}, "-")+".png")
					if err := os.WriteFile(file, p.picture(), 0o644); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// show goes to a view; detail is the first object's dialog.
func (p *consolePage) show(view string) {
	p.t.Helper()
	p.run(`document.getElementById('detail').close()`)
	link := view
	if view == "detail" {
		link = "objects"
	}
	p.click(fmt.Sprintf(`nav a[data-view=%s]`, link))
	p.until(fmt.Sprintf(`!document.querySelector('section[data-view=%s]').hidden`, link))
	if view == "clients" {
		p.until(`document.querySelector('#clients tbody td') !== null`)
	}
	if view == "detail" {
		p.until(`document.querySelector('#objects .row:not([hidden])') !== null`)
		p.click(`#objects .row`)
	}
}

// check runs axe-core and looks for what is wider than the page.
func (p *consolePage) check(axe string) {
	p.t.Helper()
	p.run(axe)
	report := valueOf[string](p, `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
		.then((r) => r.violations.map((v) => v.id + ': ' + v.help + '\n' + v.nodes.map((n) => '  ' + n.html.slice(0, 200) + ' ' + n.failureSummary).slice(0, 3).join('\n')).join('\n'))`)
	if report != "" {
		p.t.Error(report)
	}
	if got := valueOf[bool](p, `document.documentElement.scrollWidth <= innerWidth`); !got {
		p.t.Error("the page is wider than its window")
	}
}
