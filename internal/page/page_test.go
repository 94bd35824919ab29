package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// mustContain reports what is missing in text.
func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
}

func TestEveryState(t *testing.T) {
	w := newWorld(t)
	refs := w.addEveryState()
	page := w.load("/imports")
	if got, want := page.one("title").text(), "(6) lakeFS imports"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	css := w.get("/imports/page.css").Body.String()
	mustContain(t, page.one(".asof").text(), "As of 11:05:35 UTC, last poll just now", "lakefs_import_exporter 1.2.3")
	var totals []string
	for _, li := range page.one(".totals").all("li") {
		totals = append(totals, li.text())
	}
	if diff := cmp.Diff([]string{
		"11 all", "1 stalled", "1 lost", "2 failed", "1 hung", "1 not_found", "1 unknown", "2 running", "1 canceled", "1 succeeded",
	}, totals); diff != "" {
		t.Errorf("wrong totals (-want +got):\n%s", diff)
	}
	for state, want := range map[collector.State][]string{
		collector.Stalled:   {"6 %", "60 of 1,000 objects", "No heartbeat for 14 min:", "14 min old", "10:50:27", "15 min ago", "to its last heartbeat", "team=finance", "on prod, from config"},
		collector.Lost:      {"of 5,000 objects", "has not known it for 0 s", "Last poll: not_found: ", "0 s when last seen", "to its last heartbeat"},
		collector.Failed:    {"import error: error on ingest: lstat /data/nosuch: no such file or directory", "40 of 40 objects", "1.0/s on average", "40 s ended 10:51:09"},
		collector.Hung:      {"20 %", "200 of 1,000 objects", "no object was added for 14 min (limit: 10 min)", "0 s old", "15 min so far"},
		collector.NotFound:  {"check its ID, repository and server", "Last poll: not_found: "},
		collector.Unknown:   {"No status has been received yet.", "Last poll: server_error: HTTP status 503"},
		collector.Running:   {"45 %", "of 10,000 objects", "5.0/s · 18 min left", "15 min so far"},
		collector.Canceled:  {"import error: Canceled", "100 of 500 objects"},
		collector.Succeeded: {"100 %", "300 of 300 objects", "10/s on average", "30 s ended 10:51:03", "Commit "},
	} {
		t.Run(string(state), func(t *testing.T) {
			row := page.row(refs[state])
			if row.attr("data-state") != string(state) || row.one(".state").text() != string(state) || row.one("use").attr("href") != "#i-"+string(state) {
				t.Error("not shown by word and shape")
			}
			if page.one("#i-"+string(state)).Node == nil || !strings.Contains(css, ".s-"+string(state)) {
				t.Error("no shape or no color")
			}
			mustContain(t, row.text(), want...)
		})
	}
}

func TestIdentity(t *testing.T) {
	w := newWorld(t)
	refs := w.addEveryState()
	row := w.load("/imports").row(refs[collector.Succeeded])
	repository := w.cfg.Servers[0].Client.EndpointURL() + "/repositories/billing"
	if got := row.one(".branch").attr("href"); got != repository+"/commits?ref=main" {
		t.Errorf("branch links to %s", got)
	}
	commit := row.one(".mono")
	if got := commit.attr("href"); got != repository+"/commits/"+commit.attr("title") || len(commit.attr("title")) != 64 {
		t.Errorf("commit links to %s", got)
	}
	if got, want := row.one(".id").text(), refs[collector.Succeeded].ID; got != want {
		t.Errorf("ID %q, want %q", got, want)
	}
	// The branch of a discovered import is not known: there is no log to link to.
	row = w.load("/imports?server=dev&state=running").rows()[0]
	mustContain(t, row.text(), "branch unknown", "from config", "so far, limit: 6 h")
	if got := row.one("a").attr("href"); got != "" {
		t.Errorf("an unknown branch links to %s", got)
	}
}

// Ages are by lakeFS's clock, whatever the exporter's clock says.
func TestServers(t *testing.T) {
	w := newWorld(t)
	servers := map[string]*lakefstest.Server{}
	script := lakefstest.Script{Objects: 1000, Rate: 1}
	for _, name := range []string{"up", "down", "paused", "refused", "idle", "blind"} {
		servers[name] = w.addServer(name, 3*time.Hour)
		if name != "idle" {
			w.watch(newImport(name, servers[name].Start("any", "main", script), 0))
		}
	}
	discovery := brokenDiscovery{make(chan bool, 100)}
	w.cfg.Servers[len(w.cfg.Servers)-1].Discovery = discovery
	w.collector.Apply(w.cfg)
	<-discovery.failed
	bad := servers["up"].Start("bad", "main", script)
	w.watch(newImport("up", bad, 0), newImport("up", servers["up"].Start("done", "main", lakefstest.Script{}), 0))
	<-discovery.failed
	w.clock.Advance(10 * time.Second)
	w.poll()
	servers["up"].Inject(lakefstest.StatusOf(bad), lakefstest.Fault{Status: http.StatusInternalServerError, Body: "{}"})
	servers["down"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusBadGateway, Body: "<h1>Bad Gateway</h1>"})
	servers["paused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	servers["refused"].Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("error authenticating request")})
	w.clock.Advance(10 * time.Second)
	w.poll()
	w.clock.Advance(3 * time.Second)

	page := w.load("/imports")
	list := map[string]string{}
	for _, li := range page.one(".servers").all("li") {
		list[li.attr("data-key")] = strings.Replace(li.text(), li.one("a").text(), "URL", 1)
	}
	for name, want := range map[string]string{
		"up":      "up up URL 2 of 3 imports in progress 1 failed poll, most recently with server_error: HTTP status 500",
		"down":    "down down URL 1 of 1 import in progress server_error: HTTP status 502",
		"paused":  "paused paused URL 1 of 1 import in progress lakeFS limits the rate of requests (HTTP status 429): next poll at 10:51:47 UTC",
		"refused": "keys refused refused URL 1 of 1 import in progress unauthorized: HTTP status 401",
		"idle":    "up idle URL 0 of 0 imports in progress",
		"blind":   "up blind URL 1 of 1 import in progress new imports are not discovered: no such view",
	} {
		if !strings.HasPrefix(list[name], want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, list[name], want)
		}
	}
	// An import whose poll failed keeps its last values, and says so.
	mustContain(t, page.row(bad).text(), "10 objects", "13 s old", "0 s when last seen", "23 s ago", "23 s so far", "failed 3 s ago", "Last poll: server_error: HTTP status 500")
}

func TestHeadline(t *testing.T) {
	w := newWorld(t)
	check := func(path, want string) node {
		t.Helper()
		page := w.load(path)
		if got := page.one("#headline").text(); got != want {
			t.Errorf("headline %q, want %q", got, want)
		}
		return page
	}
	empty := check("/imports", "No imports are watched yet")
	mustContain(t, empty.one(".empty").text(), "config.yml", "import_files", "SIGHUP")
	if empty.one("table").Node != nil || empty.one("#filter").Node != nil {
		t.Error("there is a table or a filter of nothing")
	}
	w.watch(newImport("other", w.addServer("other", 0).Start("billing", "main", lakefstest.Script{Objects: 10, Rate: 1}), 0))
	check("/imports", "None of 1 import needs attention")
	if got := check("/imports?q=nothing+like+it", "No import matches").follow(t, "Show all imports"); got != "/imports" {
		t.Errorf("all imports are at %s", got)
	}
	w.addEveryState()
	check("/imports", "6 of 12 imports need attention")
	check("/imports?label=team%3Dweb&state=canceled", "2 of 3 matching imports need attention")
	check("/imports?label=team%3Dresearch", "1 of 2 matching imports needs attention")
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`{{.}}\u202e&amp; javascript:alert(3)"

// newHostileWorld watches an import of which everything that somebody can choose
// is hostile.
func newHostileWorld(t testing.TB) *world {
	w := newWorld(t)
	ref := w.addServer(hostile, 0).Start("failed", "main", lakefstest.Script{
		End: lakefstest.Failure, Message: hostile + "\u0000" + strings.Repeat("<b>", 100),
	})
	w.watch(newImport(hostile, ref, 0, "team="+hostile, "empty=", "lines=a\nb\u2028c"))
	w.clock.Advance(10 * time.Second)
	return w
}

func TestHostileTextIsEscaped(t *testing.T) {
	w := newHostileWorld(t)
	label := w.load("/imports").one(".labels").all("a")[2]
	if got := label.attr("title"); got != "team="+hostile {
		t.Fatalf("the label is %q", got)
	}
	link := regexp.MustCompile(`^(http://127|imports|api/|\./|#)`)
	for _, path := range []string{"/imports", "/" + label.attr("href"), "/imports?server=" + url.QueryEscape(hostile), "/imports?q=" + url.QueryEscape(hostile)} {
		page := w.load(path)
		if len(page.rows()) != 1 || len(page.all("script")) != 1 || len(page.all("img"))+len(page.all("style")) != 0 {
			t.Errorf("%s: %d rows, %d scripts, %d images", path, len(page.rows()), len(page.all("script")), len(page.all("img")))
		}
		for d := range page.Descendants() {
			for _, a := range d.Attr {
				leads := slices.Contains([]string{"href", "src", "action"}, a.Key)
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || leads && !link.MatchString(a.Val) {
					t.Errorf("%s: <%s %s=%q>", path, d.Data, a.Key, a.Val)
				}
			}
		}
		// Text that reverses the direction of writing is isolated.
		if page.one(".error").one("bdi").Node == nil || page.one(".servers").one("b").one("bdi").Node == nil {
			t.Errorf("%s: text is not isolated", path)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	rec := w.get("/imports")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		"Referrer-Policy": "no-referrer",
		"Cache-Control":   "no-store",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if rec := w.get("/imports?q=" + strings.Repeat("a", 5000)); rec.Code != http.StatusRequestURITooLong {
		t.Errorf("a long query: status %d", rec.Code)
	}
	// The folder leads to the page, behind a proxy that adds a prefix, too.
	rec = w.get("/imports/?q=a&server=")
	if got := rec.Header().Get("Location"); rec.Code != http.StatusFound || got != "../imports?q=a" {
		t.Errorf("the folder: status %d, to %s", rec.Code, got)
	}
}

func TestAssets(t *testing.T) {
	w := newWorld(t)
	page := w.load("/imports")
	for _, asset := range []struct{ path, contentType string }{
		{page.all("link")[0].attr("href"), "image/svg+xml"},
		{page.all("link")[1].attr("href"), "text/css; charset=utf-8"},
		{page.one("script").attr("src"), "text/javascript; charset=utf-8"},
	} {
		name, _, _ := strings.Cut(asset.path, "?")
		for path, cache := range map[string]string{asset.path: "max-age=31536000, immutable", name: "no-cache", name + "?v=old": "no-cache"} {
			rec := w.get("/" + path)
			if rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != cache || rec.Header().Get("Content-Type") != asset.contentType {
				t.Errorf("%s: status %d, %v", path, rec.Code, rec.Header())
			}
		}
	}
	for _, path := range []string{"/imports/page.html", "/imports/..%2fpage.html"} {
		if rec := w.get(path); rec.Code == http.StatusOK {
			t.Errorf("%s: status %d", path, rec.Code)
		}
	}
}

// However many people look, lakeFS is asked once in five seconds.
func TestPolls(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.addServer("prod", 0)
	ref := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	w.watch(newImport("prod", ref, 0))
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{10 * time.Second, 1}, {5 * time.Second, 1}, {time.Second, 2}} {
		w.clock.Advance(tt.after)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { w.get("/imports") })
		}
		wg.Wait()
		if got := lakeFS.StatusRequests(ref); got != tt.want {
			t.Errorf("%s later: %d requests, want %d", tt.after, got, tt.want)
		}
	}
}

// While lakeFS hangs, people see the last known values. Clients that hang up
// leave nothing behind: neither a goroutine nor a page that nobody reads.
func TestSlowLakeFS(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.addServer("prod", 0)
	ref := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	w.watch(newImport("prod", ref, 0))
	w.clock.Advance(10 * time.Second)
	w.poll()
	w.clock.Advance(10 * time.Second)
	gate := make(chan struct{})
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Hold: gate})
	w.page.wait = time.Millisecond
	page := w.load("/imports")
	mustContain(t, page.one(".late").text(), "lakeFS is slow to answer")
	mustContain(t, page.row(ref).text(), "10 objects")

	w.page.wait = time.Minute
	before := runtime.NumGoroutine()
	ctx, hangUp := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			rec := httptest.NewRecorder()
			w.mux.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/imports", nil))
			if rec.Body.Len() > 0 {
				t.Errorf("%d bytes for nobody", rec.Body.Len())
			}
		})
	}
	hangUp()
	clients.Wait()
	if got := runtime.NumGoroutine(); got > before+20 {
		t.Errorf("%d goroutines, %d before 200 clients hung up", got, before)
	}
	release()
	mustContain(t, w.load("/imports").row(ref).text(), "20 objects")
	if got := lakeFS.StatusRequests(ref); got != 2 {
		t.Errorf("%d requests, want 2: the poll did not go on in the background", got)
	}
}

// brokenDiscovery is a discovery that fails.
type brokenDiscovery struct{ failed chan bool }

func (d brokenDiscovery) Run(ctx context.Context, refreshed func([]collector.Import, int, error)) {
	refreshed(nil, 0, errors.New("no such view"))
	d.failed <- true
	<-ctx.Done()
}

func (brokenDiscovery) Describe(string, string) (collector.Import, bool) {
	return collector.Import{}, false
}
