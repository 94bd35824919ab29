package web

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"lakefs_import_exporter/collector"
)

// click clicks on the first element that a CSS selector finds, when it is there.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("document.querySelector(%q)", selector))
	eval[bool](p, fmt.Sprintf("document.querySelector(%q).click() === undefined", selector))
}

// onlyState is true when just the imports of a state are listed.
func onlyState(state collector.State) string {
	return fmt.Sprintf("document.querySelector('tr[data-key]') && [...document.querySelectorAll('tr[data-key]')].every((row) => row.dataset.state === %q)", state)
}

// A person looks at the demo: everything is there, moves without a reload, can
// be filtered, sorted and shared, and says when it has lost the exporter.
func TestPageInBrowser(t *testing.T) {
	b, e := newBrowser(t), newDemo(t, 200*time.Millisecond)
	p := b.open(e.url("/imports"))
	for _, state := range collector.States() {
		p.wait(fmt.Sprintf("document.querySelector('tr[data-state=%q] .state').innerText.includes(%q)", state, state))
	}

	// A reload would lose the mark.
	eval[bool](p, "(window.mark = true)")
	const running = `document.querySelector('tr[data-state="running"][data-name*="satellite"] .objects').innerText`
	before := eval[string](p, running)
	p.wait(fmt.Sprintf("%s !== %q", running, before))

	p.click(`.totals a[href*="stalled"]`)
	p.wait("location.search.includes('state=stalled')")
	p.wait(onlyState(collector.Stalled))
	shared := eval[string](p, "location.href")
	other := b.open(shared)
	other.wait(onlyState(collector.Stalled))
	if got, want := eval[string](other, "document.getElementById('results').innerText"), eval[string](p, "document.getElementById('results').innerText"); got != want {
		t.Errorf("a shared link shows %q, not %q", got, want)
	}

	p.click(`.totals a`) // all
	p.wait("location.search === '' && document.querySelectorAll('tr[data-key]').length > 10")
	p.click(`th a[href*="sort=repository"]`)
	p.wait(`document.querySelector('th[aria-sort="ascending"]').innerText.includes('Repository')`)
	if !eval[bool](p, "((names) => names.join() === [...names].sort().join())([...document.querySelectorAll('.repository')].map((n) => n.innerText))") {
		t.Error("not sorted by repository")
	}

	// What is typed stays, and so does the focus, while the page refreshes.
	eval[bool](p, `((field) => { field.focus(); field.value = 'clickstream'; return field.dispatchEvent(new Event('input', { bubbles: true })); })(document.querySelector('[name=q]'))`)
	p.wait("location.search.includes('q=clickstream') && [...document.querySelectorAll('.repository')].every((n) => n.innerText === 'clickstream')")
	p.wait("document.activeElement.name === 'q' && document.activeElement.value === 'clickstream'")

	p.expect("net::ERR_")
	other.expect("net::ERR_")
	e.stop()
	p.wait("!document.getElementById('lost').hidden && document.getElementById('lost').innerText.includes('Lost the exporter')")
	e.start()
	p.wait("document.getElementById('lost').hidden")
	if !eval[bool](p, "window.mark === true") {
		t.Error("the page was loaded anew")
	}
}

// Without JavaScript the page is whole: filtered and sorted by its URL.
func TestPageWithoutJavaScript(t *testing.T) {
	b, e := newBrowser(t), newDemo(t, 0)
	off := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
	p := b.open(e.url("/imports?state=failed&state=stalled&sort=repository"), off)
	if got := eval[string](p, "[...new Set([...document.querySelectorAll('tr[data-key]')].map((row) => row.dataset.state))].sort().join()"); got != "failed,stalled" {
		t.Errorf("got states %s", got)
	}
	if !eval[bool](p, "getComputedStyle(document.querySelector('.nojs')).display !== 'none' && document.querySelector('.js-only').checkVisibility() === false") {
		t.Error("what only works with JavaScript is shown, or what is for those without is not")
	}
}

// What others have chosen is shown as text, whatever it holds.
func TestHostileTextInBrowser(t *testing.T) {
	w := hostileWorld(t)
	b, e := newBrowser(t), newPageServer(t, w.opts)
	p := b.open(e.url("/imports"))
	p.wait("document.querySelectorAll('tr[data-key]').length > 0 && document.body.innerText.includes('<script>alert(1)</script>')")
	if got := eval[int](p, "document.querySelectorAll('img, body script, [onerror], a[href^=\"javascript:\"]').length"); got != 0 {
		t.Errorf("%d elements came out of the text", got)
	}
}

// axe-core finds nothing against WCAG 2.1 AA, in any dress of the page.
func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join("..", "..", ".tools", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		needProgram(t, "axe-core", "make axe-core")
	}
	b, e := newBrowser(t), newDemo(t, 0)
	empty := newPageServer(t, newPageWorld(t).opts)
	for _, look := range []struct {
		name, url, scheme string
		width, height     int64
	}{
		{"light", e.url("/imports"), "light", 1440, 1000},
		{"dark", e.url("/imports"), "dark", 1440, 1000},
		{"phone", e.url("/imports"), "light", 390, 844},
		{"phone, dark", e.url("/imports"), "dark", 390, 844},
		{"filtered to nothing", e.url("/imports?q=nosuch&state=failed"), "light", 1440, 1000},
		{"nothing watched", empty.url("/imports"), "dark", 1440, 1000},
	} {
		t.Run(look.name, func(t *testing.T) {
			p := b.open(look.url, media(look.scheme), chromedp.EmulateViewport(look.width, look.height))
			eval[bool](p, string(axe)+"; true")
			eval[bool](p, "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then((r) => { window.found = r; }) && true")
			p.wait("window.found")
			if passed := eval[int](p, "found.passes.length"); passed < 10 {
				t.Errorf("only %d rules looked at anything", passed)
			}
			violations := eval[[]string](p, "found.violations.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.map((n) => n.html).join(' '))")
			if len(violations) > 0 {
				t.Errorf("violations:\n%s", strings.Join(violations, "\n"))
			}
		})
	}
}
