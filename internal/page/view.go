package page

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"lakefs_import_exporter/collector"
)

const (
	// rowsPerPage is how many imports one page shows.
	rowsPerPage = 200
	// maxChoices is how many values a list of the form offers. Others are found
	// by their text.
	maxChoices = 200
)

// view is what the template of the page shows. URLs are relative.
type view struct {
	frame
	Query query
	// Self is the URL of this very page, Clear that without its filters; empty
	// if there are none.
	Self, Clear string

	At     timeView
	Polled timeView // the newest poll; zero if there was none

	Watching  bool // any import at all
	Attention int  // how many imports need attention
	Headline  string
	All       totalView
	Totals    []totalView
	Servers   []serverView

	// ServerNames and Repositories are offered by the form.
	ServerNames, Repositories []string
	Labels                    []labelView // that are filtered by

	Columns    []columnView
	Rows       []rowView
	Result     string
	Prev, Next string
	PageText   string // empty if there is only one page
}

// frame is what depends on neither the imports nor the query.
type frame struct {
	Assets       string // their version
	Refresh      time.Duration
	TelemetryURL string
	Version      string // short
	VersionInfo  string
	// Late is set if lakeFS did not answer in time for this page.
	Late bool
}

// totalView is how many imports are in a state, and a link to them.
type totalView struct {
	State   collector.State
	Meaning string
	Count   string
	Active  bool
	URL     string
}

// columnView is a column, and the link that sorts by it.
type columnView struct {
	*column
	URL string
	// Sort is the value of aria-sort; empty if the page is not sorted by it.
	Sort string
}

// builder makes a view from a snapshot.
type builder struct {
	snapshot *collector.Snapshot
	query    query
	servers  map[string]*collector.ServerView
	// selected are the imports that match the query, in its order, of all pages.
	selected []*collector.ImportView
	// counts are how many imports match everything but the states, by state;
	// total is their sum.
	counts map[collector.State]int
	total  int
}

// newView returns what the page shows of snapshot.
func newView(snapshot *collector.Snapshot, q query, f frame) *view {
	b := &builder{
		snapshot: snapshot,
		query:    q,
		servers:  map[string]*collector.ServerView{},
		counts:   map[collector.State]int{},
	}
	for i := range snapshot.Servers {
		b.servers[snapshot.Servers[i].Name] = &snapshot.Servers[i]
	}
	b.filter()
	v := &view{
		frame:    f,
		Query:    q,
		Self:     q.url(),
		At:       formatTime(snapshot.At, snapshot.At),
		Watching: len(snapshot.Imports) > 0,
		Servers:  b.serverViews(),
		Columns:  b.columns(),
	}
	if clear := q.unfiltered(); clear != q.onPage(1) {
		v.Clear = clear
	}
	for _, text := range q.Values["label"] {
		v.Labels = append(v.Labels, b.label(text))
	}
	b.fillTotals(v)
	b.fillAll(v)
	b.fillRows(v)
	return v
}

// filter selects, counts and sorts the imports that match the query.
func (b *builder) filter() {
	matches := b.query.matcher()
	for i := range b.snapshot.Imports {
		imp := &b.snapshot.Imports[i]
		if !matches(imp) {
			continue
		}
		b.counts[imp.State]++
		b.total++
		if b.query.Get("state") == "" || b.query.has("state", string(imp.State)) {
			b.selected = append(b.selected, imp)
		}
	}
	b.query.column().sort(b.selected, b.query.Desc())
}

// fillTotals fills in the numbers of imports that match everything but the states.
func (b *builder) fillTotals(v *view) {
	v.All = totalView{
		Count:  formatCount(b.total),
		Active: b.query.Get("state") == "",
		URL:    b.query.with(func(values url.Values) { values.Del("state") }),
	}
	for _, state := range collector.States() {
		if needsAttention(state) {
			v.Attention += b.counts[state]
		}
		v.Totals = append(v.Totals, totalView{
			State:   state,
			Meaning: stateMeanings[state],
			Count:   formatCount(b.counts[state]),
			Active:  b.query.has("state", string(state)),
			URL:     b.query.toggle("state", string(state)),
		})
	}
	noun := "import"
	if b.total < len(b.snapshot.Imports) {
		noun = "matching import"
	}
	which := pluralize(b.total, noun)
	switch {
	case !v.Watching:
		v.Headline = "No imports are watched yet"
	case b.total == 0:
		v.Headline = "No import matches"
	case v.Attention == 0:
		v.Headline = "None of " + which + " needs attention"
	case v.Attention == 1:
		v.Headline = "1 of " + which + " needs attention"
	default:
		v.Headline = formatCount(v.Attention) + " of " + which + " need attention"
	}
}

// fillAll fills in what is of all imports, whether or not they match.
func (b *builder) fillAll(v *view) {
	servers, repositories := map[string]bool{}, map[string]bool{}
	for name := range b.servers {
		servers[name] = true
	}
	var newest time.Time
	for i := range b.snapshot.Imports {
		imp := &b.snapshot.Imports[i]
		repositories[imp.Repository] = true
		if imp.Poll.At.After(newest) {
			newest = imp.Poll.At
		}
	}
	v.Polled = formatTime(newest, b.snapshot.At)
	v.ServerNames = choices(servers, b.query.Get("server"))
	v.Repositories = choices(repositories, b.query.Get("repository"))
}

// choices returns the values that a list offers: the first by name, and the one
// that is chosen, though it may be gone. A single one is no choice.
func choices(values map[string]bool, chosen string) []string {
	if chosen == "" && len(values) < 2 {
		return nil
	}
	delete(values, chosen)
	list := slices.Sorted(maps.Keys(values))
	list = list[:min(len(list), maxChoices)]
	if chosen != "" {
		list = append(list, chosen)
		slices.Sort(list)
	}
	return list
}

func (b *builder) columns() []columnView {
	views := make([]columnView, len(columns))
	for i := range columns {
		c := &columns[i]
		views[i].column = c
		if c.Name != "" {
			views[i].URL = b.query.sortBy(c)
		}
		if c == b.query.column() {
			views[i].Sort = "ascending"
			if b.query.Desc() {
				views[i].Sort = "descending"
			}
		}
	}
	return views
}

// fillRows fills in the imports of the page that is asked for, or of the last
// one if there are fewer.
func (b *builder) fillRows(v *view) {
	n, all := len(b.selected), len(b.snapshot.Imports)
	v.Result = pluralize(all, "import")
	if n < all {
		v.Result = formatCount(n) + " of " + v.Result
	}
	pages := max(1, (n+rowsPerPage-1)/rowsPerPage)
	page := min(b.query.page(), pages)
	first := (page - 1) * rowsPerPage
	for _, imp := range b.selected[first:min(n, first+rowsPerPage)] {
		v.Rows = append(v.Rows, b.row(imp))
	}
	if pages > 1 {
		v.PageText = "Page " + formatCount(page) + " of " + formatCount(pages)
	}
	if page > 1 {
		v.Prev = b.query.onPage(page - 1)
	}
	if page < pages {
		v.Next = b.query.onPage(page + 1)
	}
}
