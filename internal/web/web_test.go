package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const (
	repo   = "my-repo"
	branch = "main"
)

// import50k runs for 100 seconds.
var import50k = lakefstest.Script{Objects: 50_000, Rate: 500}

// world is the exporter behind a real HTTP server, and the lakeFS servers it
// polls over TCP, all on one clock.
type world struct {
	t         *testing.T
	clock     *lakefstest.Clock
	collector *collector.Collector
	cfg       collector.Config
	handler   http.Handler
	url       string // of the exporter
}

// newWorld returns a world whose handler has opts. It watches nothing yet.
func newWorld(t *testing.T, change ...func(*Options)) *world {
	return newWorldWith(t, collector.Options{}, change...)
}

// newWorldWith is newWorld with a collector that has opts too.
func newWorldWith(t *testing.T, collectorOptions collector.Options, change ...func(*Options)) *world {
	w := &world{t: t, clock: lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 27, 374205733, time.UTC))}
	registry := prometheus.NewRegistry()
	collectorOptions.Now, collectorOptions.Registerer = w.clock.Now, registry
	w.collector = newCollector(t, collectorOptions)
	opts := Options{
		Collector:     w.collector,
		Registry:      registry,
		Logger:        log.NewNopLogger(),
		Reload:        func(context.Context) error { return nil },
		TelemetryPath: "/metrics",
		TimeoutOffset: 500 * time.Millisecond,
		Version:       "1.2.3",
	}
	for _, f := range change {
		f(&opts)
	}
	handler, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	w.handler, w.url = handler, serve(t, handler, (*httptest.Server).Start).URL
	return w
}

func newCollector(t testing.TB, opts collector.Options) *collector.Collector {
	t.Helper()
	opts.Logger = log.NewNopLogger()
	c, err := collector.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// addLakeFS starts a lakeFS and adds it to the config.
func (w *world) addLakeFS(name string) *lakefstest.Server {
	w.t.Helper()
	server, err := lakefstest.New(lakefstest.Options{Clock: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(server.Close)
	w.addServer(name, server.URL, config.TLSConfig{})
	return server
}

func (w *world) addServer(name, url string, tls config.TLSConfig) *lakefs.Client {
	w.t.Helper()
	httpConfig := config.DefaultHTTPClientConfig
	httpConfig.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: lakefstest.SecretAccessKey}
	httpConfig.TLSConfig = tls
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: url, HTTP: httpConfig, UserAgent: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.CloseIdleConnections)
	w.cfg.Servers = append(w.cfg.Servers, collector.Server{Name: name, Client: client, Timeout: time.Minute, MaxConcurrentRequests: 32})
	w.collector.Apply(w.cfg)
	return client
}

func (w *world) watch(server string, ref lakefs.Ref, change ...func(*collector.Import)) {
	w.t.Helper()
	imp := collector.Import{Key: collector.Key{Server: server, Ref: ref}, NoProgressAfter: collector.DefaultNoProgressAfter}
	for _, f := range change {
		f(&imp)
	}
	if err := imp.Validate(); err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Imports = append(w.cfg.Imports, imp)
	w.collector.Apply(w.cfg)
}

// twoServers watches an import on each of prod and dev: prod's is running, with
// all that a user can say about it, and dev's has failed.
func (w *world) twoServers() {
	w.t.Helper()
	prod, dev := w.addLakeFS("prod"), w.addLakeFS("dev")
	w.watch("prod", prod.Start(repo, branch, import50k), func(i *collector.Import) {
		i.ExpectedObjects = 50_000
		i.NoProgressAfter = 2 * time.Hour
		i.Labels = map[string]string{"team": "ingest & <friends>"}
	})
	w.watch("dev", dev.Start(repo, branch, lakefstest.Script{Objects: 9, End: lakefstest.Failure}))
	w.clock.Advance(30 * time.Second)
}

// The import on each of the two servers has the same ID: both count from one.
const (
	importID   = "dc1chsrcddimcso0000g"
	importPath = "/api/v1/imports/my-repo/main/" + importID
)

// send sends a request and reads the answer.
func (w *world) send(ctx context.Context, method, path string, header http.Header) (*http.Response, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	// Nothing is added to the request, and nothing is taken off the answer.
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

func (w *world) get(path string) (*http.Response, string) {
	w.t.Helper()
	return w.send(w.t.Context(), http.MethodGet, path, nil)
}

// durations are the values that depend on how fast this machine is.
var durations = regexp.MustCompile(`(?m)^(lakefs_import_exporter_poll_duration_seconds_(?:bucket|sum)\{.*\}) \S+$`)

// ports are those of the lakeFS servers.
var ports = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// golden compares got with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = durations.ReplaceAllString(got, "$1 SECONDS")
	got = ports.ReplaceAllString(got, "http://127.0.0.1:PORT")
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

const (
	plain = "text/plain; charset=utf-8"
	jsonT = "application/json"
)

// Every endpoint, over TCP: status, headers, and the whole body.
func TestEndpoints(t *testing.T) {
	lifecycle := func(err error) func(*Options) {
		return func(o *Options) {
			o.EnableLifecycle = true
			o.Reload = func(context.Context) error { return err }
		}
	}
	for _, tc := range []struct {
		name   string
		opts   func(*Options)
		method string // GET if empty
		path   string
		status int
		header http.Header // of the answer; nil: an error of net/http's mux
		body   string
		golden string // in place of body
	}{
		{name: "metrics", path: "/metrics", status: 200, header: http.Header{"Content-Type": {"text/plain; version=0.0.4; charset=utf-8; escaping=underscores"}}, golden: "metrics.prom"},
		{name: "metrics with a query", path: "/metrics?x=y", status: 200, golden: "metrics.prom"},
		{
			name: "metrics elsewhere", opts: func(o *Options) { o.TelemetryPath = "/lakefs/imports" },
			path: "/lakefs/imports", status: 200, golden: "metrics.prom",
		},
		{
			name: "metrics elsewhere, not at the usual place", opts: func(o *Options) { o.TelemetryPath = "/lakefs/imports" },
			path: "/metrics", status: 404, header: http.Header{"Content-Type": {plain}}, body: "404 page not found\n",
		},
		{name: "metrics in a folder", opts: func(o *Options) { o.TelemetryPath = "/m/" }, path: "/m/", status: 200, golden: "metrics.prom"},
		{name: "not below metrics", opts: func(o *Options) { o.TelemetryPath = "/m/" }, path: "/m/x", status: 404, body: "404 page not found\n"},
		{name: "metrics at the root", opts: func(o *Options) { o.TelemetryPath = "/" }, path: "/", status: 200, golden: "metrics.prom"},
		{name: "nothing else at the root", opts: func(o *Options) { o.TelemetryPath = "/" }, path: "/metrics", status: 404, body: "404 page not found\n"},

		{name: "imports", path: "/api/v1/imports", status: 200, header: http.Header{"Content-Type": {jsonT}, "Cache-Control": {"no-store"}}, golden: "imports.json"},
		{name: "import", path: importPath + "?server=prod", status: 200, header: http.Header{"Content-Type": {jsonT}, "Cache-Control": {"no-store"}}, golden: "import_prod.json"},
		{name: "import of the other server", path: importPath + "?server=dev", status: 200, golden: "import_dev.json"},
		{
			name: "import not watched", path: "/api/v1/imports/my-repo/other/" + importID + "?server=prod", status: 404,
			header: http.Header{"Content-Type": {jsonT}, "Cache-Control": {"no-store"}},
			body:   `{"message":"import my-repo/other/` + importID + ` of server \"prod\" is not watched"}` + "\n",
		},
		{
			name: "import with slashes and markup", path: "/api/v1/imports/..%2F..%2Fx/%3Cscript%3E/%22?server=prod", status: 400,
			header: http.Header{"Content-Type": {jsonT}},
			body:   `{"message":"repository \"../../x\": must match ^[a-z0-9][a-z0-9-]{2,62}$"}` + "\n",
		},
		{
			name: "import without a server", path: importPath, status: 400, header: http.Header{"Content-Type": {jsonT}, "Cache-Control": {"no-store"}},
			body: `{"message":"server is missing: must be one of [\"dev\" \"prod\"]"}` + "\n",
		},
		{
			name: "import of an unknown server", path: importPath + "?server=http://evil/", status: 400, header: http.Header{"Content-Type": {jsonT}},
			body: `{"message":"server \"http://evil/\" is not configured: must be one of [\"dev\" \"prod\"]"}` + "\n",
		},
		{name: "import without an ID", path: "/api/v1/imports/my-repo/main", status: 404, body: "404 page not found\n"},
		{name: "too much for an import", path: importPath + "/x", status: 404, body: "404 page not found\n"},

		{name: "healthy", path: "/-/healthy", status: 200, header: http.Header{"Content-Type": {plain}}, body: "OK\n"},
		{name: "ready", path: "/-/ready", status: 200, header: http.Header{"Content-Type": {plain}}, body: "OK\n"},
		{
			name: "reload, not enabled", method: http.MethodPost, path: "/-/reload", status: 403, header: http.Header{"Content-Type": {plain}},
			opts: func(o *Options) {
				o.Reload = func(context.Context) error { t.Error("reloaded, although that is not enabled"); return nil }
			},
			body: "The reload API is off: start the exporter with --web.enable-lifecycle.\n",
		},
		{
			name: "reload", opts: lifecycle(nil), method: http.MethodPost, path: "/-/reload", status: 200, header: http.Header{"Content-Type": {plain}},
			body: "The configuration was reloaded.\n",
		},
		{
			name: "reload that fails", opts: lifecycle(errors.New("config.yml: line 3: <b>unknown</b> key")), method: http.MethodPost, path: "/-/reload",
			status: 500, header: http.Header{"Content-Type": {plain}},
			body: "The configuration was not reloaded, the old one stays in force: config.yml: line 3: <b>unknown</b> key\n",
		},

		{name: "unknown path", path: "/nosuch", status: 404, header: http.Header{"Content-Type": {plain}}, body: "404 page not found\n"},
		{name: "unknown path of the API", path: "/api/v1/", status: 404, body: "404 page not found\n"},

		{name: "POST metrics", method: http.MethodPost, path: "/metrics", status: 405, header: http.Header{"Allow": {"GET, HEAD"}}, body: "Method Not Allowed\n"},
		{name: "POST imports", method: http.MethodPost, path: "/api/v1/imports", status: 405, header: http.Header{"Allow": {"GET, HEAD"}}, body: "Method Not Allowed\n"},
		{name: "POST import", method: http.MethodPost, path: importPath, status: 405, body: "Method Not Allowed\n"},
		{name: "DELETE healthy", method: http.MethodDelete, path: "/-/healthy", status: 405, header: http.Header{"Allow": {"GET, HEAD"}}, body: "Method Not Allowed\n"},
		{name: "PUT ready", method: http.MethodPut, path: "/-/ready", status: 405, header: http.Header{"Allow": {"GET, HEAD"}}, body: "Method Not Allowed\n"},
		{name: "GET reload", opts: lifecycle(errors.New("reloaded by GET")), path: "/-/reload", status: 405, header: http.Header{"Allow": {"POST"}}, body: "Method Not Allowed\n"},
		{name: "POST landing page", method: http.MethodPost, path: "/", status: 405, header: http.Header{"Allow": {"GET, HEAD"}}, body: "Method Not Allowed\n"},

		{name: "HEAD metrics", method: http.MethodHead, path: "/metrics", status: 200, body: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var change []func(*Options)
			if tc.opts != nil {
				change = append(change, tc.opts)
			}
			w := newWorld(t, change...)
			w.twoServers()
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			resp, body := w.send(t.Context(), method, tc.path, nil)
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.status)
			}
			for name, want := range tc.header {
				if diff := cmp.Diff(want, resp.Header.Values(name)); diff != "" {
					t.Errorf("header %s (-want +got):\n%s", name, diff)
				}
			}
			if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options is %q", got)
			}
			switch {
			case strings.HasSuffix(tc.golden, ".json"):
				golden(t, tc.golden, indented(t, body))
			case tc.golden != "":
				golden(t, tc.golden, body)
			case body != tc.body:
				t.Errorf("got body %q, want %q", body, tc.body)
			}
		})
	}
}

// indented returns one line of JSON as several.
func indented(t *testing.T, line string) string {
	t.Helper()
	if strings.Index(line, "\n") != len(line)-1 {
		t.Errorf("not one line: %q", line)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(line), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return b.String()
}

// One server need not be named.
func TestImportOfTheOnlyServer(t *testing.T) {
	w := newWorld(t)
	w.watch("prod", w.addLakeFS("prod").Start(repo, branch, import50k))
	for _, path := range []string{importPath, importPath + "?server=", importPath + "?server=prod"} {
		resp, body := w.get(path)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, `{"server":"prod","repository":"my-repo","branch":"main",`) {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	if resp, body := w.get(importPath + "?server=dev"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a server that is not there: got %d %s", resp.StatusCode, body)
	}
}

// Before anything is watched there are no servers and imports, but no null either.
func TestNothingWatched(t *testing.T) {
	w := newWorld(t)
	if resp, body := w.get("/api/v1/imports"); resp.StatusCode != http.StatusOK || body != `{"servers":[],"imports":[]}`+"\n" {
		t.Errorf("imports: got %d %s", resp.StatusCode, body)
	}
	resp, body := w.get("/metrics")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "\nlakefs_import_exporter_imports{source=\"config\"} 0\n") {
		t.Errorf("metrics: got %d %s", resp.StatusCode, body)
	}
	checkMetrics(t, body)
}

// What costs lakeFS a request: a look at all imports one in five seconds, a
// look at one import one a second.
func TestPollsOfTheAPI(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.addLakeFS("prod")
	ref := lakeFS.Start(repo, branch, import50k)
	w.watch("prod", ref)
	for _, step := range []struct {
		advance time.Duration
		path    string
		polls   int
	}{
		{0, "/api/v1/imports", 1},
		{5 * time.Second, "/api/v1/imports", 1},
		{time.Millisecond, "/api/v1/imports", 2},
		{999 * time.Millisecond, importPath, 2},
		{time.Millisecond, importPath, 3},
		{0, "/metrics", 3},
		{time.Second, "/metrics", 4},
	} {
		w.clock.Advance(step.advance)
		w.get(step.path)
		if got := lakeFS.StatusRequests(ref); got != step.polls {
			t.Errorf("%s after %s: %d polls, want %d", step.path, step.advance, got, step.polls)
		}
	}
}

// Prometheus gets the format and the compression that it asks for.
func TestNegotiation(t *testing.T) {
	const openMetrics = "application/openmetrics-text;version=1.0.0"
	for _, tc := range []struct {
		name           string
		header         http.Header
		contentType    string
		encoding       string
		golden, suffix string
	}{
		{
			name: "text", header: http.Header{"Accept": {"text/plain;version=0.0.4"}},
			contentType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", golden: "metrics.prom", suffix: "\n",
		},
		{
			name: "OpenMetrics", header: http.Header{"Accept": {openMetrics}},
			contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores", golden: "metrics.openmetrics", suffix: "\n# EOF\n",
		},
		{
			name: "text, compressed", header: http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"gzip"}},
			contentType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", encoding: "gzip", golden: "metrics.prom", suffix: "\n",
		},
		{
			name: "OpenMetrics, compressed, with what Prometheus sends",
			header: http.Header{
				"Accept":          {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"},
				"Accept-Encoding": {"gzip"},
			},
			contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8", encoding: "gzip", golden: "metrics.openmetrics", suffix: "\n# EOF\n",
		},
		{
			name: "a compression nobody knows", header: http.Header{"Accept-Encoding": {"br"}},
			contentType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", golden: "metrics.prom", suffix: "\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.twoServers()
			resp, body := w.send(t.Context(), http.MethodGet, "/metrics", tc.header)
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			if got := resp.Header.Get("Content-Type"); got != tc.contentType {
				t.Errorf("content type %q, want %q", got, tc.contentType)
			}
			if got := resp.Header.Get("Content-Encoding"); got != tc.encoding {
				t.Errorf("content encoding %q, want %q", got, tc.encoding)
			}
			if tc.encoding == "gzip" {
				body = gunzip(t, body)
			}
			if !strings.HasSuffix(body, tc.suffix) {
				t.Errorf("ends with %q", body[max(0, len(body)-20):])
			}
			golden(t, tc.golden, body)
		})
	}
}

func gunzip(t *testing.T, s string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// Prometheus gets the native histogram if it asks for the format that has it.
func TestNativeHistogram(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	resp, body := w.send(t.Context(), http.MethodGet, "/metrics", http.Header{
		"Accept": {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"},
	})
	dec := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(resp.Header))
	families := map[string]*dto.MetricFamily{}
	for {
		f := &dto.MetricFamily{}
		err := dec.Decode(f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		families[f.GetName()] = f
	}
	for _, m := range families["lakefs_import_exporter_poll_duration_seconds"].GetMetric() {
		h := m.GetHistogram()
		if h.GetSampleCount() != 1 || len(h.GetPositiveSpan())+int(h.GetZeroCount()) == 0 || len(h.GetBucket()) == 0 {
			t.Errorf("not one poll in both kinds of buckets: %v", h)
		}
	}
	if got := families["lakefs_import_ingested_objects"].GetMetric(); len(got) != 2 || got[1].GetGauge().GetValue() != 15_000 {
		t.Errorf("ingested objects: %v", got)
	}
}

// Nobody who checks metrics for a living finds anything to say.
func TestLint(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	succeeded := w.addLakeFS("third")
	w.watch("third", succeeded.StartAt(lakefs.Ref{Repository: repo, Branch: branch}, import50k, w.clock.Now().Add(-time.Hour)), func(i *collector.Import) { i.ExpectedObjects = 50_000 })
	w.get("/metrics")
	w.clock.Advance(time.Minute)
	_, body := w.get("/metrics")
	for _, name := range importTable {
		if !strings.Contains(body, "\n"+name+"{") {
			t.Errorf("no series of %s to look at", name)
		}
	}
	checkMetrics(t, body)
}

// importTable are the metrics of imports, as users were promised them.
var importTable = []string{
	"lakefs_import_ingested_objects",
	"lakefs_import_completed",
	"lakefs_import_error",
	"lakefs_import_canceled",
	"lakefs_import_seconds_since_update",
	"lakefs_import_update_timestamp_seconds",
	"lakefs_import_last_status_timestamp_seconds",
	"lakefs_import_progress_timestamp_seconds",
	"lakefs_import_no_progress_after_seconds",
	"lakefs_import_start_timestamp_seconds",
	"lakefs_import_expected_objects",
	"lakefs_import_commit_info",
	"lakefs_import_error_info",
	"lakefs_import_poll_success",
	"lakefs_import_found",
}

// checkMetrics lints body with the linter of client_golang and with promtool.
func checkMetrics(t *testing.T, body string) {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not there, and CI must not do without it")
		}
		t.Skip("SKIPPED: promtool is not there: install Debian's package prometheus")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestLandingPage(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.TelemetryPath = "/lakefs/metrics" })
	resp, body := w.get("/")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=UTF-8" {
		t.Errorf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	var links []string
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		links = append(links, m[1])
		if resp, _ := w.get(m[1]); resp.StatusCode != http.StatusOK {
			t.Errorf("the link to %s leads to status %d", m[1], resp.StatusCode)
		}
	}
	if diff := cmp.Diff([]string{"/imports", "/lakefs/metrics", "/api/v1/imports", "/-/healthy", "/-/ready"}, links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	for _, want := range []string{"<title>lakeFS import exporter</title>", "Version: 1.2.3"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
}

func TestTelemetryPath(t *testing.T) {
	const pattern = `must match ^/[A-Za-z0-9._~/-]*$`
	for _, tc := range []struct{ path, err string }{
		{"/metrics", ""},
		{"/", ""},
		{"/a/b-c_d.e~f/", ""},
		{"/-", ""},
		{"/api", ""},
		{"/apis/x", ""},
		{"/importsx", ""},
		{"/probes", ""},
		{"", `"": ` + pattern},
		{"metrics", `"metrics": ` + pattern},
		{"/a b", `"/a b": ` + pattern},
		{"/{x}", `"/{x}": ` + pattern},
		{"/a?b", `"/a?b": ` + pattern},
		{"/a#b", `"/a#b": ` + pattern},
		{"/ä", `"/ä": ` + pattern},
		{"/a\n", `"/a\n": ` + pattern},
		{"/a%20b", `"/a%20b": ` + pattern},
		{"/-/", `"/-/": /-/ is taken`},
		{"/-/healthy", `"/-/healthy": /-/ is taken`},
		{"/api/", `"/api/": /api/ is taken`},
		{"/api/v1/imports", `"/api/v1/imports": /api/ is taken`},
		{"/imports", `"/imports": /imports is taken`},
		{"/imports/", `"/imports/": /imports is taken`},
		{"/probe", `"/probe": /probe is taken`},
		{"/probe/x", `"/probe/x": /probe is taken`},
		{"//", `"//": must have no empty, . or .. parts`},
		{"//metrics", `"//metrics": must have no empty, . or .. parts`},
		{"/a//b", `"/a//b": must have no empty, . or .. parts`},
		{"/a/./b", `"/a/./b": must have no empty, . or .. parts`},
		{"/x/../-/healthy", `"/x/../-/healthy": must have no empty, . or .. parts`},
		{"/a/..", `"/a/..": must have no empty, . or .. parts`},
	} {
		t.Run(strconv.Quote(tc.path), func(t *testing.T) {
			got := ""
			if err := ValidateTelemetryPath(tc.path); err != nil {
				got = err.Error()
			}
			if got != tc.err {
				t.Errorf("got %q, want %q", got, tc.err)
			}
			// What passes here must be good for the mux as well, and what does
			// not must come to no harm there.
			registry := prometheus.NewRegistry()
			_, err := New(Options{
				Collector: newCollector(t, collector.Options{Now: time.Now, Registerer: registry}),
				Registry:  registry, Logger: log.NewNopLogger(), TelemetryPath: tc.path,
			})
			got = ""
			if err != nil {
				got = strings.TrimPrefix(err.Error(), "telemetry path ")
			}
			if got != tc.err {
				t.Errorf("New: got %q, want %q", got, tc.err)
			}
		})
	}
}

func TestScrapeTimeout(t *testing.T) {
	const half = 500 * time.Millisecond
	bad := func(quoted string) string {
		return "header X-Prometheus-Scrape-Timeout-Seconds: must be a positive number of seconds, not " + quoted
	}
	for _, tc := range []struct {
		header string
		offset time.Duration
		want   time.Duration
		err    string
	}{
		{"", half, 10 * time.Second, ""},
		{"10", half, 9500 * time.Millisecond, ""},
		{"10.000000", half, 9500 * time.Millisecond, ""},
		{"1.5", 0, 1500 * time.Millisecond, ""},
		{"0.75", half, 250 * time.Millisecond, ""},
		{"0.5", half, 250 * time.Millisecond, ""}, // the offset would eat it
		{"0.3", half, 150 * time.Millisecond, ""},
		{"5", time.Hour, 2500 * time.Millisecond, ""},
		{"1e-9", half, 0, ""},
		{"1e9", half, time.Hour - half, ""},
		{"1e300", half, time.Hour - half, ""},
		{"Inf", half, time.Hour - half, ""},
		{"0", half, 0, bad(`"0"`)},
		{"-0", half, 0, bad(`"-0"`)},
		{"-1", half, 0, bad(`"-1"`)},
		{"-Inf", half, 0, bad(`"-Inf"`)},
		{"NaN", half, 0, bad(`"NaN"`)},
		{"10s", half, 0, bad(`"10s"`)},
		{" 10", half, 0, bad(`" 10"`)},
		{"1e999", half, 0, bad(`"1e999"`)},
		{`"<b>`, half, 0, bad(`"\"<b>"`)},
	} {
		t.Run(tc.header, func(t *testing.T) {
			header := http.Header{}
			if tc.header != "" {
				header.Set("X-Prometheus-Scrape-Timeout-Seconds", tc.header)
			}
			got, err := scrapeTimeout(header, tc.offset)
			message := ""
			if err != nil {
				message = err.Error()
			}
			if got != tc.want || message != tc.err {
				t.Errorf("got %s, %q, want %s, %q", got, message, tc.want, tc.err)
			}
		})
	}
}

// A header that makes no sense does not cost anybody their metrics.
func TestMetricsWithABadTimeout(t *testing.T) {
	for _, value := range []string{"soon", "NaN", "-1", "0", "Inf", "1e300"} {
		t.Run(value, func(t *testing.T) {
			w := newWorld(t)
			w.twoServers()
			resp, body := w.send(t.Context(), http.MethodGet, "/metrics", http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {value}})
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			golden(t, "metrics.prom", body)
		})
	}
}

// Whoever looks, and however often, while the configuration changes: nobody is
// told a lie, and the race detector has nothing to say.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	var readers, writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				w.clock.Advance(time.Second)
				w.collector.Apply(w.cfg)
			}
		}
	})
	for _, path := range []string{"/metrics", "/api/v1/imports", importPath + "?server=prod", importPath + "?server=dev"} {
		for range 3 {
			readers.Go(func() {
				for range 10 {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+path, nil)
					if err != nil {
						t.Error(err)
						return
					}
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), importID) {
						t.Errorf("%s: got %d %.200s, %v", path, resp.StatusCode, body, err)
					}
				}
			})
		}
	}
	readers.Wait()
	close(done)
	writer.Wait()
}

// series returns the value of every series in body but for histograms.
func series(t *testing.T, body string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	values := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				continue
			}
			labels := make([]string, len(m.Label))
			for i, l := range m.Label {
				labels[i] = fmt.Sprintf("%s=%q", l.GetName(), l.GetValue())
			}
			slices.Sort(labels)
			values[name+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return values
}
