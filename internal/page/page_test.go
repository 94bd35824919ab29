package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// goldenPage compares what people read on a page with a file of testdata.
func goldenPage(t *testing.T, name string, page node) {
	t.Helper()
	got := page.one("title").lines()
	for section := range page.one("main").ChildNodes() {
		if n := (node{section}); n.attr("class") != "help" {
			got += n.lines()
		}
	}
	testworld.Golden(t, name+".txt", got)
}

// What people read when all is well but for some imports, and how filters that
// are wrong, or hide what needs attention, are told.
func TestEveryState(t *testing.T) {
	w := newWorld(t)
	w.addEveryState()
	for name, path := range map[string]string{
		"every_state": "/imports", "no_match": "/imports?q=zzz&state=failed", "wrong_filter": "/imports?state=nonsense",
		"hidden": "/imports?q=satellite&branch=main", "one_state": "/imports?label=team%3Dweb&state=hung&state=stalled",
	} {
		goldenPage(t, name, w.load(path))
	}
	page, css := w.load("/imports"), w.get("/imports/page.css").Body.String()
	for _, state := range collector.States() {
		if page.one("#i-"+string(state)).Node == nil || !strings.Contains(css, ".s-"+string(state)) {
			t.Errorf("no shape or no color for %s", state)
		}
	}
}

// Whatever is wrong is on the page, and the headline says what is not known
// therefore. Ages are by lakeFS's clock.
func TestTrouble(t *testing.T) {
	w := newWorld(t, breakStore)
	w.addTrouble(func(headline string) {
		t.Helper()
		if got := w.load("/imports").one("#headline").text(); got != "[bad] "+headline {
			t.Errorf("headline %q, want %q", got, headline)
		}
	})
	goldenPage(t, "trouble", w.load("/imports"))
}

func TestHeadline(t *testing.T) {
	w := newWorld(t)
	goldenPage(t, "nothing_watched", w.load("/imports"))
	lakeFS := w.AddLakeFS("prod", 0)
	lakeFS.AddRepository("any")
	w.Config.Repositories = []collector.Repository{{Server: "prod", Name: "any"}}
	w.Apply()
	w.Clock.Advance(time.Minute)
	goldenPage(t, "repositories_only", w.load("/imports"))
	w.Watch("prod", lakeFS.Start("any", "main", lakefstest.Script{Objects: 1000, Rate: 1}))
	w.Clock.Advance(time.Minute)
	goldenPage(t, "all_is_well", w.load("/imports"))
}

// An import that lakeFS does not know is misspelt, or so old that lakeFS has
// forgotten it.
func TestForgottenImport(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	ref := lakeFS.Start("any", "main", lakefstest.Script{})
	lakeFS.Forget(ref)
	w.Watch("prod", ref)
	for _, want := range []string{"check its ID, repository and server", "It was started more than a day ago"} {
		w.Clock.Advance(23 * time.Hour)
		if got := w.load("/imports").row(ref).text(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// breakStore has the world of a test store nothing.
func breakStore(opts *collector.Options) { opts.Store = brokenStore{} }

type brokenStore struct{}

func (brokenStore) Load() (collector.Stored, error) { return collector.Stored{}, nil }
func (brokenStore) Update(collector.Changes) error  { return errors.New("disk full") }

// brokenFiles are why import files do not load, by name.
type brokenFiles map[string]string

func (f brokenFiles) Watch(ctx context.Context, changed func(collector.FileSet)) {
	changed(collector.FileSet{Errors: f})
	<-ctx.Done()
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`{{.}}\u202e&amp; javascript:alert(3)"

// newHostileWorld watches an import of which everything that somebody can choose
// is hostile.
func newHostileWorld(t testing.TB) *world {
	w := newWorld(t)
	ref := w.AddLakeFS(hostile, 0).Start("failed", "main", lakefstest.Script{
		End: lakefstest.Failure, Message: hostile + "\u0000" + strings.Repeat("<b>", 100),
	})
	w.Watch(hostile, ref, labels("team="+hostile, "empty=", "lines=a\nb\u2028c"))
	w.Clock.Advance(10 * time.Second)
	return w
}

func TestHostileTextIsEscaped(t *testing.T) {
	w := newHostileWorld(t)
	label := w.load("/imports").one(".labels").all("a")[2]
	if got := label.attr("title"); got != "team="+hostile {
		t.Fatalf("the label is %q", got)
	}
	link := regexp.MustCompile(`^(http://127|imports|api/|\./|-/|https://docs\.lakefs\.io/|#)`)
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
		if page.one(".error").one("bdi").Node == nil || page.one(".c-name").one("bdi").Node == nil {
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

// Those who look have lakeFS asked once in five seconds.
func TestPolls(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	ref := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	w.Watch("prod", ref)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{10 * time.Second, 1}, {5 * time.Second, 1}, {time.Second, 2}} {
		w.Clock.Advance(tt.after)
		w.get("/imports")
		if got := lakeFS.StatusRequests(ref); got != tt.want {
			t.Errorf("%s later: %d requests, want %d", tt.after, got, tt.want)
		}
	}
}

// While lakeFS hangs, people see the last known values. Clients that hang up
// leave nothing behind: neither a goroutine nor a page that nobody reads.
func TestSlowLakeFS(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	ref := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	w.Watch("prod", ref)
	w.Clock.Advance(10 * time.Second)
	w.poll()
	w.Clock.Advance(10 * time.Second)
	gate := make(chan struct{})
	release := sync.OnceFunc(func() { close(gate) })
	defer release()
	lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Hold: gate})
	w.page.wait = time.Millisecond
	goldenPage(t, "slow", w.load("/imports"))

	w.page.wait = time.Minute
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
	release()
	text := w.load("/imports").row(ref).text()
	if got := lakeFS.StatusRequests(ref); got != 2 || !strings.Contains(text, "20 objects") {
		t.Errorf("%d requests, want 2: the poll did not go on in the background: %s", got, text)
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
