package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a page, its collector and the lakeFS servers, on one clock.
type world struct {
	t         testing.TB
	clock     *lakefstest.Clock
	collector *collector.Collector
	cfg       collector.Config
	page      *Page
	mux       *http.ServeMux
}

func newWorld(t testing.TB, stores ...collector.Store) *world {
	t.Helper()
	w := &world{t: t, clock: lakefstest.NewClock(time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC))}
	w.collector = newCollector(t, w.clock.Now, stores...)
	w.page, w.mux = newPage(t, w.collector)
	w.page.wait = time.Minute // a busy machine must not look like a slow lakeFS
	return w
}

func newCollector(t testing.TB, now func() time.Time, stores ...collector.Store) *collector.Collector {
	t.Helper()
	opts := collector.Options{
		Now: now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(),
		Retention: 24 * time.Hour, FinishedFor: 24 * time.Hour, MaxRegistered: 10,
	}
	for _, store := range stores {
		opts.Store = store
	}
	c, err := collector.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newPage(t testing.TB, c *collector.Collector) (*Page, *http.ServeMux) {
	t.Helper()
	p := New(Options{
		Collector: c, Logger: log.NewNopLogger(), TelemetryPath: "/metrics", Version: "(version=1.2.3, branch=main, revision=abc)",
		Share: func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) { next(w, r) },
	})
	mux := http.NewServeMux()
	p.Register(mux)
	return p, mux
}

// addServer starts a lakeFS whose clock is skew ahead, and adds it to the config.
func (w *world) addServer(name string, skew time.Duration) *lakefstest.Server {
	w.t.Helper()
	server, err := lakefstest.New(lakefstest.Options{Clock: func() time.Time { return w.clock.Now().Add(skew) }})
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

// newImport returns an import with labels of the form NAME=VALUE.
func newImport(server string, ref lakefs.Ref, expected int64, labels ...string) collector.Import {
	imp := collector.Import{
		Key:             collector.Key{Server: server, Repository: ref.Repository, ID: ref.ID},
		Branch:          ref.Branch,
		ExpectedObjects: expected,
		NoProgressAfter: 10 * time.Minute,
		Labels:          map[string]string{},
	}
	for _, label := range labels {
		name, value, _ := strings.Cut(label, "=")
		imp.Labels[name] = value
	}
	return imp
}

// watch adds imports to the config.
func (w *world) watch(imports ...collector.Import) {
	w.cfg.Imports = append(w.cfg.Imports, imports...)
	w.collector.Apply(w.cfg)
}

// addEveryState watches an import in each state on the server prod, and on dev
// a failed one and, of a branch that is not known, a running one. It returns
// those of prod by state.
func (w *world) addEveryState() map[collector.State]lakefs.Ref {
	w.t.Helper()
	prod, dev := w.addServer("prod", 0), w.addServer("dev", 0)
	refs := map[collector.State]lakefs.Ref{}
	start := func(state collector.State, repository, label string, script lakefstest.Script) {
		refs[state] = prod.Start(repository, "main", script)
		w.watch(newImport("prod", refs[state], script.Objects, label))
		w.clock.Advance(time.Second)
	}
	start(collector.Stalled, "billing", "team=finance", lakefstest.Script{Objects: 1000, Rate: 1, End: lakefstest.Crash, EndAfter: time.Minute})
	start(collector.Lost, "clickstream", "team=web", lakefstest.Script{Objects: 5000, Rate: 1})
	start(collector.Failed, "sensor-data", "team=research", lakefstest.Script{Objects: 40, Rate: 1, End: lakefstest.Failure})
	start(collector.Hung, "clickstream", "team=web", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Hang, EndAtObjects: 200})
	start(collector.Running, "satellite", "team=research", lakefstest.Script{Objects: 10_000, Rate: 5})
	start(collector.Canceled, "clickstream", "team=web", lakefstest.Script{Objects: 500, Rate: 1, End: lakefstest.Cancel, EndAfter: 100 * time.Second})
	start(collector.Succeeded, "billing", "team=finance", lakefstest.Script{Objects: 300, Rate: 10})
	start(collector.Unknown, "sensor-data", "env=a=b", lakefstest.Script{Objects: 10, Rate: 1})
	prod.Inject(lakefstest.StatusOf(refs[collector.Unknown]), lakefstest.Fault{Status: http.StatusServiceUnavailable})
	refs[collector.NotFound] = lakefs.Ref{Repository: "billing", Branch: "main", ID: "0f3c9d1e-7b2a-4c55-8e61-d94ab7c02f18"}
	w.watch(newImport("prod", refs[collector.NotFound], 0))
	failed := dev.Start("orders", "ingest", lakefstest.Script{Objects: 9, End: lakefstest.Failure, Message: lakefstest.MessageDirtyBranch})
	running := dev.Start("orders", "ingest", lakefstest.Script{Objects: 100_000, Rate: 7})
	running.Branch = lakefs.UnknownBranch
	limited := newImport("dev", running, 0)
	limited.MaxDuration = 6 * time.Hour
	w.watch(newImport("dev", failed, 0), limited)
	for range 14 {
		w.clock.Advance(time.Minute)
		w.poll()
	}
	prod.Forget(refs[collector.Lost])
	w.clock.Advance(time.Minute)
	w.poll()
	return refs
}

// addTrouble has everything go wrong, on servers three hours ahead, with what the
// headline says after each step. It takes a brokenStore.
func (w *world) addTrouble(step func(headline string)) {
	w.t.Helper()
	servers := map[string]*lakefstest.Server{}
	script := lakefstest.Script{Objects: 1000, Rate: 1}
	for _, name := range []string{"blind", "lakefs.example.com:8000", "idle", "paused", "refused", "up"} {
		servers[name] = w.addServer(name, 3*time.Hour)
		if name != "idle" {
			w.watch(newImport(name, servers[name].Start("any", "main", script), 1000))
		}
	}
	discovery := brokenDiscovery{make(chan bool, 100)}
	w.cfg.Servers[0].Discovery = discovery
	w.cfg.Files = brokenFiles{"a.yml": "entry 3: id is missing", "b.yml": "", "c.yml": "not YAML"}
	w.cfg.Repositories = []collector.Repository{
		{Server: "lakefs.example.com:8000", Name: "any", MaxImportAge: time.Hour}, {Server: "up", Name: "any", MaxImportAge: time.Hour},
		{Server: "up", Name: "done"}, {Server: "up", Name: "empty", MaxImportAge: time.Hour},
		{Server: "up", Name: "misspelt"}, {Server: "up", Name: "old", MaxImportAge: time.Hour},
	}
	w.collector.Apply(w.cfg)
	<-discovery.failed
	up := servers["up"]
	up.AddRepository("empty")
	up.StartAt(lakefs.Ref{Repository: "old", Branch: "main", ID: "x"}, lakefstest.Script{}, w.clock.Now().Add(time.Hour))
	bad := up.Start("bad", "main", script)
	w.watch(newImport("up", bad, 0), newImport("up", up.Start("done", "main", lakefstest.Script{}), 0))
	<-discovery.failed
	if _, err := w.collector.Register(w.t.Context(), newImport("up", lakefs.Ref{Repository: "any", Branch: "main", ID: "x"}, 0)); err == nil {
		w.t.Fatal("registered without a storage")
	}
	w.clock.Advance(10 * time.Second)
	w.poll()
	step("3 of 6 repositories need attention")

	up.Inject(lakefstest.StatusOf(bad), lakefstest.Fault{Status: http.StatusInternalServerError, Body: "{}"})
	w.clock.Advance(10 * time.Second)
	w.poll()
	step("1 of 7 imports is unknown")

	servers["paused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	servers["lakefs.example.com:8000"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusBadGateway, Body: "<h1>Bad Gateway</h1>"})
	w.clock.Advance(10 * time.Second)
	w.poll()
	w.clock.Advance(3 * time.Second)
	step("3 of 7 imports are unknown: server lakefs.example.com:8000 has been down since 10:50:57")

	servers["refused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("error authenticating request")})
	w.clock.Advance(10 * time.Second)
	step("4 of 7 imports are unknown: 2 of 6 servers are down or refuse the keys")
}

func (w *world) poll() { w.collector.Poll(w.t.Context()) }

func (w *world) get(path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// load returns the page at path as a browser without JavaScript sees it.
func (w *world) load(path string) node {
	w.t.Helper()
	rec := w.get(path)
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: status %d: %s", path, rec.Code, rec.Body)
	}
	root, err := html.Parse(rec.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return node{root}
}
