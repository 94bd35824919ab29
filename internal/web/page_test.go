package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestPageWithoutScript(t *testing.T) {
	w := newPageWorld(t)
	refs := w.everyState()
	page := w.page("/imports")

	if got, want := page.one("title").text(), "(6) lakeFS imports"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	if got, want := page.one("#headline").text(), "6 of 11 imports need a look"; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
	for _, want := range []string{"As of 11:05:27 UTC, last poll just now", "lakefs_import_exporter 1.2.3"} {
		if got := page.one(".asof").text(); !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	want := []string{"stalled", "lost", "failed", "failed", "hung", "not_found", "unknown", "running", "running", "canceled", "succeeded"}
	if diff := cmp.Diff(want, page.rowStates()); diff != "" {
		t.Errorf("wrong order (-want +got):\n%s", diff)
	}
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
		collector.Stalled:   {"6 %", "60 of 1,000 objects", "No heartbeat for 14 min:", "14 min old", "limit: 2 min", "10:50:27", "15 min ago", "to its last heartbeat", "team=finance", "on prod"},
		collector.Lost:      {"16 %", "840 of 5,000 objects", "Gone from lakeFS just now", "Last poll: not_found: HTTP status 404: not found", "0 s when last seen"},
		collector.Failed:    {"import error: error on ingest: lstat /data/nosuch: no such file or directory", "40 of 40 objects", "1.0/s on average", "40 s ended 10:51:07"},
		collector.Hung:      {"20 %", "200 of 1,000 objects", "no object was added for 14 min (limit: 10 min)", "0 s old", "15 min so far"},
		collector.NotFound:  {"lakeFS does not know it. Are ID, repository and server right?", "Last poll: not_found: HTTP status 404: not found"},
		collector.Unknown:   {"No status received yet.", "Last poll: server_error: HTTP status 503: key-value store: request rate is too high"},
		collector.Running:   {"45 %", "4,500 of 10,000 objects", "5.0/s · 18 min left", "15 min so far"},
		collector.Canceled:  {"import error: Canceled", "100 of 500 objects"},
		collector.Succeeded: {"100 %", "300 of 300 objects", "10/s on average", "30 s ended 10:50:57", "Commit "},
	} {
		row := page.row(refs[state])
		if row.attr("data-state") != string(state) || row.one(".state").text() != string(state) || row.one("use").attr("href") != "#i-"+string(state) {
			t.Errorf("%s: not shown by word and shape", state)
		}
		for _, want := range want {
			if got := row.text(); !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in %q", state, want, got)
			}
		}
	}

	// The commit and the branch are links into lakeFS's web UI.
	lakeFS := w.cfg.Servers[0].Client.EndpointURL()
	row := page.row(refs[collector.Succeeded])
	commit := row.one("a.mono")
	if got := commit.attr("href"); got != lakeFS+"/repositories/billing/commits/"+commit.attr("title") || len(commit.attr("title")) != 64 {
		t.Errorf("commit links to %s", got)
	}
	if got := row.one("a.branch").attr("href"); got != lakeFS+"/repositories/billing/commits?ref=main" {
		t.Errorf("branch links to %s", got)
	}
	// The ID is short to see, but whole in the text and in the title.
	id := row.one("span.id")
	if id.text() == refs[collector.Succeeded].ID || strings.ReplaceAll(id.text(), " ", "") != refs[collector.Succeeded].ID || id.attr("title") != refs[collector.Succeeded].ID {
		t.Errorf("ID %q, title %q", id.text(), id.attr("title"))
	}
}

func TestPageIsAnAccessibleTable(t *testing.T) {
	w := newPageWorld(t)
	w.everyState()
	page := w.page("/imports?sort=started&order=desc")
	table := page.one("table")
	if !strings.Contains(table.one("caption").text(), "All times are UTC") {
		t.Errorf("caption %q", table.one("caption").text())
	}
	heads := map[string]string{}
	for _, th := range table.one("thead").all("th") {
		if th.attr("scope") != "col" {
			t.Errorf("head %q has scope %q", th.text(), th.attr("scope"))
		}
		heads[th.text()] = th.attr("aria-sort")
	}
	if diff := cmp.Diff(map[string]string{
		"State": "", "Repository": "", "Import ID": "", "Progress": "", "Details": "", "Heartbeat": "", "Started": "descending", "Duration": "", "Last poll": "",
	}, heads); diff != "" {
		t.Errorf("wrong heads (-want +got):\n%s", diff)
	}
	for _, row := range page.rows() {
		cells := 0
		for c := range row.ChildNodes() {
			if c.Data == "td" || c.Data == "th" {
				cells++
			}
		}
		if cells != len(heads) || row.one("th").attr("scope") != "row" {
			t.Errorf("%s: %d cells for %d heads, row head %q", row.attr("data-name"), cells, len(heads), row.one("th").attr("scope"))
		}
		if bar := row.one("progress"); bar.Node != nil && bar.attr("aria-label") == "" {
			t.Error("a progress bar has no name")
		}
	}
	for _, field := range slices.Concat(page.one("#filter").all("input"), page.one("#filter").all("select")) {
		if field.attr("type") != "hidden" && field.Parent.Data != "label" {
			t.Errorf("field %s has no label", field.attr("name"))
		}
	}
	if page.one("html").attr("lang") != "en" || page.one("a.skip").attr("href") != "#results" || page.one("#results").Node == nil {
		t.Error("no language, or no way past the head of the page")
	}
	if page.one("#news").attr("role") != "status" || page.one("#lost").attr("role") != "alert" {
		t.Error("no live regions")
	}
}

// What a person clicks and fills in without JavaScript leads to URLs that show
// the same to whomever they are sent.
func TestPageLinksAndForm(t *testing.T) {
	w := newPageWorld(t)
	refs := w.everyState()
	page := w.page("/imports")

	failed := page.follow(t, "2 failed")
	if got := w.page(failed).rowStates(); !slices.Equal(got, []string{"failed", "failed"}) {
		t.Errorf("%s shows %v", failed, got)
	}
	both := w.page(failed).follow(t, "1 hung")
	if got := w.page(both).rowStates(); !slices.Equal(got, []string{"failed", "failed", "hung"}) {
		t.Errorf("%s shows %v", both, got)
	}
	web := w.page(both).follow(t, "team=web")
	if got := w.page(web); !slices.Equal(got.rowStates(), []string{"hung"}) || got.one("#results").text() != "1 of 11 imports" {
		t.Errorf("%s shows %v, %s", web, got.rowStates(), got.one("#results").text())
	}
	if got := w.page(web).follow(t, "Remove the filter team: web ×"); got != both {
		t.Errorf("without the filter: %s, want %s", got, both)
	}
	if got := w.page(web).follow(t, "Clear all"); got != "/imports" {
		t.Errorf("clear all leads to %s", got)
	}

	// A form keeps the filters that are no fields of it.
	sent := w.page(both).submit(t, map[string]string{"q": "clickstream", "server": "prod", "sort": "repository", "order": "desc"})
	rec := w.get(sent)
	want := "imports?order=desc&q=clickstream&server=prod&sort=repository&state=failed&state=hung"
	if rec.Code != http.StatusFound || rec.Header().Get("Location") != want {
		t.Errorf("%s: status %d, to %s, want %s", sent, rec.Code, rec.Header().Get("Location"), want)
	}
	page = w.page(sent)
	if got := page.rowKeys(); !slices.Equal(got, []string{"prod/" + refs[collector.Hung].String()}) {
		t.Errorf("%s shows %v", sent, got)
	}
	// And the fields say what is in force.
	if got := page.submit(t, nil); !sameQuery(t, got, want) {
		t.Errorf("the form of %s sends %s", want, got)
	}
	// The other way round on the second click.
	page = w.page("/imports")
	once := page.follow(t, "Started")
	if twice := w.page(once).follow(t, "Started"); once != "/imports?order=desc&sort=started" || twice != "/imports?sort=started" {
		t.Errorf("sorting by start leads to %s, then to %s", once, twice)
	}
	if again := page.follow(t, "State"); again != "/imports?order=desc" {
		t.Errorf("sorting by state leads to %s", again)
	}
	// The JSON, the metrics and the landing page are found from a subfolder too.
	for text, want := range map[string]string{"Exporter": "/./", "Metrics": "/./metrics", "JSON": "/api/v1/imports"} {
		if got := page.follow(t, text); got != want {
			t.Errorf("%s leads to %s", text, got)
		}
	}
	for _, a := range page.all("a") {
		if strings.HasPrefix(a.attr("href"), "/") {
			t.Errorf("%s is lost behind a proxy with a prefix", a.attr("href"))
		}
	}
}

// sameQuery reports whether two URLs ask for the same.
func sameQuery(t *testing.T, one, other string) bool {
	t.Helper()
	a, err := url.Parse(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(parsePageQuery(a.Query()), parsePageQuery(b.Query()))
}

func TestPagePaging(t *testing.T) {
	w := newPageWorld(t)
	w.addServer("prod")
	imports := make([]collector.Import, 450)
	for i := range imports {
		imports[i] = collector.Import{
			Key:             collector.Key{Server: "prod", Ref: lakefs.Ref{Repository: fmt.Sprintf("repo-%03d", i), Branch: "main", ID: fmt.Sprintf("id-%03d", i)}},
			NoProgressAfter: time.Hour,
			Labels:          map[string]string{"n": fmt.Sprint(i), "odd": fmt.Sprint(i % 2)},
		}
	}
	w.cfg.Imports = imports
	w.collector.Apply(w.cfg)
	seen := map[string]bool{}
	path := "/imports?sort=repository"
	for n, want := range []string{"1 to 200 of 450 imports", "201 to 400 of 450 imports", "401 to 450 of 450 imports"} {
		page := w.page(path)
		if got := page.one("#results").text(); got != want {
			t.Errorf("page %d: %q, want %q", n+1, got, want)
		}
		if got, want := page.one(".pages").one("span").text(), fmt.Sprintf("Page %d of 3", n+1); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, key := range page.rowKeys() {
			if seen[key] {
				t.Errorf("%s stands twice", key)
			}
			seen[key] = true
		}
		if n < 2 {
			path = page.follow(t, "Next")
		}
	}
	if len(seen) != 450 {
		t.Errorf("%d imports on all pages", len(seen))
	}
	if got := w.page("/imports?page=99&sort=repository"); got.one("#results").text() != "401 to 450 of 450 imports" {
		t.Errorf("after the last page: %s", got.one("#results").text())
	}
	if got := w.page("/imports?label=odd%3D1").one("#results").text(); got != "1 to 200 of 225 that match, of 450 imports" {
		t.Errorf("with a filter: %q", got)
	}
	// So many values are not offered, but asked for.
	page := w.page("/imports")
	for _, name := range []string{"repository", "label"} {
		i := slices.IndexFunc(page.one("#filter").all("input"), func(n pageNode) bool { return n.attr("name") == name })
		if i < 0 {
			t.Errorf("no field to type a %s in", name)
		}
	}
	sent := page.submit(t, map[string]string{"repository": "repo-007", "label": "odd=1"})
	if got := w.page(sent).rowKeys(); !slices.Equal(got, []string{"prod/repo-007/main/id-007"}) {
		t.Errorf("%s shows %v", sent, got)
	}
}

func TestPageEmpty(t *testing.T) {
	w := newPageWorld(t)
	page := w.page("/imports")
	if got, want := page.one("#headline").text(), "No imports are watched yet"; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
	for _, want := range []string{"config.yml", "import_files", "id: dc1chj1ksduerdki88b0", "SIGHUP"} {
		if !strings.Contains(page.one(".empty").text(), want) {
			t.Errorf("%s is not mentioned in %q", want, page.one(".empty").text())
		}
	}
	if page.one("table").Node != nil || page.one("#filter").Node != nil {
		t.Error("there is a table or a filter, of nothing")
	}

	lakeFS := w.addServer("prod")
	w.watch("prod", lakeFS.Start("billing", "main", lakefstest.Script{Objects: 10, Rate: 1}), 0)
	page = w.page("/imports?q=nothing+like+it")
	if got, want := page.one("#headline").text(), "No import matches"; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
	if got := page.follow(t, "Show all imports"); got != "/imports" {
		t.Errorf("all imports are at %s", got)
	}
	page = w.page("/imports?server=gone")
	if got := page.submit(t, nil); !sameQuery(t, got, "/imports?server=gone") {
		t.Errorf("a server that is not there any more: %s", got)
	}
	if got, want := w.page("/imports").one("#headline").text(), "None of 1 import needs a look"; got != want {
		t.Errorf("headline %q, want %q", got, want)
	}
}

func TestPageServers(t *testing.T) {
	w := newPageWorld(t)
	up, down, paused := w.addServer("up"), w.addServer("down"), w.addServer("paused")
	w.addServer("idle")
	script := lakefstest.Script{Objects: 1000, Rate: 1}
	bad := up.Start("bad", "main", script)
	w.watch("up", bad, 0)
	w.watch("up", up.Start("good", "main", script), 0)
	w.watch("up", up.Start("done", "main", lakefstest.Script{}), 0)
	w.watch("down", down.Start("any", "main", script), 0)
	w.watch("paused", paused.Start("any", "main", script), 0)
	w.clock.Advance(10 * time.Second)
	w.scrape()
	up.Inject(lakefstest.StatusOf(bad), lakefstest.Fault{Status: http.StatusInternalServerError, Body: lakefstest.Message("oh")})
	down.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusBadGateway, Body: "<h1>Bad Gateway</h1>"})
	paused.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}})
	w.clock.Advance(10 * time.Second)
	w.scrape()
	w.clock.Advance(3 * time.Second)

	page := w.page("/imports")
	for name, want := range map[string]string{
		"up":     "up up URL 2 of 3 imports in progress, polled 3 s ago only this one 1 poll fails, the newest with server_error: HTTP status 500: oh",
		"down":   "down down URL 1 of 1 import in progress, polled 3 s ago only this one server_error: HTTP status 502",
		"paused": "paused paused URL 1 of 1 import in progress, polled 3 s ago only this one lakeFS asks to be left alone until 10:51:47 UTC (HTTP status 429)",
		"idle":   "up idle URL 0 of 0 imports in progress only this one",
	} {
		for _, li := range page.one(".servers").all("li") {
			if li.attr("data-key") != name {
				continue
			}
			got := strings.Replace(li.text(), li.one("a").text(), "URL", 1)
			if got != want {
				t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
			}
		}
	}
	// An import whose poll failed keeps its last values, and says so.
	got := page.row(bad).text()
	for _, want := range []string{"10 objects", "13 s old", "0 s when last seen", "failed 3 s ago", "Last poll: server_error: HTTP status 500: oh"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if got := w.page(page.follow(t, "only this one")).rowKeys(); len(got) != 1 || !strings.HasPrefix(got[0], "down/") {
		t.Errorf("only the first server: %v", got)
	}
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`{{.}}\u202e&amp;\u0000 javascript:alert(3)"

// hostileWorld watches imports of which everything that can be chosen by
// somebody is hostile.
func hostileWorld(t testing.TB) *pageWorld {
	w := newPageWorld(t)
	name := strings.ReplaceAll(hostile, "\u0000", "")
	lakeFS := w.addServer(name)
	ref := lakeFS.Start("failed", "main", lakefstest.Script{End: lakefstest.Failure, Message: hostile + strings.Repeat("<b>", 100)})
	w.watch(name, ref, 0, "team="+hostile, "empty=", "lines=a\nb\u2028c")
	refused := lakeFS.Start("refused", "main", lakefstest.Script{})
	lakeFS.Inject(lakefstest.StatusOf(refused), lakefstest.Fault{Status: http.StatusBadRequest, Body: lakefstest.Message(hostile)})
	w.watch(name, refused, 0)
	w.clock.Advance(10 * time.Second)
	return w
}

func TestPageEscapes(t *testing.T) {
	w := hostileWorld(t)
	for _, path := range []string{"/imports", "/imports?q=" + url.QueryEscape(hostile), "/imports?label=" + url.QueryEscape("team="+hostile), "/imports?server=" + url.QueryEscape(hostile)} {
		page := w.page(path)
		if got := len(page.all("script")); got != 1 {
			t.Errorf("%s: %d scripts", path, got)
		}
		if got := len(page.all("img")) + len(page.all("iframe")) + len(page.all("style")); got != 0 {
			t.Errorf("%s: %d foreign elements", path, got)
		}
		for d := range page.Descendants() {
			for _, a := range d.Attr {
				switch {
				case strings.HasPrefix(a.Key, "on") || a.Key == "style":
					t.Errorf("%s: <%s> has the attribute %s", path, d.Data, a.Key)
				case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !regexp.MustCompile(`^(http://127|imports|api/|\./|#)`).MatchString(a.Val):
					t.Errorf("%s: <%s> leads to %q", path, d.Data, a.Val)
				}
			}
		}
	}
	page := w.page("/imports")
	shown := strings.ReplaceAll(hostile, "\u0000", "\uFFFD")
	titles := 0
	for _, a := range page.all("a") {
		if a.attr("title") == "team="+shown {
			titles++
			// The link of the label finds the import.
			if got := w.page("/" + a.attr("href")).rowKeys(); len(got) != 1 || !strings.Contains(got[0], "/failed/") {
				t.Errorf("%s shows %q", a.attr("href"), got)
			}
		}
	}
	if titles != 1 {
		t.Errorf("the label is shown %d times", titles)
	}
	if got := page.one("p.error").text(); !strings.Contains(got, `"><script>alert(1)</script><img src=x`) || len(got) > 256 {
		t.Errorf("error message %q", got)
	}
	// Text that turns the direction of writing around does so for itself only.
	for _, n := range []pageNode{page.one("p.error"), page.one(".labels").one("a"), page.one(".servers").one("b")} {
		if n.one("bdi").Node == nil {
			t.Errorf("%q is not kept apart", n.text())
		}
	}
}

func TestPageHeaders(t *testing.T) {
	w := newPageWorld(t)
	rec := w.get("/imports")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
		"Cache-Control":          "no-store",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if body := rec.Body.String(); strings.Contains(body, "style=") || strings.Contains(body, "<style") {
		t.Error("there are styles in the HTML, which the policy forbids")
	}
	for accept, zipped := range map[string]bool{"": false, "identity": false, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=x": false, "br, gzip": true, "*;q=0, GZIP;q=0.5": true} {
		rec := w.get("/imports", "Accept-Encoding", accept)
		if got := rec.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("Accept-Encoding %q: compressed is %t", accept, got)
			continue
		}
		body := io.Reader(rec.Body)
		if zipped {
			zr, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = zr
		}
		if text, err := io.ReadAll(body); err != nil || !bytes.HasSuffix(text, []byte("</html>\n")) {
			t.Errorf("Accept-Encoding %q: %d bytes, %v", accept, len(text), err)
		}
	}
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodPost: http.StatusMethodNotAllowed} {
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequest(method, "/imports", nil))
		if rec.Code != want {
			t.Errorf("%s: status %d, want %d", method, rec.Code, want)
		}
	}
	rec = w.get("/imports/?q=a")
	if got := rec.Header().Get("Location"); rec.Code != http.StatusFound || got != "../imports?q=a" {
		t.Errorf("GET /imports/: status %d, to %q", rec.Code, got)
	}
}

func TestPageAssets(t *testing.T) {
	w := newPageWorld(t)
	page := w.page("/imports")
	total := 0
	for _, path := range []string{
		page.all("link")[0].attr("href"), page.all("link")[1].attr("href"), page.one("script").attr("src"),
	} {
		rec := w.get("/" + path)
		if rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != "max-age=31536000, immutable" {
			t.Errorf("%s: status %d, %v", path, rec.Code, rec.Header())
		}
		total += rec.Body.Len()
		name, _, _ := strings.Cut(path, "?")
		for _, other := range []string{name, name + "?v=old"} {
			rec = w.get("/" + other)
			if rec.Code != http.StatusOK || rec.Header().Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: status %d, %v", other, rec.Code, rec.Header())
			}
		}
		rec = w.get("/"+name, "If-None-Match", rec.Header().Get("ETag"))
		if rec.Code != http.StatusNotModified {
			t.Errorf("%s again: status %d", name, rec.Code)
		}
	}
	empty := w.get("/imports").Body.Len()
	t.Logf("assets: %d bytes; page without imports: %d bytes", total, empty)
	if total+empty > 60_000 {
		t.Errorf("assets and page frame have %d bytes", total+empty)
	}
	for _, path := range []string{"/imports/page.html", "/imports/none.css", "/imports/page.css/x", "/imports/..%2fweb.go"} {
		if rec := w.get(path); rec.Code != http.StatusNotFound {
			t.Errorf("%s: status %d", path, rec.Code)
		}
	}
}

// However many look, lakeFS is asked once in five seconds, and not at all where
// somebody else has just asked, or about what is finished.
func TestPagePolls(t *testing.T) {
	w := newPageWorld(t)
	lakeFS := w.addServer("prod")
	running := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	done := lakeFS.Start("done", "main", lakefstest.Script{})
	w.watch("prod", running, 0)
	w.watch("prod", done, 0)
	w.clock.Advance(10 * time.Second)
	look := func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { w.get("/imports") })
		}
		wg.Wait()
	}
	for _, tt := range []struct {
		name          string
		after         time.Duration
		scrape        bool
		running, done int
	}{
		{"the first", 0, false, 1, 1},
		{"soon after", 5 * time.Second, false, 1, 1},
		{"later", time.Second, false, 2, 1},
		{"after a scrape", 10 * time.Second, true, 3, 1},
		{"soon after the scrape", 4 * time.Second, false, 3, 1},
	} {
		w.clock.Advance(tt.after)
		if tt.scrape {
			w.scrape()
		}
		look()
		if got := lakeFS.StatusRequests(running); got != tt.running {
			t.Errorf("%s: %d requests for the running import, want %d", tt.name, got, tt.running)
		}
		if got := lakeFS.StatusRequests(done); got != tt.done {
			t.Errorf("%s: %d requests for the finished import, want %d", tt.name, got, tt.done)
		}
	}
}

// A lakeFS that does not answer keeps nobody from seeing what is remembered.
func TestPageDoesNotWaitForEver(t *testing.T) {
	w := newPageWorld(t, func(o *Options) { o.pagePatience = time.Millisecond })
	lakeFS := w.addServer("prod")
	ref := lakeFS.Start("running", "main", lakefstest.Script{Objects: 1000, Rate: 1})
	w.watch("prod", ref, 0)
	w.clock.Advance(10 * time.Second)
	w.scrape()
	w.clock.Advance(10 * time.Second)
	gate := make(chan struct{})
	defer lakeFS.Inject(func(*http.Request) bool {
		<-gate
		return false
	}, lakefstest.Fault{})()
	page := w.page("/imports")
	if !strings.Contains(page.one(".late").text(), "lakeFS takes its time") || !strings.Contains(page.row(ref).text(), "10 objects") {
		t.Errorf("shown: %s", page.one("#page").text())
	}
	close(gate)
	// The poll went on, and whoever looks next sees what it brought.
	for !strings.Contains(w.page("/imports").row(ref).text(), "20 objects") {
		if t.Context().Err() != nil {
			t.Fatal("the poll was given up")
		}
	}
}

func TestPageManyLabels(t *testing.T) {
	w := newPageWorld(t)
	lakeFS := w.addServer("prod")
	var labels []string
	for i := range 20 {
		labels = append(labels, fmt.Sprintf("label_%02d=value %d", i, i))
	}
	many, five := lakeFS.Start("many", "main", lakefstest.Script{}), lakeFS.Start("five", "main", lakefstest.Script{})
	w.watch("prod", many, 0, labels...)
	w.watch("prod", five, 0, labels[:5]...)
	page := w.page("/imports")
	row := page.row(many)
	if got := len(row.one(".labels").all("li")); got != 4 {
		t.Errorf("%d labels are shown", got)
	}
	if got := row.one("details"); got.one("summary").text() != "16 more labels" || len(got.all("li")) != 16 {
		t.Errorf("folded away: %s", got.text())
	}
	// One more is not worth folding.
	if got := page.row(five); got.one("details").Node != nil || len(got.one(".labels").all("li")) != 5 {
		t.Errorf("five labels: %s", got.text())
	}
}
