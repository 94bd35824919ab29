package page

import (
	"fmt"
	"strings"
	"testing"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
)

// Links are without what is empty or the default, however the page was reached.
func TestURL(t *testing.T) {
	w := newWorld(t)
	const everything = "?label=a%3D1&label=b%3D&order=desc&page=3&q=my+repo&repository=my-repo&server=prod&sort=started&state=stalled&state=failed"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"everything", everything, everything},
		{"a form with empty fields", "?q=&server=&repository=&state=failed&sort=state&order=asc", "?state=failed"},
		{"the first page", "?page=1", ""},
		{"another parameter", "?q=a&token=secret", "?q=a"},
		{"invalid UTF-8", "?q=a%FFb", "?q=a%FFb"},
		{"nonsense", "?page=-1&sort=%3Cscript%3E", "?page=-1&sort=%3Cscript%3E"},
	} {
		if got := w.load("/imports"+tt.in).follow(t, "Refresh"); got != "/imports"+tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What needs attention comes first, the newest first among equals, and what is
// not known last, both ways.
func TestSort(t *testing.T) {
	w := newWorld(t)
	w.addEveryState()
	var got strings.Builder
	for _, c := range columns {
		for _, order := range []string{"asc", "desc"} {
			if c.Name != "" {
				fmt.Fprintf(&got, "%s %s: %s\n", c.Name, order, w.load("/imports?sort="+c.Name+"&order="+order).states())
			}
		}
	}
	testworld.Golden(t, "sort.txt", got.String())
	if first, again := w.load("/imports").states(), w.load("/imports?sort=nosuch").states(); first != again {
		t.Errorf("by default %s, by nothing that there is %s", first, again)
	}
}

func TestFilter(t *testing.T) {
	w := newWorld(t)
	refs := w.addEveryState()
	commit := w.load("/imports").row(refs[collector.Succeeded]).one(".mono").attr("title")
	for _, tt := range []struct{ name, query, want string }{
		{"text in a repository", "q=SATELLITE", "running"},
		{"text in the whole name", "q=satellite/main/" + refs[collector.Running].ID, "running"},
		{"text in an error", "q=No+Such+file", "failed"},
		{"text in a label", "q=team%3Dweb", "lost hung canceled"},
		{"text in a commit", "q=" + commit[:20], "succeeded"},
		{"text in the reason of a failed poll", "q=server_error+503", "unknown"},
		{"text across fields", "q=mainprod", ""},
		{"states", "state=failed&state=running", "dev:failed failed dev:running running"},
		{"word of a state", "q=not+found+billing", "not_found"},
		{"label with an equals sign", "label=env%3Da%3Db", "unknown"},
		{"no label is not an empty one", "label=env%3D", ""},
		{"all at once", "label=team%3Dresearch&q=prod&repository=satellite&server=prod&state=running", "running"},
	} {
		if got := w.load("/imports?" + tt.query).states(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	// The totals are of what matches all but the states.
	page := w.load("/imports?label=team%3Dweb&state=hung")
	if got := len(page.one(".totals").all("li")); got != 4 {
		t.Errorf("%d totals, want 4: those of no import are left out", got)
	}
	// The JSON of the same imports.
	if got, want := w.load("/imports?label=team%3Dweb&q=a&state=hung").follow(t, "These imports as JSON"), "/api/v1/imports?label=team%3Dweb&state=hung"; got != want {
		t.Errorf("JSON is at %s, want %s", got, want)
	}
}

// What people click and fill in without JavaScript leads to URLs that they can
// share.
func TestLinksAndForm(t *testing.T) {
	w := newWorld(t)
	w.addEveryState()
	page := w.load("/imports")
	both := w.load(page.follow(t, "[failed] 2 failed")).follow(t, "[hung] 1 hung")
	if got := w.load(both).states(); got != "dev:failed failed hung" {
		t.Errorf("%s shows %v", both, got)
	}
	web := w.load(both).follow(t, "team=web")
	if got := w.load(web); got.states() != "hung" || got.one("#results").text() != "1 of 11 imports" {
		t.Errorf("%s shows %v, %s", web, got.states(), got.one("#results").text())
	}
	if got := w.load(web).follow(t, "Remove the filter team=web×"); got != both {
		t.Errorf("without the filter: %s, want %s", got, both)
	}
	if got := w.load(web).follow(t, "Clear all filters"); got != "/imports" {
		t.Errorf("clear all leads to %s", got)
	}

	page = w.load("/imports")
	once := page.follow(t, "Started")
	if twice := w.load(once).follow(t, "Started"); once != "/imports?order=desc&sort=started" || twice != "/imports?sort=started" {
		t.Errorf("sorting by start leads to %s, then to %s", once, twice)
	}
	for _, th := range w.load(once).one("thead").all("th") {
		if got := th.attr("aria-sort"); (got == "descending") != (th.text() == "Started") {
			t.Errorf("column %s: sorted %q", th.text(), got)
		}
	}
	if got := page.follow(t, "Metrics"); got != "/./metrics" {
		t.Errorf("the metrics are at %s", got)
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	w.AddLakeFS("prod", 0)
	for i := range 450 {
		ref := lakefs.Ref{Repository: fmt.Sprintf("repo-%03d", i), Branch: "main", ID: fmt.Sprintf("id-%03d", i)}
		w.Watch("prod", ref, labels(fmt.Sprintf("odd=%d", i%2)))
	}
	second := w.load("/imports?sort=id").follow(t, "Next")
	third := w.load(second).follow(t, "Next")
	for path, want := range map[string]string{
		second:                       "450 imports; 200 rows from repo-200; Page 2 of 3",
		third:                        "450 imports; 50 rows from repo-400; Page 3 of 3",
		"/imports?page=99&sort=id":   "450 imports; 50 rows from repo-400; Page 3 of 3",
		"/imports?label=odd%3D1":     "225 of 450 imports; 200 rows from repo-001; Page 1 of 2",
		"/imports?q=repo-00":         "10 of 450 imports; 10 rows from repo-000; ",
		"/imports?repository=nosuch": "0 of 450 imports; 0 rows from ; ",
	} {
		page := w.load(path)
		got := fmt.Sprintf("%s; %d rows from %s; %s", page.one("#results").text(), len(page.rows()),
			page.one(".repository").text(), page.one(".pages").one("span").text())
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	// A list of the form is short, but has what is filtered by.
	options := w.load("/imports?repository=repo-449").one("#filter").one("select").all("option")
	if last := options[len(options)-1]; len(options) != 202 || last.attr("value") != "repo-449" {
		t.Errorf("%d options, the last is %s", len(options), last.attr("value"))
	}
}

// Formats that no import in the other tests has.
func TestFormats(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{formatRatio(0.0001), "< 1 %"},
		{formatRatio(0.9999), "99 %"},
		{formatSpan(59.6), "1 min"},
		{formatSpan(599), "9 min 59 s"},
		{formatSpan(601), "10 min"},
		{formatSpan(25*3600 + 60), "1 d 1 h"},
		{formatSpan(1e30), "53375995583650 d 7 h"},
	} {
		if strings.ReplaceAll(tt.got, "\u00a0", " ") != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
