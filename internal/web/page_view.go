package web

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
)

const (
	// pageRows is how many imports one page shows.
	pageRows = 200
	// maxOptions is how many values a list offers to choose from. Where there
	// are more, the page asks for one by name.
	maxOptions = 200
	// maxOptionBytes keeps absurd labels out of the lists.
	maxOptionBytes = 256
)

// pageView is the status page as its template wants it: text and relative
// URLs, nothing that has still to be decided.
type pageView struct {
	Title string
	// Style, Script and Icon are the URLs of the assets.
	Style, Script, Icon string
	// Refresh is how many milliseconds the script waits between two looks, and
	// RefreshText says the same.
	Refresh     int64
	RefreshText string
	// TelemetryURL is where the metrics are.
	TelemetryURL         string
	Version, VersionInfo string

	// Self is the URL of this very page.
	Self string

	At     pageTime
	Polled pageTime // the newest poll; zero if there was none
	// Late is set if lakeFS did not answer in time to be on this page.
	Late bool

	Headline  string
	HeadShape string
	Attention bool // something needs a person
	Totals    []totalView
	// All is the link that lifts the filter by state; AllActive if there is none.
	All       string
	AllCount  string
	AllActive bool
	Servers   []serverView

	Form    formView
	Filters []filterView
	// Clear lifts all filters.
	Clear string

	Columns  []columnView
	Rows     []rowView
	Result   string
	Watching bool // any import at all
	Prev     string
	Next     string
	PageText string // empty if there is but one page
}

// totalView is how many imports are in a state, and a link to them.
type totalView struct {
	State  stateView
	Count  string
	None   bool
	Active bool
	URL    string
}

// stateView is a state in a word, and what that means in a sentence.
type stateView struct {
	Name, Meaning string
}

func viewState(state collector.State) stateView {
	return stateView{string(state), stateMeanings[state]}
}

// stateMeanings explains the states to who sees them for the first time.
var stateMeanings = map[collector.State]string{
	collector.Stalled:   "Its heartbeat was over 2 minutes old when lakeFS last answered: the process that ran it has most likely died.",
	collector.Lost:      "It was running, and lakeFS no longer knows it.",
	collector.Failed:    "It ended with an error.",
	collector.Hung:      "Its heartbeat is alive, but the count of objects has been at rest for too long.",
	collector.NotFound:  "lakeFS does not know it, and the exporter never saw it.",
	collector.Unknown:   "No status of it was received yet.",
	collector.Running:   "lakeFS is working on it.",
	collector.Canceled:  "Somebody canceled it.",
	collector.Succeeded: "It is committed to its branch.",
}

// needsPerson reports whether an import in this state is worth a look: those
// that there is an alert for.
func needsPerson(state collector.State) bool {
	switch state {
	case collector.Stalled, collector.Lost, collector.Failed, collector.Hung, collector.NotFound:
		return true
	default:
		return false
	}
}

// serverView is how a lakeFS server stands.
type serverView struct {
	Name, URL string
	// Word is up, down or paused, or that there was no answer yet.
	Word, Kind string
	// Text says more: how many imports are polled, and what fails.
	Text   string
	Reason string
	Polled pageTime
	// Filter toggles the filter by this server; empty where there is but one.
	Filter string
	Active bool
}

// formView is the form that filters and sorts.
type formView struct {
	Text                         string
	Server, Repository, AddLabel fieldView
	// States and Labels are in force, and stay so when the form is sent.
	States, Labels []string
	Columns        []optionView
	Desc           bool
}

// fieldView is a field to choose a value in: of Options, or if there are too
// many, by name.
type fieldView struct {
	Name, Title string
	// Any is what the field says where nothing is chosen.
	Any     string
	Show    bool
	Value   string
	Options []optionView // nil if there are too many
}

type optionView struct {
	Value, Text string
	Selected    bool
}

// filterView is a filter that is in force, and the link that lifts it.
type filterView struct{ Name, Value, URL string }

// columnView is the head of a column.
type columnView struct {
	Title, URL string
	// Sort is the value of aria-sort; empty if the page is not sorted by it.
	Sort string
}

// headColumns are the names of the columns that the table has, in its order.
// The details, which have no order, come after the progress.
var headColumns = []string{"state", "repository", "id", "progress", "", "heartbeat", "started", "duration", "polled"}

// pageBuilder makes a pageView out of a snapshot.
type pageBuilder struct {
	snapshot *collector.Snapshot
	query    pageQuery
	selected selection
	urls     map[string]string // of the servers' web UI, by name
	labels   map[string]bool   // those that are filtered by
}

// buildPage returns what the page shows of snapshot. What does not depend on
// either is left empty.
func buildPage(snapshot *collector.Snapshot, q pageQuery) *pageView {
	b := &pageBuilder{
		snapshot: snapshot,
		query:    q,
		selected: selectImports(snapshot, q),
		urls:     map[string]string{},
		labels:   map[string]bool{},
	}
	for _, s := range snapshot.Servers {
		b.urls[s.Name] = s.URL
	}
	for _, label := range q.Labels {
		b.labels[label] = true
	}
	v := &pageView{
		At:       pageTimeOf(snapshot.At, snapshot.At),
		Self:     q.url(),
		Watching: len(snapshot.Imports) > 0,
		Clear:    pageQuery{Column: q.Column, Desc: q.Desc}.url(),
		Form:     b.form(),
		Filters:  b.filters(),
		Columns:  b.columns(),
	}
	b.totals(v)
	b.servers(v)
	b.rows(v)
	return v
}

// totals fills in what is said of all imports that match, whatever their state.
func (b *pageBuilder) totals(v *pageView) {
	attention := 0
	for _, state := range collector.States() {
		n := b.selected.counts[state]
		if needsPerson(state) {
			attention += n
		}
		v.Totals = append(v.Totals, totalView{
			State:  viewState(state),
			Count:  thousands(int64(n)),
			None:   n == 0,
			Active: slices.Contains(b.query.States, state),
			URL:    b.query.toggleState(state),
		})
	}
	v.All = b.query.but(func(q *pageQuery) { q.States = nil })
	v.AllCount = thousands(int64(b.selected.others))
	v.AllActive = len(b.query.States) == 0

	v.Attention, v.HeadShape = attention > 0, string(collector.Succeeded)
	if v.Attention {
		v.HeadShape = string(collector.Hung)
	}
	v.Title = "lakeFS imports"
	filtered := b.query
	filtered.States = nil
	which := ""
	if filtered.filtered() {
		which = " that match"
	}
	switch n := b.selected.others; {
	case !v.Watching:
		v.Headline = "No imports are watched yet"
	case n == 0:
		v.Headline = "No import matches"
	case attention == 0:
		v.Headline = "None of " + counted(n, "import", "imports") + which + " needs a look"
	default:
		needs := " need a look"
		if attention == 1 {
			needs = " needs a look"
		}
		v.Headline = thousands(int64(attention)) + " of " + counted(n, "import", "imports") + which + needs
		v.Title = "(" + thousands(int64(attention)) + ") " + v.Title
	}
}

// servers fills in how the servers stand.
func (b *pageBuilder) servers(v *pageView) {
	type polls struct {
		imports, unfinished, failing int
		newest, failed               collector.Poll
	}
	all := map[string]*polls{}
	for _, s := range b.snapshot.Servers {
		all[s.Name] = &polls{}
	}
	var newest time.Time
	for i := range b.snapshot.Imports {
		imp := &b.snapshot.Imports[i]
		p := all[imp.Server]
		if p == nil {
			continue
		}
		p.imports++
		if imp.Poll.At.After(newest) {
			newest = imp.Poll.At
		}
		if imp.Finished() {
			continue
		}
		p.unfinished++
		if imp.Poll.At.After(p.newest.At) {
			p.newest = imp.Poll
		}
		// That lakeFS does not know an import is no fault of the server.
		if !imp.PollSuccess() && imp.NotFoundSince.IsZero() && !imp.Poll.At.IsZero() {
			p.failing++
			if imp.Poll.At.After(p.failed.At) {
				p.failed = imp.Poll
			}
		}
	}
	now := b.snapshot.At
	v.Polled = pageTimeOf(newest, now)
	for _, s := range b.snapshot.Servers {
		p := all[s.Name]
		view := serverView{Name: s.Name, URL: s.URL, Polled: pageTimeOf(p.newest.At, now)}
		switch {
		case s.PausedUntil.After(now):
			view.Word, view.Kind = "paused", "paused"
			view.Reason = "lakeFS asks to be left alone until " + pageTimeOf(s.PausedUntil, now).Text + " UTC (HTTP status 429)"
		case s.Up:
			view.Word, view.Kind = "up", "up"
		case p.failing > 0:
			view.Word, view.Kind = "down", "down"
			view.Reason = pollText(p.failed)
		default:
			view.Word, view.Kind = "no answer", "down"
		}
		view.Text = thousands(int64(p.unfinished)) + " of " + counted(p.imports, "import", "imports") + " in progress"
		if view.Kind == "up" && p.failing > 0 {
			view.Kind = "partly"
			view.Reason = counted(p.failing, "poll fails", "polls fail") + ", the newest with " + pollText(p.failed)
		}
		if len(b.snapshot.Servers) > 1 {
			view.Active = b.query.Server == s.Name
			view.Filter = b.query.but(func(q *pageQuery) {
				q.Server = s.Name
				if view.Active {
					q.Server = ""
				}
			})
		}
		v.Servers = append(v.Servers, view)
	}
}

// pollText says why a poll failed.
func pollText(p collector.Poll) string {
	if p.Message == "" {
		return string(p.Result)
	}
	return string(p.Result) + ": " + p.Message
}

// form returns the form, filled in with the query.
func (b *pageBuilder) form() formView {
	servers, repositories, labels := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range b.snapshot.Servers {
		servers[s.Name] = true
	}
	for i := range b.snapshot.Imports {
		imp := &b.snapshot.Imports[i]
		repositories[imp.Repository] = true
		for name, value := range imp.Labels {
			if len(labels) <= maxOptions && len(name)+len(value) < maxOptionBytes {
				labels[name+"="+value] = true
			}
		}
	}
	many := len(labels) > maxOptions
	for label := range b.labels {
		delete(labels, label)
	}
	f := formView{
		Text:       b.query.Text,
		Server:     fieldView{Name: serverParam, Title: "Server", Any: "every server", Value: b.query.Server},
		Repository: fieldView{Name: repositoryParam, Title: "Repository", Any: "every repository", Value: b.query.Repository},
		AddLabel:   fieldView{Name: labelParam, Title: "Label", Any: "any label"},
		Labels:     b.query.Labels,
		Desc:       b.query.Desc,
	}
	f.Server.offer(servers)
	f.Repository.offer(repositories)
	f.AddLabel.offer(labels)
	if many {
		f.AddLabel.Any, f.AddLabel.Options = "name=value", nil
	}
	f.AddLabel.Show = len(labels) > 0
	for _, state := range b.query.States {
		f.States = append(f.States, string(state))
	}
	for i := range pageColumns {
		c := &pageColumns[i]
		f.Columns = append(f.Columns, optionView{c.name, c.title, c == b.query.column()})
	}
	return f
}

// offer makes f a choice of values. There is none to be made of a single one.
func (f *fieldView) offer(values map[string]bool) {
	f.Show = len(values) > 1 || f.Value != ""
	if len(values) > maxOptions {
		return
	}
	if f.Value != "" {
		values[f.Value] = true // though it may be there no more
	}
	for _, value := range slices.Sorted(maps.Keys(values)) {
		f.Options = append(f.Options, optionView{value, abbreviate(value, 60), value == f.Value})
	}
}

// filters returns the filters in force, each with the link that lifts it.
func (b *pageBuilder) filters() []filterView {
	q := b.query
	var filters []filterView
	if q.Text != "" {
		filters = append(filters, filterView{"text", q.Text, q.but(func(q *pageQuery) { q.Text = "" })})
	}
	for _, state := range q.States {
		filters = append(filters, filterView{"state", string(state), q.toggleState(state)})
	}
	if q.Server != "" {
		filters = append(filters, filterView{"server", q.Server, q.but(func(q *pageQuery) { q.Server = "" })})
	}
	if q.Repository != "" {
		filters = append(filters, filterView{"repository", q.Repository, q.but(func(q *pageQuery) { q.Repository = "" })})
	}
	for _, label := range q.Labels {
		name, value, _ := strings.Cut(label, "=")
		filters = append(filters, filterView{name, value, q.toggleLabel(label)})
	}
	return filters
}

// columns returns the heads of the table's columns.
func (b *pageBuilder) columns() []columnView {
	var columns []columnView
	for _, name := range headColumns {
		c := columnNamed(name)
		if c == nil {
			columns = append(columns, columnView{Title: "Details"})
			continue
		}
		view := columnView{Title: c.title, URL: b.query.sortBy(c)}
		switch {
		case c != b.query.column():
		case b.query.Desc:
			view.Sort = "descending"
		default:
			view.Sort = "ascending"
		}
		columns = append(columns, view)
	}
	return columns
}

// rows fills in the imports of the page that is asked for, or of the last one
// if there are not so many.
func (b *pageBuilder) rows(v *pageView) {
	n := len(b.selected.imports)
	pages := max(1, (n+pageRows-1)/pageRows)
	page := min(b.query.Page, pages)
	first := (page - 1) * pageRows
	shown := b.selected.imports[first:min(n, first+pageRows)]
	v.Rows = make([]rowView, len(shown))
	for i, imp := range shown {
		v.Rows[i] = b.row(imp)
	}
	all := len(b.snapshot.Imports)
	switch {
	case n == all && pages == 1:
		v.Result = counted(n, "import", "imports")
	case n == all:
		v.Result = thousands(int64(first+1)) + " to " + thousands(int64(first+len(shown))) + " of " + counted(n, "import", "imports")
	case pages == 1:
		v.Result = thousands(int64(n)) + " of " + counted(all, "import", "imports")
	default:
		v.Result = thousands(int64(first+1)) + " to " + thousands(int64(first+len(shown))) + " of " + thousands(int64(n)) +
			" that match, of " + counted(all, "import", "imports")
	}
	if pages > 1 {
		v.PageText = "Page " + thousands(int64(page)) + " of " + thousands(int64(pages))
		if page > 1 {
			v.Prev = b.query.onPage(page - 1)
		}
		if page < pages {
			v.Next = b.query.onPage(page + 1)
		}
	}
}

// logURL returns where the web UI of a server shows the commits of a branch.
func (b *pageBuilder) logURL(server, repository, branch string) string {
	base, err := url.Parse(b.urls[server])
	if err != nil || base.Host == "" {
		return ""
	}
	u := base.JoinPath("repositories", url.PathEscape(repository), "commits")
	u.RawQuery = url.Values{"ref": {branch}}.Encode()
	return u.String()
}
