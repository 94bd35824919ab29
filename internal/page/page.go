// Package page serves the status page, which shows people how all watched
// imports stand.
package page

import (
	"context"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
)

const (
	// refreshInterval is how often an open page updates itself.
	refreshInterval = 5 * time.Second
	// maxSnapshotAge is how old what the page shows may be.
	maxSnapshotAge = 5 * time.Second
	// pollWait is how long a request waits for a poll before it is answered
	// with the last known values: while lakeFS is slow, people still see a page.
	pollWait = time.Second
	// contentPolicy forbids everything that the page does not need: above all,
	// scripts and styles in the HTML, which contains names and messages.
	contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// Options are what a Page needs. All are required.
type Options struct {
	Collector *collector.Collector
	// Share has next answer all requests that come together and are alike.
	Share  func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc)
	Logger log.Logger
	// TelemetryPath is the path of the metrics.
	TelemetryPath string
	// Version is shown at the foot of the page.
	Version string
}

// Page is the status page. It is safe for concurrent use.
type Page struct {
	opts Options
	// refresh and wait are refreshInterval and pollWait, except in tests.
	refresh, wait time.Duration
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"at": formatTime, "count": formatCount, "percent": formatRatio, "plural": pluralize, "span": formatSpan,
	"splitAfter": strings.SplitAfter, "verb": verb, "words": words,
	"assets": assetVersion, "columns": func() []column { return columns },
	// Of an import.
	"attention": needsAttention, "kind": kind, "speed": speed, "unknown": isUnknown, "working": isWorking,
	"ratio": func(v *collector.ImportView) float64 { ratio, _ := v.Progress(); return ratio },
}).Parse(templateText))

// New returns the status page.
func New(opts Options) *Page {
	return &Page{opts: opts, refresh: refreshInterval, wait: pollWait}
}

// Register adds the page and its assets to mux.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /imports", p.serve)
	mux.HandleFunc("GET /imports/{asset}", serveAsset)
	mux.HandleFunc("GET /imports/{$}", func(w http.ResponseWriter, r *http.Request) {
		// http.Redirect would lose the path prefix of a proxy.
		w.Header().Set("Location", "../"+parseQuery(r.URL.Query()).URL())
		w.WriteHeader(http.StatusFound)
	})
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.RawQuery) > maxQueryBytes {
		http.Error(w, "The query is too long.", http.StatusRequestURITooLong)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.wait)
	defer cancel()
	p.opts.Collector.Refresh(ctx, maxSnapshotAge)
	late := ctx.Err() != nil
	if r.Context().Err() != nil {
		return // the client hung up
	}
	p.opts.Share(w, r, func(w http.ResponseWriter, r *http.Request) { p.render(w, r, late) })
}

func (p *Page) render(w http.ResponseWriter, r *http.Request, late bool) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	err := pageTemplate.Execute(w, p.newView(parseQuery(r.URL.Query()), late))
	if err != nil {
		level.Error(p.opts.Logger).Log("msg", "Failed to write status page", "err", err)
	}
}
