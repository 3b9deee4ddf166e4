package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"checkbus/internal/realtest"
)

// What the gateway tells of itself: cores, clients, refusals and $SYS.
func TestConsoleShowsTheGateway(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios/web1/disk", "no JSON", "-i", "sloppy")
	p := openConsole(t, base, "/?view=rejected")
	p.live()
	p.until(`document.querySelector('#rejected li')?.innerText.includes('from sloppy')`)
	p.click(`#rejected summary`)
	p.until(`document.querySelector('#rejected pre').innerText === 'no JSON'`)
	g.publish("nagios/web1/disk", "[]", "-i", "later")
	p.until(`document.querySelector('#rejected li').innerText.includes('from later') && document.getElementById('rejected-count').textContent === '2'`)
	p.click(`nav a[data-view=gateway]`)
	p.until(`document.getElementById('health').textContent.startsWith('Ready')`)
	p.until(`[...document.querySelectorAll('#sys td')].some((e) => e.textContent === 'broker/clients/connected')`)
	p.until(`document.querySelector('#charts output').textContent.endsWith('/s')`)
	p.click(`nav a[data-view=clients]`)
	p.until(`document.querySelector('#clients tbody td')?.textContent.startsWith('console-')`)
}

// That nothing was refused is said when it is known, and asked until then.
func TestConsoleAsksAgainForWhatWasRefused(t *testing.T) {
	g, base := startWithConsole(t)
	g.publish("nagios/web1/disk", "no JSON")
	p := openConsole(t, base, "/healthz")
	if _, err := chromedp.Call(p.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const ask = fetch
		window.silent = true
		window.fetch = (url, options) => silent && url.endsWith('/api/rejected?n=100') ? Promise.reject(new DOMException('', 'TimeoutError')) : ask(url, options)`}); err != nil {
		t.Fatal(err)
	}
	p.visit("/?view=rejected")
	p.live()
	p.until(`document.getElementById('rejected-empty').innerText === 'Waiting for the gateway.'`)
	p.run(`silent = false`)
	p.until(`document.querySelectorAll('#rejected li').length === 1`)
}

// Whether the gateway is ready is seen wherever one is.
func TestConsoleSaysThatTheGatewayIsNotReady(t *testing.T) {
	web := realtest.FreeAddr(t)
	startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[nagios]\ncommand_file = %q\n", web, filepath.Join(t.TempDir(), "none")))
	p := openConsole(t, "http://"+web, "/")
	p.live()
	p.until(`!document.getElementById('unready').hidden && document.getElementById('unready').textContent.includes('core nagios: cannot be reached')`)
	p.until(`document.getElementById('gateway-badge').textContent === '1'`)
}

// Bridges and the outside broker stand beside the cores; one that is down is told of
// as loudly as it matters.
func TestConsoleShowsOtherBrokers(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(realtest.NodeModules(t), "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	web := realtest.FreeAddr(t)
	m := realtest.StartMosquitto(t)
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n", web)+bridgeTable(m.Addr, "a/# out 1")+subscribeTable(m))
	p := openConsole(t, "http://"+web, "/?view=gateway")
	p.live()
	rows := func(want string) {
		t.Helper()
		p.until(fmt.Sprintf(`!document.getElementById('brokers').hidden && document.querySelector('#brokers tbody').innerText.replace(/\s+/g, ' ').includes(%q)`, want))
	}
	rows("bridge peer up 0 0 0 0 outside broker up ")
	p.until(`document.getElementById('health').textContent.startsWith('Ready') && document.getElementById('unready').hidden && document.getElementById('gateway-badge').hidden`)
	m.Stop()
	g.publish("a/x", "waits")
	rows("bridge peer DOWN 0 0 0 1 outside broker DOWN ")
	p.until(`document.getElementById('health').textContent.startsWith('Degraded') && document.getElementById('gateway-badge').textContent === '2'`)
	p.until(`document.getElementById('unready').dataset.state === 'WARNING' && /^Degraded\. bridge peer: .*\. outside broker: .*refused\.$/.test(document.getElementById('unready').textContent)`)
	for _, theme := range []string{"light", "dark"} {
		p.look(1440, 900, theme)
		p.check(string(axe))
	}
	p.look(390, 844, "light")
	p.check(string(axe))
	m.Start()
	p.until(`document.getElementById('health').textContent.startsWith('Ready') && document.getElementById('unready').hidden`)
}

// What the gateway said before it was started anew is not taken for what it says.
func TestConsoleForgetsTheSysOfBefore(t *testing.T) {
	web, bridge := realtest.FreeAddr(t), bridgeTable(realtest.FreeAddr(t), "a/# out 1")
	g := startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[broker]\nsys_interval = \"1s\"\n", web)+bridge)
	p := openConsole(t, "http://"+web, "/?view=gateway")
	told := func(topic string) string {
		return fmt.Sprintf(`[...document.querySelectorAll('#sys td')].some((e) => e.textContent === %q)`, topic)
	}
	p.until(told("gateway/bridge/peer/up"))
	g.kill()
	settings, err := os.ReadFile(g.settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.settings, bytes.Replace(settings, []byte(bridge), nil, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	p.until("!" + told("gateway/bridge/peer/up") + "&&" + told("gateway/states/count"))
}

// A rate is that of now, and a peak that of the last minutes, also for who comes back
// to the page.
func TestConsoleChartsTheLastMinutes(t *testing.T) {
	_, base := startWithConsole(t)
	p := openConsole(t, base, "/?view=gateway")
	p.run(`
		const line = document.querySelector('#charts .line')
		const values = () => line.getAttribute('d')?.split('L').length ?? 0
		const asked = () => performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/status')).length
		const now = performance.now.bind(performance)`)
	p.until(`values() > 1`)
	p.run(`for (let i = 0; i < 20; i++) document.dispatchEvent(new Event('visibilitychange'))`)
	p.until(`asked() > 20`)
	if got := valueOf[bool](p, `values() < now() / 1000 + 1`); !got {
		t.Error("there is more than one rate a second")
	}
	p.run(`
		let least = values()
		new MutationObserver(() => least = Math.min(least, values())).observe(line, { attributes: true })
		performance.now = () => now() + 3_600_000`)
	p.until(`least === 1`)
}
