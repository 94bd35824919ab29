package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/demo"
)

var screenshots = flag.String("screenshots", "", "take the README's pictures of the status page and write them to this folder")

// browserTimeout bounds a test in the browser, with -race on a busy machine.
const browserTimeout = 2 * time.Minute

// needProgram skips a test, loudly, for want of a program; in CI it fails.
func needProgram(t *testing.T, what, install string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not there, and CI must not do without it: %s", what, install)
	}
	t.Skipf("SKIPPED: %s is not there: %s", what, install)
}

// browser is a Chromium of its own for one test.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		needProgram(t, "chromium", "install Debian's package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
	)
	ctx, cancel := context.WithTimeout(context.Background(), browserTimeout)
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

// tab is an open page. What its console says is an error of the test.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	expected   string // part of complaints that are none
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
		for _, c := range p.complaints {
			b.t.Errorf("the browser complains: %s", c)
		}
	})
	p.do(prepare...)
	p.do(chromedp.Navigate(url))
	return p
}

// listen takes down what is worth an error: it is called for every event.
func (p *tab) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			complaint += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		args, _ := json.Marshal(e.Args)
		complaint = fmt.Sprintf("console.%s: %s", e.Type, args)
	case *cdplog.EventEntryAdded:
		complaint = fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected == "" || !strings.Contains(complaint, p.expected) {
		p.complaints = append(p.complaints, complaint)
	}
}

// expect lets complaints pass that contain part.
func (p *tab) expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = part
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
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
// loaded meanwhile.
func (p *tab) wait(condition string) {
	p.t.Helper()
	for {
		_, err := chromedp.Run(p.ctx, chromedp.Poll[bool]("!!("+condition+")", chromedp.WithPollingInterval(10*time.Millisecond)))
		switch {
		case err == nil:
			return
		case errors.Is(err, chromedp.ErrPollingTimeout) || p.ctx.Err() != nil:
			text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("document.body.innerText"))
			p.t.Fatalf("never true: %s: %v\n%s", condition, err, text)
		}
	}
}

// media makes the page believe that the person prefers a color scheme.
func media(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// picture takes a picture of what is in the window.
func (p *tab) picture(name string) {
	p.t.Helper()
	shot, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), shot.Data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// pageServer is the whole of this package behind a port that can be closed and
// opened again.
type pageServer struct {
	t       *testing.T
	handler http.Handler
	address string
	server  *http.Server
}

func newPageServer(t *testing.T, opts Options) *pageServer {
	t.Helper()
	handler, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	e := &pageServer{t: t, handler: handler, address: "127.0.0.1:0"}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *pageServer) start() {
	e.t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(e.t.Context(), "tcp", e.address)
	if err != nil {
		e.t.Fatal(err)
	}
	e.address = listener.Addr().String()
	e.server = &http.Server{Handler: e.handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = e.server.Serve(listener) }()
}

func (e *pageServer) stop() { _ = e.server.Close() }

func (e *pageServer) url(path string) string { return "http://" + e.address + path }

// newDemo starts the exporter as --demo does.
func newDemo(t *testing.T, refresh time.Duration) *pageServer {
	t.Helper()
	sim, err := demo.Start("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	registry := prometheus.NewRegistry()
	c := newCollector(t, collector.Options{Now: sim.Now, Registerer: registry})
	cfg, err := sim.Config()
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(cfg)
	sim.Rehearse(c.Scrape)
	opts := pageOptions(c, registry)
	opts.pageRefresh = refresh
	return newPageServer(t, opts)
}

// The README's pictures, taken of the demo. Not a test.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("only with -screenshots")
	}
	b, e := newBrowser(t), newDemo(t, 0)
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
		scale         float64
	}{
		{"imports-light.png", "light", 1440, 1000, 1},
		{"imports-dark.png", "dark", 1440, 1000, 1},
		{"imports-phone.png", "light", 390, 844, 2},
		{"tall-light.png", "light", 1440, 2600, 1},
		{"tall-phone.png", "dark", 390, 1500, 1},
		{"tablet.png", "light", 820, 1100, 1},
		{"narrow.png", "light", 1180, 1400, 1},
	} {
		p := b.open(e.url("/imports"), media(shot.scheme),
			chromedp.EmulateViewport(shot.width, shot.height, chromedp.EmulateScale(shot.scale)))
		p.picture(shot.name)
	}
}
