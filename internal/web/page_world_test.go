package web

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"golang.org/x/net/html"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// pageWorld is the exporter and the lakeFS servers it polls, on one clock.
type pageWorld struct {
	t         testing.TB
	clock     *lakefstest.Clock
	collector *collector.Collector
	cfg       collector.Config
	opts      Options
	handler   http.Handler
}

func newPageWorld(t testing.TB, change ...func(*Options)) *pageWorld {
	t.Helper()
	w := &pageWorld{t: t, clock: lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC))}
	registry := prometheus.NewRegistry()
	w.collector = newCollector(t, collector.Options{Now: w.clock.Now, Registerer: registry})
	w.opts = pageOptions(w.collector, registry)
	// A busy machine must not look like a slow lakeFS.
	w.opts.pagePatience = time.Minute
	for _, f := range change {
		f(&w.opts)
	}
	handler, err := New(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	w.handler = handler
	return w
}

func pageOptions(c *collector.Collector, registry *prometheus.Registry) Options {
	return Options{
		Collector:     c,
		Registry:      registry,
		Logger:        log.NewNopLogger(),
		Reload:        func(context.Context) error { return nil },
		TelemetryPath: "/metrics",
		Version:       "(version=1.2.3, branch=main, revision=abc)",
		pageRefresh:   100 * time.Millisecond,
	}
}

// addServer starts a lakeFS and adds it to the config.
func (w *pageWorld) addServer(name string) *lakefstest.Server {
	w.t.Helper()
	server, err := lakefstest.New(lakefstest.Options{Clock: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(server.Close)
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: lakefstest.SecretAccessKey}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: server.URL, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	w.cfg.Servers = append(w.cfg.Servers, collector.Server{Name: name, Client: client, Timeout: time.Minute, MaxConcurrentRequests: 32})
	w.collector.Apply(w.cfg)
	return server
}

// watch has an import watched, with labels of the form NAME=VALUE.
func (w *pageWorld) watch(server string, ref lakefs.Ref, expected int64, labels ...string) {
	w.t.Helper()
	imp := collector.Import{
		Key:             collector.Key{Server: server, Ref: ref},
		ExpectedObjects: expected,
		NoProgressAfter: 10 * time.Minute,
		Labels:          map[string]string{},
	}
	for _, l := range labels {
		name, value, _ := strings.Cut(l, "=")
		imp.Labels[name] = value
	}
	if err := imp.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Imports = append(w.cfg.Imports, imp)
	w.collector.Apply(w.cfg)
}

// everyState watches an import in each state on the server prod, and a failed
// one and a running one on dev, and returns them by state.
func (w *pageWorld) everyState() map[collector.State]lakefs.Ref {
	w.t.Helper()
	prod, dev := w.addServer("prod"), w.addServer("dev")
	refs := map[collector.State]lakefs.Ref{}
	start := func(state collector.State, repository, label string, script lakefstest.Script) {
		refs[state] = prod.Start(repository, "main", script)
		w.watch("prod", refs[state], script.Objects, label)
	}
	start(collector.Stalled, "billing", "team=finance", lakefstest.Script{Objects: 1000, Rate: 1, End: lakefstest.Crash, EndAfter: time.Minute})
	start(collector.Lost, "clickstream", "team=web", lakefstest.Script{Objects: 5000, Rate: 1})
	start(collector.Failed, "sensor-data", "team=research", lakefstest.Script{Objects: 40, Rate: 1, End: lakefstest.Failure})
	start(collector.Hung, "clickstream", "team=web", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Hang, EndAtObjects: 200})
	start(collector.Running, "satellite", "team=research", lakefstest.Script{Objects: 10_000, Rate: 5})
	start(collector.Canceled, "clickstream", "team=web", lakefstest.Script{Objects: 500, Rate: 1, End: lakefstest.Cancel, EndAfter: 100 * time.Second})
	start(collector.Succeeded, "billing", "team=finance", lakefstest.Script{Objects: 300, Rate: 10})
	refs[collector.NotFound] = lakefs.Ref{Repository: "billing", Branch: "main", ID: "0f3c9d1e-7b2a-4c55-8e61-d94ab7c02f18"}
	w.watch("prod", refs[collector.NotFound], 0)
	refs[collector.Unknown] = prod.Start("sensor-data", "main", lakefstest.Script{Objects: 10, Rate: 1})
	w.watch("prod", refs[collector.Unknown], 0)
	prod.Inject(lakefstest.StatusOf(refs[collector.Unknown]), lakefstest.Fault{
		Status: http.StatusServiceUnavailable, Body: lakefstest.Message("key-value store: request rate is too high"),
	})
	w.watch("dev", dev.Start("orders", "ingest", lakefstest.Script{Objects: 9, End: lakefstest.Failure, Message: lakefstest.MessageDirtyBranch}), 0)
	w.watch("dev", dev.Start("orders", "ingest", lakefstest.Script{Objects: 100_000, Rate: 7}), 0)
	for range 14 {
		w.clock.Advance(time.Minute)
		w.scrape()
	}
	prod.Forget(refs[collector.Lost])
	w.clock.Advance(time.Minute)
	w.scrape()
	return refs
}

func (w *pageWorld) scrape() *collector.Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.collector.Scrape(ctx)
}

// get asks for a path, and returns the answer.
func (w *pageWorld) get(path string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	return rec
}

// page asks for the status page and returns it as a browser without JavaScript
// would see it. Redirects are followed.
func (w *pageWorld) page(path string) pageNode {
	w.t.Helper()
	rec := w.get(path)
	if rec.Code == http.StatusFound {
		rec = w.get("/" + rec.Header().Get("Location"))
	}
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: status %d: %s", path, rec.Code, rec.Body)
	}
	root, err := html.Parse(rec.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return pageNode{root}
}

// pageNode is an element of a page.
type pageNode struct{ *html.Node }

// all returns the elements below n that match a selector: TAG, .CLASS, TAG.CLASS
// or #ID.
func (n pageNode) all(selector string) []pageNode {
	tag, class, hasClass := strings.Cut(selector, ".")
	id, hasID := strings.CutPrefix(selector, "#")
	var found []pageNode
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		e := pageNode{d}
		switch {
		case hasID && e.attr("id") != id:
		case !hasID && tag != "" && d.Data != tag:
		case hasClass && !slices.Contains(strings.Fields(e.attr("class")), class):
		default:
			found = append(found, e)
		}
	}
	return found
}

// one returns the first element that matches; the zero pageNode if there is none.
func (n pageNode) one(selector string) pageNode {
	if n.Node == nil {
		return pageNode{}
	}
	if found := n.all(selector); len(found) > 0 {
		return found[0]
	}
	return pageNode{}
}

func (n pageNode) attr(name string) string {
	if n.Node != nil {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val
			}
		}
	}
	return ""
}

func (n pageNode) hasAttr(name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// text returns the text in n, with single spaces.
func (n pageNode) text() string {
	if n.Node == nil {
		return ""
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		} else if slices.Contains([]string{"span", "p", "td", "th", "li", "a"}, d.Data) {
			b.WriteString(" ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// rowKeys returns the keys of the page's rows, in order.
func (n pageNode) rowKeys() []string {
	var keys []string
	for _, row := range n.rows() {
		keys = append(keys, row.attr("data-key"))
	}
	return keys
}

func (n pageNode) rows() []pageNode {
	return slices.DeleteFunc(n.all("tr"), func(row pageNode) bool { return !row.hasAttr("data-key") })
}

// row returns the row of an import.
func (n pageNode) row(ref lakefs.Ref) pageNode {
	for _, row := range n.rows() {
		if row.attr("data-name") == ref.String() {
			return row
		}
	}
	return pageNode{}
}

// rowStates returns the states of the page's rows, in order.
func (n pageNode) rowStates() []string {
	var states []string
	for _, row := range n.rows() {
		states = append(states, row.attr("data-state"))
	}
	return states
}

// follow returns the path of the link in n that has the text.
func (n pageNode) follow(t testing.TB, text string) string {
	t.Helper()
	var have []string
	for _, a := range n.all("a") {
		if a.text() == text {
			return "/" + a.attr("href")
		}
		have = append(have, a.text())
	}
	t.Fatalf("no link %q among %q", text, have)
	return ""
}

// submit returns the path that a browser without JavaScript asks for when the
// filter form is sent, with some fields filled in.
func (n pageNode) submit(t testing.TB, fill map[string]string) string {
	t.Helper()
	form := n.one("#filter")
	if form.Node == nil {
		t.Fatal("no form")
	}
	fill = maps.Clone(fill)
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	q := req.URL.Query()
	for _, field := range slices.Concat(form.all("input"), form.all("select")) {
		name, value := field.attr("name"), field.attr("value")
		for i, option := range field.all("option") {
			if i == 0 || option.hasAttr("selected") {
				value = option.attr("value")
			}
		}
		if filled, ok := fill[name]; ok && field.attr("type") != "hidden" {
			value = filled
			delete(fill, name)
		}
		q.Add(name, value)
	}
	if len(fill) > 0 {
		t.Fatalf("the form has no fields %v", fill)
	}
	return "/" + form.attr("action") + "?" + q.Encode()
}
