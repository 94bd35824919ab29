package web

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
)

const (
	// pageRefresh is how often an open page looks for news. More often is of no
	// use: see maxSnapshotAge.
	pageRefresh = 5 * time.Second
	// pagePatience is how long a page waits for lakeFS before it shows what is
	// remembered: whoever opens it while lakeFS is ill wants to see that at once.
	pagePatience = time.Second
	// pagePolicy forbids a browser whatever the page does not need: above all,
	// scripts and styles in the HTML, where names and messages stand.
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// statusPage is the page that shows how all imports are getting on.
type statusPage struct {
	collector *collector.Collector
	logger    log.Logger
	template  *template.Template
	assets    pageAssets
	// refresh and patience are pageRefresh and pagePatience, but for tests.
	refresh, patience time.Duration
	telemetryPath     string
	version           string
	buffers           sync.Pool // of *bytes.Buffer
}

func newStatusPage(opts Options) (*statusPage, error) {
	tmpl, err := loadPageTemplate()
	if err != nil {
		return nil, err
	}
	assets, err := loadPageAssets()
	if err != nil {
		return nil, err
	}
	p := &statusPage{
		collector:     opts.Collector,
		logger:        opts.Logger,
		template:      tmpl,
		assets:        assets,
		refresh:       pageRefresh,
		patience:      pagePatience,
		telemetryPath: opts.TelemetryPath,
		version:       opts.Version,
		buffers:       sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	if opts.pageRefresh > 0 {
		p.refresh = opts.pageRefresh
	}
	if opts.pagePatience > 0 {
		p.patience = opts.pagePatience
	}
	return p, nil
}

// register adds the page and what it loads to mux.
func (p *statusPage) register(mux *http.ServeMux) {
	mux.Handle("GET /imports", p)
	mux.Handle("GET /imports/{asset}", p.assets)
	mux.HandleFunc("GET /imports/{$}", func(w http.ResponseWriter, r *http.Request) {
		redirect(w, "../"+parsePageQuery(r.URL.Query()).url())
	})
}

// redirect sends the browser to a URL relative to the one it asked for.
// http.Redirect would make it absolute, and so lose the prefix of a proxy.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusFound)
}

// ServeHTTP implements http.Handler.
func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	q := parsePageQuery(values)
	if !q.canonical(values) {
		// A form sends its empty fields too. The URL is to be shared.
		redirect(w, q.url())
		return
	}
	snapshot, late := p.snapshot(r.Context())
	if r.Context().Err() != nil {
		return // the client hung up
	}
	view := buildPage(snapshot, q)
	view.Late = late
	p.frame(view)

	buf, _ := p.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer p.buffers.Put(buf)
	if err := p.template.ExecuteTemplate(buf, "page.html", view); err != nil {
		level.Error(p.logger).Log("msg", "Rendering the status page failed", "err", err)
		http.Error(w, "The page could not be rendered.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	writeCompressed(w, r, buf.Bytes())
}

// frame fills in what is the same whatever is shown.
func (p *statusPage) frame(view *pageView) {
	view.Style = p.assets.url("page.css")
	view.Script = p.assets.url("page.js")
	view.Icon = p.assets.url("icon.svg")
	view.Refresh = p.refresh.Milliseconds()
	view.RefreshText = span(p.refresh)
	view.TelemetryURL = "." + p.telemetryPath
	view.Version = shortVersion(p.version)
	view.VersionInfo = p.version
}

// snapshot returns how all imports are getting on. If lakeFS takes its time, it
// returns what is remembered, and true; the polls go on for those who ask next.
func (p *statusPage) snapshot(ctx context.Context) (snapshot *collector.Snapshot, late bool) {
	polled := make(chan *collector.Snapshot, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
		defer cancel()
		polled <- p.collector.Recent(ctx, maxSnapshotAge)
	}()
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	select {
	case snapshot = <-polled:
		return snapshot, false
	case <-patience.C:
	case <-ctx.Done():
	}
	return p.collector.Snapshot(), true
}

// writeCompressed writes body, compressed for those who can read it.
func writeCompressed(w http.ResponseWriter, r *http.Request, body []byte) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if !acceptsGzip(r.Header) {
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	zw, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // which is a valid level
	_, _ = zw.Write(body)
	_ = zw.Close()
}

// acceptsGzip reports whether the client says it can read gzip.
func acceptsGzip(header http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(header.Values("Accept-Encoding"), ","), ",") {
		coding, params, err := mime.ParseMediaType(part)
		if err != nil || coding != "gzip" {
			continue
		}
		weight, err := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64)
		return err == nil && weight > 0
	}
	return false
}
