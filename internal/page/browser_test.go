//go:build e2e

package page

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/demo"
	"lakefs_import_exporter/internal/testworld"
)

// The pictures of the documentation are those of the demo, with fewer colors.
var screenshots = flag.String("screenshots", "", "write a picture of each look to this folder")

// requireProgram skips a test for lack of a program; in CI it fails.
func requireProgram(t *testing.T, what, install string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %s", what, install)
	}
	t.Skipf("SKIPPED: %s is missing: %s", what, install)
}

// browser is a Chromium of its own for one test.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		requireProgram(t, "chromium", "install Debian's package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // with -race on a busy machine
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, closeAll := chromedp.NewContext(ctx)
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return &browser{t, ctx}
}

// tab is an open page. Messages on its console fail the test.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string
}

// open opens url in a new tab.
func (b *browser) open(url string, prepare ...chromedp.Action[chromedp.Void]) *tab {
	b.t.Helper()
	p := &tab{t: b.t}
	ctx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithListener(p.listen))
	b.t.Cleanup(closeTab)
	p.ctx = ctx
	b.t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, m := range p.messages {
			b.t.Errorf("message on the console: %s", m)
		}
	})
	if err := chromedp.Do(ctx, append(prepare, chromedp.Navigate(url))...); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// listen collects the messages; it is called for every event.
func (p *tab) listen(event any) {
	switch event.(type) {
	case *runtime.EventExceptionThrown, *runtime.EventConsoleAPICalled, *cdplog.EventEntryAdded:
	default:
		return
	}
	message, _ := json.Marshal(event)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(string(message), "net::ERR_") { // the server is down
		p.messages = append(p.messages, string(message))
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until a JavaScript expression is true, however often the page is
// loaded meanwhile. It asks again and again: timers of a page that may not run
// scripts never fire, and so chromedp.Poll would hang.
func (p *tab) wait(condition string) {
	p.t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		switch {
		case ok && err == nil:
			return
		case p.ctx.Err() != nil:
			p.t.Fatalf("never true: %s: %v", condition, err)
		}
		<-ticker.C
	}
}

// call is an action that calls a command of the browser.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, command, params)
		return err
	})
}

// server serves a page. While it is down, it closes all connections.
type server struct {
	*httptest.Server
	down atomic.Bool
}

func serve(t *testing.T, mux http.Handler) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			panic(http.ErrAbortHandler) //nolint:forbidigo // as net/http has it
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// serveDemo serves the page of the demo.
func serveDemo(t *testing.T, refresh time.Duration) *server {
	t.Helper()
	sim, err := demo.Start("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	c := testworld.New(t, func(opts *collector.Options) { opts.Now = sim.Now }).Collector
	cfg, err := sim.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(cfg)
	sim.Rehearse(c.Poll)
	p, mux := newPage(t, c)
	p.refresh = refresh
	return serve(t, mux)
}

// click clicks on the first element that a CSS selector finds, when it is there.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("document.querySelector(%q)", selector))
	eval[bool](p, fmt.Sprintf("document.querySelector(%q).click() === undefined", selector))
}

// onlyState is true when just the imports of a state are listed.
func onlyState(state collector.State) string {
	return fmt.Sprintf("document.querySelector('tr[data-state]') && [...document.querySelectorAll('tr[data-state]')].every((row) => row.dataset.state === %q)", state)
}

// The page of the demo updates itself without a reload, can be filtered, sorted
// and shared, and says so when it has no connection to the exporter.
func TestBrowser(t *testing.T) {
	b, e := newBrowser(t), serveDemo(t, 200*time.Millisecond)
	p := b.open(e.URL+"/imports", call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"}))
	for _, state := range collector.States() {
		p.wait(fmt.Sprintf("document.querySelector('tr[data-state=%q] .state').innerText.includes(%q)", state, words(state)))
	}

	// A reload would lose the mark.
	eval[bool](p, "(window.mark = true)")
	const running = `document.querySelector('tr[data-state="running"][data-name*="satellite"] .objects').innerText`
	before := eval[string](p, running)
	p.wait(fmt.Sprintf("%s !== %q", running, before))

	// Times are in the zone of the person, and have UTC in their tooltips.
	p.wait("document.querySelector('.zone').innerText === 'GMT+5:30'")
	p.wait(`((time) => /:..:.. UTC$/.test(time.title) && (Number(time.title.slice(14, 16)) + 30) % 60 === Number(time.innerText.slice(3, 5)))(document.querySelector('.asof time'))`)

	// The ID is copied where there is a clipboard, and selected where there is none.
	for _, clipboard := range []string{"(text) => { window.copied = text; return Promise.resolve(); }", "() => { window.copied = ''; return Promise.reject(); }"} {
		eval[bool](p, "(navigator.clipboard.writeText = "+clipboard+") !== null")
		p.click(".copy")
		p.wait("(window.copied || getSelection().toString()) === document.querySelector('.id').innerText")
	}

	p.click(`.totals a[href*="stalled"]`)
	p.wait("location.search.includes('state=stalled')")
	p.wait(onlyState(collector.Stalled) + " && document.querySelector('#json').search === '?state=stalled'")
	b.open(eval[string](p, "location.href")).wait(onlyState(collector.Stalled))

	p.click(`.totals a`) // all
	p.wait("location.search === '' && document.querySelectorAll('tr[data-state]').length > 10")
	p.click(`th a[href*="sort=repository"]`)
	p.wait(`document.querySelector('th[aria-sort="ascending"]').innerText.includes('Import')`)
	p.wait("((names) => names.join() === [...names].sort().join())([...document.querySelectorAll('tr[data-state] .repository')].map((n) => n.innerText))")

	// Typed text and focus stay while the page refreshes.
	eval[bool](p, `((field) => { field.focus(); field.value = 'clickstream'; return field.dispatchEvent(new Event('input', { bubbles: true })); })(document.querySelector('[name=q]'))`)
	p.wait("location.search.includes('q=clickstream') && [...document.querySelectorAll('tr[data-state] .repository')].every((n) => n.innerText === 'clickstream')")
	p.wait("document.activeElement.name === 'q' && document.activeElement.value === 'clickstream'")

	e.down.Store(true)
	p.wait("!document.getElementById('offline').hidden && document.getElementById('offline').innerText.includes('No connection to the exporter')")
	e.down.Store(false)
	p.wait("document.getElementById('offline').hidden")
	if !eval[bool](p, "window.mark === true") {
		t.Error("the page was loaded anew")
	}
}

// Without JavaScript the page is complete: its URL filters and sorts.
func TestBrowserWithoutJavaScript(t *testing.T) {
	b, e := newBrowser(t), serveDemo(t, refreshInterval)
	off := call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	p := b.open(e.URL+"/imports?state=failed&state=stalled&sort=repository", off)
	p.wait("[...new Set([...document.querySelectorAll('tr[data-state]')].map((row) => row.dataset.state))].sort().join() === 'failed,stalled'")
	eval[bool](p, "(document.querySelector('[name=q]').value = 'sensor') !== ''")
	p.click(".filter .nojs")
	p.wait("location.search.includes('q=sensor') && " + onlyState(collector.Failed))
	p.wait("document.querySelector('[name=q]').value === 'sensor' && document.querySelector('[name=sort]').value === 'repository'")
	p.wait("document.querySelector('.zone').innerText === 'UTC' && document.querySelector('.asof time').title.includes(document.querySelector('.asof time').innerText)")
	if !eval[bool](p, "getComputedStyle(document.querySelector('.nojs')).display !== 'none' && document.querySelector('.js-only').checkVisibility() === false") {
		t.Error("a control that needs JavaScript is shown, or one that replaces it is not")
	}
}

// On every screen, axe-core finds no violation of WCAG 2.1 AA, nothing is cut off
// at the side, and no port is torn apart, whatever text others have chosen.
func TestLooks(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join("..", "..", ".tools", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		requireProgram(t, "axe-core", "make npm-tools")
	}
	b, e, troubled := newBrowser(t), serveDemo(t, refreshInterval), newWorld(t, breakStore)
	troubled.addTrouble(func(string) {})
	trouble, empty, hostile := serve(t, troubled.mux), serve(t, newWorld(t).mux), serve(t, newHostileWorld(t).mux)
	for name, url := range map[string]string{
		"demo": e.URL + "/imports", "trouble": trouble.URL + "/imports", "wrong filter": e.URL + "/imports?state=nosuch",
		"hostile": hostile.URL + "/imports", "filtered to nothing": e.URL + "/imports?q=nosuch&label=a%3Db", "nothing watched": empty.URL + "/imports",
	} {
		t.Run(name, func(t *testing.T) {
			p := b.open(url)
			p.t = t
			eval[bool](p, string(axe)+"; true")
			for _, width := range []int64{390, 1024, 1440} {
				for _, scheme := range []string{"light", "dark"} {
					p.look(name, scheme, width)
				}
			}
		})
	}
}

// look checks the page in a color scheme on a screen of a width in pixels.
func (p *tab) look(name, scheme string, width int64) {
	p.t.Helper()
	prefers := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if err := chromedp.Do(p.ctx, call(emulation.SetEmulatedMedia, prefers), chromedp.EmulateViewport(width, 844)); err != nil {
		p.t.Fatal(err)
	}
	if *screenshots != "" {
		picture, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
		if err == nil {
			err = os.WriteFile(filepath.Join(*screenshots, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture.Data, 0o600)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	eval[bool](p, "(window.found = null) || axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then((r) => { window.found = r; }) && true")
	p.wait("window.found")
	if passed := eval[int](p, "found.passes.length"); passed < 10 {
		p.t.Errorf("%s, %d: only %d rules applied", scheme, width, passed)
	}
	violations := eval[[]string](p, "found.violations.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.map((n) => n.html).join(' '))")
	if len(violations) > 0 {
		p.t.Errorf("%s, %d: violations:\n%s", scheme, width, strings.Join(violations, "\n"))
	}
	for what, condition := range map[string]string{
		"text of others is not text": "!document.querySelector('img, body script, [onerror], a[href^=\"javascript:\"]')",
		// Whatever the time of day, as if all had begun on another day.
		"something is cut off at the side": `[...document.querySelectorAll('td time.at')].every((time) => (time.innerText = '2026-11-27 23:55')) && document.documentElement.scrollWidth <= innerWidth`,
		"a port is torn apart": `[...document.querySelectorAll('.host')].every((host) => [...host.childNodes].every((part) => {
			const range = document.createRange(); range.selectNodeContents(part); return !/:\d+$/.test(part.data) || range.getClientRects().length < 2; }))`,
		"filters and warnings are folded on a phone only": "[...document.querySelectorAll('[name=sort], #warnings li')].every((e) => e.checkVisibility() === (innerWidth > 1000))",
		"the table is a list on a phone only":             "!document.querySelector('table') || (getComputedStyle(document.querySelector('table')).display === 'table') === (innerWidth > 1000)",
		"the first broken import is not on the first screen": `!document.querySelector('tr[data-state].attention') ||
			document.querySelector('tr[data-state].attention .c-name').getBoundingClientRect().bottom < innerHeight`,
	} {
		if !eval[bool](p, condition) {
			p.t.Errorf("%s, %d: %s", scheme, width, what)
		}
	}
}
