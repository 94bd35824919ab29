package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a page, its collector and the lakeFS servers, on one clock.
type world struct {
	*testworld.World
	page *Page
	mux  *http.ServeMux
}

func newWorld(t testing.TB, change ...func(*collector.Options)) *world {
	t.Helper()
	w := &world{World: testworld.New(t, change...)}
	w.page, w.mux = newPage(t, w.Collector)
	w.page.wait = time.Minute // a busy machine must not look like a slow lakeFS
	return w
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

// labels gives an import labels of the form NAME=VALUE.
func labels(labels ...string) func(*collector.Import) {
	return func(imp *collector.Import) {
		imp.Labels = map[string]string{}
		for _, label := range labels {
			name, value, _ := strings.Cut(label, "=")
			imp.Labels[name] = value
		}
	}
}

// addEveryState watches an import in each state on the server prod, and on dev
// a failed one and, of a branch that is not known, a running one. It returns
// those of prod by state.
func (w *world) addEveryState() map[collector.State]lakefs.Ref {
	w.T.Helper()
	prod, dev := w.AddLakeFS("prod", 0), w.AddLakeFS("dev", 0)
	refs := map[collector.State]lakefs.Ref{}
	start := func(state collector.State, repository, label string, script lakefstest.Script) {
		refs[state] = prod.Start(repository, "main", script)
		w.Watch("prod", refs[state], labels(label), func(imp *collector.Import) {
			imp.ExpectedObjects, imp.NoProgressAfter = script.Objects, 10*time.Minute
		})
		w.Clock.Advance(time.Second)
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
	w.Watch("prod", refs[collector.NotFound])
	failed := dev.Start("orders", "ingest", lakefstest.Script{Objects: 9, End: lakefstest.Failure, Message: lakefstest.MessageDirtyBranch})
	running := dev.Start("orders", "ingest", lakefstest.Script{Objects: 100_000, Rate: 7})
	running.Branch = lakefs.UnknownBranch
	w.Watch("dev", failed)
	w.Watch("dev", running, func(imp *collector.Import) { imp.MaxDuration = 6 * time.Hour })
	for range 14 {
		w.Clock.Advance(time.Minute)
		w.poll()
	}
	prod.Forget(refs[collector.Lost])
	w.Clock.Advance(time.Minute)
	w.poll()
	return refs
}

// addTrouble has everything go wrong, on servers three hours ahead, with what the
// headline says after each step. It takes breakStore.
func (w *world) addTrouble(step func(headline string)) {
	w.T.Helper()
	servers := map[string]*lakefstest.Server{}
	script := lakefstest.Script{Objects: 1000, Rate: 1}
	for _, name := range []string{"blind", "lakefs.example.com:8000", "idle", "paused", "refused", "up"} {
		servers[name] = w.AddLakeFS(name, 3*time.Hour)
		if name != "idle" {
			w.Watch(name, servers[name].Start("any", "main", script), func(imp *collector.Import) { imp.ExpectedObjects = 1000 })
		}
	}
	discovery := brokenDiscovery{make(chan bool, 100)}
	w.Config.Servers[0].Discovery = discovery
	w.Config.Files = brokenFiles{"a.yml": "entry 3: id is missing", "b.yml": "", "c.yml": "not YAML"}
	w.Config.Repositories = []collector.Repository{
		{Server: "lakefs.example.com:8000", Name: "any", MaxImportAge: time.Hour}, {Server: "up", Name: "any", MaxImportAge: time.Hour},
		{Server: "up", Name: "done"}, {Server: "up", Name: "empty", MaxImportAge: time.Hour},
		{Server: "up", Name: "misspelt"}, {Server: "up", Name: "old", MaxImportAge: time.Hour},
	}
	w.Apply()
	<-discovery.failed
	up := servers["up"]
	up.AddRepository("empty")
	up.StartAt(lakefs.Ref{Repository: "old", Branch: "main", ID: "x"}, lakefstest.Script{}, w.Clock.Now().Add(time.Hour))
	bad := up.Start("bad", "main", script)
	w.Watch("up", bad)
	w.Watch("up", up.Start("done", "main", lakefstest.Script{}))
	<-discovery.failed
	if _, err := w.Collector.Register(w.T.Context(), collector.Import{Key: collector.Key{Server: "up", Repository: "any", ID: "x"}, Branch: "main"}); err == nil {
		w.T.Fatal("registered without a storage")
	}
	w.Clock.Advance(10 * time.Second)
	w.poll()
	step("3 of 6 repositories need attention")

	up.Inject(lakefstest.StatusOf(bad), lakefstest.Fault{Status: http.StatusInternalServerError, Body: "{}"})
	w.Clock.Advance(10 * time.Second)
	w.poll()
	step("1 of 7 imports is unknown")

	servers["paused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	servers["lakefs.example.com:8000"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusBadGateway, Body: "<h1>Bad Gateway</h1>"})
	w.Clock.Advance(10 * time.Second)
	w.poll()
	w.Clock.Advance(3 * time.Second)
	step("3 of 7 imports are unknown: server lakefs.example.com:8000 has been down since 10:50:57")

	servers["refused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("error authenticating request")})
	w.Clock.Advance(10 * time.Second)
	step("4 of 7 imports are unknown: 2 of 6 servers are down or refuse the keys")
}

func (w *world) poll() { w.Collector.Poll(w.T.Context()) }

func (w *world) get(path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// load returns the page at path as a browser without JavaScript sees it.
func (w *world) load(path string) node {
	w.T.Helper()
	rec := w.get(path)
	if rec.Code != http.StatusOK {
		w.T.Fatalf("GET %s: status %d: %s", path, rec.Code, rec.Body)
	}
	root, err := html.Parse(rec.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	return node{root}
}
