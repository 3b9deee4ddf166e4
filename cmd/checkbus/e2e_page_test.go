package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"checkbus/internal/realtest"
)

// A consolePage is the console of a gateway in a browser without a screen. Its
// methods fail the test themselves.
type consolePage struct {
	t    testing.TB
	ctx  context.Context
	base string
}

// openConsole opens a page of a gateway's console; path is an address below it.
func openConsole(t testing.TB, base, path string) *consolePage {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(realtest.Need(t, "chromium")),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.WindowSize(1440, 900),
	)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, closePage := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw: %s%s", e.ExceptionDetails.Text, said(e.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			if e.Type == "error" {
				t.Errorf("the page logged an error:%s", said(e.Args...))
			}
		}
	}))
	t.Cleanup(closePage)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as the context of its first use
		t.Fatal(err)
	}
	p := &consolePage{t: t, ctx: ctx, base: base}
	p.visit(path)
	return p
}

// said is what was thrown or logged, each with a space before it.
func said(objects ...*runtime.RemoteObject) string {
	var b strings.Builder
	for _, o := range objects {
		if o != nil {
			fmt.Fprintf(&b, " %s%s", o.Value, o.Description) // one of them, or a number in both
		}
	}
	return b.String()
}

// visit loads an address of the console. The page before may still change its own
// address meanwhile, which looks like an end of loading, so that what tells the two
// apart is a mark on the page that goes.
func (p *consolePage) visit(path string) {
	p.t.Helper()
	p.run(`window.left = true`)
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	result, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: p.base + path})
	if err != nil {
		p.t.Fatal(err)
	}
	if result.ErrorText != "" {
		p.t.Fatalf("%s%s: %s", p.base, path, result.ErrorText)
	}
	p.until(`!window.left && document.readyState === 'complete'`)
}

// in is the page as part of a subtest.
func (p *consolePage) in(t *testing.T) *consolePage { return &consolePage{t, p.ctx, p.base} }

func (p *consolePage) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// run evaluates JavaScript.
func (p *consolePage) run(script string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](script))
}

// valueOf is the value of a JavaScript expression, which may be a promise.
func valueOf[T any](p *consolePage, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%.200s: %v", expression, err)
	}
	return value
}

// until waits until a JavaScript expression is true. It is asked from outside, as
// what a page is asked to wait for is lost when another one is loaded.
func (p *consolePage) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	for {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("Boolean(%s)", expression)))
		if err == nil && holds {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("waited %v for %s: %v; the page says:\n%s", limit, expression, err, valueOf[string](p, "document.body.innerText"))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// click clicks on the element that a selector finds, wherever it is by then.
func (p *consolePage) click(selector string) {
	p.t.Helper()
	p.run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// rows are the objects in sight, from the top: state, host and service.
func (p *consolePage) rows() []string {
	p.t.Helper()
	return valueOf[[]string](p, `[...document.querySelectorAll('#objects .row:not([hidden])')]
		.sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
		.map((r) => [r.pill, r.host, r.service].map((e) => e.textContent).join(' ').trim())`)
}

// live waits until the page has all that the gateway knows, and hears the rest.
func (p *consolePage) live() {
	p.t.Helper()
	p.until(`document.body.dataset.connection === 'live'`)
}

// look makes the page one of a size, in pixels, and a theme, light or dark.
func (p *consolePage) look(width, height int64, theme string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme},
			{Name: "prefers-reduced-motion", Value: "reduce"}, // no colour in between
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// picture is the page as it looks, in PNG.
func (p *consolePage) picture() []byte {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, limit)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	return png
}

// startWithConsole runs a gateway whose console has an address of its own.
func startWithConsole(t testing.TB) (*gateway, string) {
	t.Helper()
	web := realtest.FreeAddr(t)
	return startGateway(t, fmt.Sprintf("[web]\naddress = %q\n[broker]\nsys_interval = \"1s\"\n", web)), "http://" + web
}
