package web

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

func TestPageQuery(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     pageQuery
		out      string // where it differs from in
	}{
		{name: "nothing", in: "imports", want: pageQuery{Page: 1}},
		{
			name: "everything",
			in:   "imports?label=a%3D1&label=team%3Dingest&order=desc&page=3&q=my+repo&repository=my-repo&server=prod&sort=started&state=stalled&state=failed",
			want: pageQuery{
				Text: "my repo", States: []collector.State{collector.Stalled, collector.Failed}, Server: "prod", Repository: "my-repo",
				Labels: []string{"a=1", "team=ingest"}, Column: "started", Desc: true, Page: 3,
			},
		},
		{
			name: "a form with empty fields",
			in:   "imports?q=&server=&repository=&label=&sort=state&order=asc",
			want: pageQuery{Page: 1}, out: "imports",
		},
		{
			name: "states and labels in any order, and twice",
			in:   "imports?state=failed&state=stalled&state=failed&label=b%3D&label=a%3D1&label=b%3D",
			want: pageQuery{States: []collector.State{collector.Stalled, collector.Failed}, Labels: []string{"a=1", "b="}, Page: 1},
			out:  "imports?label=a%3D1&label=b%3D&state=stalled&state=failed",
		},
		{
			name: "nonsense",
			in:   "imports?state=exploded&label=nothing&label=%3Dx&sort=%3Cscript%3E&order=up&page=-1",
			want: pageQuery{Page: 1}, out: "imports",
		},
		{
			name: "the default order, descending",
			in:   "imports?order=desc&sort=state",
			want: pageQuery{Desc: true, Page: 1}, out: "imports?order=desc",
		},
		{
			name: "hostile values",
			in:   "imports?label=" + url.QueryEscape(`x="><script>&=#\u202e`) + "&q=" + url.QueryEscape("javascript:alert(1)//%\x00"),
			want: pageQuery{Text: "javascript:alert(1)//%\x00", Labels: []string{`x="><script>&=#\u202e`}, Page: 1},
		},
		{
			name: "invalid UTF-8", in: "imports?q=a%ffb&server=%ff&label=a%3D%ff",
			want: pageQuery{Text: "ab", Labels: []string{"a=\uFFFD"}, Page: 1}, out: "imports?label=a%3D%EF%BF%BD&q=ab",
		},
		{
			name: "too long", in: "imports?q=" + strings.Repeat("%C3%A4", 200),
			want: pageQuery{Text: strings.Repeat("ä", 128), Page: 1}, out: "imports?q=" + strings.Repeat("%C3%A4", 128),
		},
		{
			name: "white space", in: "imports?q=++a+%09b+",
			want: pageQuery{Text: "a b", Page: 1}, out: "imports?q=a+b",
		},
		{
			name: "what others add", in: "imports?token=x&q=a",
			want: pageQuery{Text: "a", Page: 1}, out: "imports?q=a",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			got := parsePageQuery(u.Query())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("wrong query (-want +got):\n%s", diff)
			}
			out := tt.out
			if out == "" {
				out = tt.in
			}
			if got.url() != out {
				t.Errorf("URL %s, want %s", got.url(), out)
			}
			again, err := url.Parse(got.url())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, parsePageQuery(again.Query())); diff != "" {
				t.Errorf("the URL does not say the same (-before +after):\n%s", diff)
			}
			if !got.canonical(again.Query()) {
				t.Error("its own URL is not canonical")
			}
		})
	}
}

func TestPageQueryIsCanonical(t *testing.T) {
	for in, want := range map[string]bool{
		"":                             true,
		"q=a":                          true,
		"q=a&token=added-by-a-proxy":   true, // or else there would be no end of redirects
		"q=a%20b":                      true, // another way to write a+b
		"state=stalled&state=failed":   true,
		"state=failed&state=stalled":   false,
		"q=":                           false,
		"page=1":                       false,
		"sort=state":                   false,
		"sort=started&order=asc":       false,
		"server=a&server=b":            false,
		"label=a%3D1&label=a%3D1":      false,
		"order=desc&sort=started&q=%s": true,
	} {
		values, _ := url.ParseQuery(in)
		if got := parsePageQuery(values).canonical(values); got != want {
			t.Errorf("%q: canonical %t, want %t", in, got, want)
		}
	}
}

// A change of the query keeps everything else but the page.
func TestPageQueryChanges(t *testing.T) {
	q := pageQuery{Text: "a", States: []collector.State{collector.Failed}, Labels: []string{"team=web"}, Page: 7}
	for name, tt := range map[string]struct{ got, want string }{
		"add a state":     {q.toggleState(collector.Stalled), "imports?label=team%3Dweb&q=a&state=stalled&state=failed"},
		"remove a state":  {q.toggleState(collector.Failed), "imports?label=team%3Dweb&q=a"},
		"add a label":     {q.toggleLabel("env=x"), "imports?label=env%3Dx&label=team%3Dweb&q=a&state=failed"},
		"remove a label":  {q.toggleLabel("team=web"), "imports?q=a&state=failed"},
		"sort":            {q.sortBy(columnNamed("repository")), "imports?label=team%3Dweb&q=a&sort=repository&state=failed"},
		"sort, last":      {q.sortBy(columnNamed("started")), "imports?label=team%3Dweb&order=desc&q=a&sort=started&state=failed"},
		"turn the order":  {q.sortBy(columnNamed("state")), "imports?label=team%3Dweb&order=desc&q=a&state=failed"},
		"to another page": {q.onPage(8), "imports?label=team%3Dweb&page=8&q=a&state=failed"},
		"to the first":    {q.onPage(1), "imports?label=team%3Dweb&q=a&state=failed"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", name, tt.got, tt.want)
		}
	}
	if len(q.States) != 1 || len(q.Labels) != 1 {
		t.Errorf("the query changed: %+v", q)
	}
}

// pageSnapshot has imports that differ in all that can be sorted by.
func pageSnapshot() *collector.Snapshot {
	now := time.Date(2026, 11, 22, 10, 50, 27, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	view := func(id string, state collector.State, change func(*collector.ImportView)) collector.ImportView {
		v := collector.ImportView{
			Import: collector.Import{
				Key:    collector.Key{Server: "prod", Ref: lakefs.Ref{Repository: "repo", Branch: "main", ID: id}},
				Labels: map[string]string{},
			},
			State: state,
		}
		change(&v)
		return v
	}
	return &collector.Snapshot{At: now, Imports: []collector.ImportView{
		view("a", collector.Succeeded, func(v *collector.ImportView) {
			v.StatusAt, v.UpdateTime, v.StartedAt = ago(time.Hour), ago(time.Hour), ago(3*time.Hour)
			v.Outcome, v.CommitID, v.IngestedObjects, v.ExpectedObjects = lakefs.Succeeded, "c0ffee", 100, 100
			v.Poll = collector.Poll{Result: "success", At: ago(time.Hour)}
			v.Labels["team"] = "web"
		}),
		view("b", collector.Running, func(v *collector.ImportView) {
			v.Repository, v.Branch = "alpha", "z"
			v.StatusAt, v.UpdateTime, v.StartedAt = now, ago(time.Second), ago(time.Minute)
			v.IngestedObjects, v.ExpectedObjects = 500, 1000
			v.Poll = collector.Poll{Result: "success", At: ago(2 * time.Second)}
			v.Labels["team"], v.Labels["env"] = "web", "a=b"
		}),
		view("c", collector.Failed, func(v *collector.ImportView) {
			v.Server = "dev"
			v.StatusAt, v.UpdateTime, v.StartedAt = ago(time.Minute), ago(time.Minute), ago(2*time.Hour)
			v.Outcome, v.ErrorMessage, v.IngestedObjects = lakefs.Failed, "import error: No Such file", 7
			v.Poll = collector.Poll{Result: "success", At: ago(time.Minute)}
		}),
		view("d", collector.Stalled, func(v *collector.ImportView) {
			v.Branch = "Main"
			v.StatusAt, v.UpdateTime, v.StartedAt = now, ago(10*time.Minute), ago(4*time.Hour)
			v.IngestedObjects, v.ExpectedObjects = 90, 100
			v.Poll = collector.Poll{Result: "success", At: ago(time.Second)}
		}),
		view("e", collector.Unknown, func(v *collector.ImportView) {
			v.Poll = collector.Poll{Result: "timeout", At: now, Message: "no answer before the deadline"}
		}),
		view("f", collector.Running, func(v *collector.ImportView) {
			v.StatusAt, v.UpdateTime = now, ago(2*time.Second)
			v.IngestedObjects = 1
			v.Poll = collector.Poll{Result: "success", At: ago(3 * time.Second)}
			v.Labels["team"] = "data"
		}),
	}}
}

func selectedIDs(s *collector.Snapshot, q pageQuery) string {
	var ids []string
	for _, v := range selectImports(s, q).imports {
		ids = append(ids, v.ID)
	}
	return strings.Join(ids, " ")
}

func TestPageSort(t *testing.T) {
	s := pageSnapshot()
	for _, tt := range []struct{ column, asc, desc string }{
		{"", "d c e b f a", "a b f e c d"}, // what needs a person first; the newest first among equals
		{"repository", "b c a d e f", "c a d e f b"},
		{"branch", "d c a e f b", "b c a e f d"},
		{"id", "a b c d e f", "f e d c b a"},
		{"server", "c b a d e f", "b a d e f c"},
		// What is not known comes last, both ways.
		{"progress", "b d a c e f", "a d b c e f"},
		{"objects", "f c d a b e", "b a d c f e"},
		{"heartbeat", "b f d c a e", "d f b c a e"},
		{"started", "d a c b e f", "b c a d e f"},
		{"ended", "a c b d e f", "c a b d e f"},
		{"duration", "b c a d e f", "d a c b e f"},
		{"polled", "a c f b d e", "e d b f c a"},
	} {
		if got := selectedIDs(s, pageQuery{Column: tt.column, Page: 1}); got != tt.asc {
			t.Errorf("by %q: %s, want %s", tt.column, got, tt.asc)
		}
		if got := selectedIDs(s, pageQuery{Column: tt.column, Desc: true, Page: 1}); got != tt.desc {
			t.Errorf("by %q, descending: %s, want %s", tt.column, got, tt.desc)
		}
	}
}

func TestPageFilter(t *testing.T) {
	s := pageSnapshot()
	for _, tt := range []struct {
		name  string
		query pageQuery
		want  string
	}{
		{"nothing", pageQuery{}, "d c e b f a"},
		{"text in a repository", pageQuery{Text: "ALPHA"}, "b"},
		{"text in the whole name", pageQuery{Text: "repo/main/f"}, "f"},
		{"text in a server", pageQuery{Text: "dev"}, "c"},
		{"text in an error", pageQuery{Text: "no such"}, "c"},
		{"text in a state", pageQuery{Text: "stalled"}, "d"},
		{"text in a label", pageQuery{Text: "team=web"}, "b a"},
		{"text in a commit", pageQuery{Text: "c0ff"}, "a"},
		{"text in the reason of a failed poll", pageQuery{Text: "timeout deadline"}, "e"},
		{"words, all of them", pageQuery{Text: "web alpha"}, "b"},
		{"words, not all there", pageQuery{Text: "web beta"}, ""},
		{"text across fields", pageQuery{Text: "mainprod"}, ""},
		{"state", pageQuery{States: []collector.State{collector.Running}}, "b f"},
		{"states", pageQuery{States: []collector.State{collector.Failed, collector.Running}}, "c b f"},
		{"server", pageQuery{Server: "dev"}, "c"},
		{"server that is not there", pageQuery{Server: "de"}, ""},
		{"repository", pageQuery{Repository: "alpha"}, "b"},
		{"label", pageQuery{Labels: []string{"team=web"}}, "b a"},
		{"labels, all of them", pageQuery{Labels: []string{"env=a=b", "team=web"}}, "b"},
		{"label of another value", pageQuery{Labels: []string{"team=we"}}, ""},
		{"no label is not an empty one", pageQuery{Labels: []string{"env="}}, ""},
		{"all at once", pageQuery{Text: "repo", States: []collector.State{collector.Succeeded}, Server: "prod", Repository: "repo", Labels: []string{"team=web"}}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := selectedIDs(s, tt.query); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	// The totals by state are of what matches the rest.
	got := selectImports(s, pageQuery{Text: "repo", States: []collector.State{collector.Failed}})
	if len(got.imports) != 1 || got.others != 5 || got.counts[collector.Running] != 1 {
		t.Errorf("got %d imports, %d in all, %v", len(got.imports), got.others, got.counts)
	}
}

// Every state has its place, its shape and its explanation.
func TestPageKnowsEveryState(t *testing.T) {
	shapes, err := pageFiles.ReadFile("page/page.html")
	if err != nil {
		t.Fatal(err)
	}
	css, err := pageFiles.ReadFile("page/page.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range collector.States() {
		if stateMeanings[state] == "" {
			t.Errorf("%s is not explained", state)
		}
		if !strings.Contains(string(shapes), `<symbol id="i-`+string(state)+`"`) {
			t.Errorf("%s has no shape", state)
		}
		if !strings.Contains(string(css), ".s-"+string(state)) {
			t.Errorf("%s has no color", state)
		}
	}
	if len(stateMeanings) != len(collector.States()) {
		t.Errorf("%d states are explained, of %d", len(stateMeanings), len(collector.States()))
	}
	last := -1
	for i, state := range collector.States() {
		if needsPerson(state) {
			if last != i-1 {
				t.Errorf("%s needs a person, but comes after states that do not", state)
			}
			last = i
		}
	}
	for _, name := range headColumns {
		if name != "" && columnNamed(name) == nil {
			t.Errorf("no column %q", name)
		}
	}
	if slices.Index(headColumns, defaultColumn) != 0 {
		t.Error("the default column does not come first")
	}
}
