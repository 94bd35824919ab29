package page

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/filter"
	"lakefs_import_exporter/lakefs"
)

const (
	// rowsPerPage is how many imports one page shows, and how many repositories.
	rowsPerPage = 200
	// maxChoices is how many values a list of the form offers. Others are found
	// by their text.
	maxChoices = 200
)

// view is what the template of the page shows. URLs are relative.
type view struct {
	Assets       string // their version
	Refresh      time.Duration
	TelemetryURL string
	Version      string
	// Late is set if lakeFS did not answer in time for this page.
	Late bool

	Query   query
	JSON    string // the API with the same filters
	At      timeView
	Polled  timeView // the newest poll; zero if there was none
	Columns []column

	Servers      []serverView
	Repositories []repositoryView // those that need attention first
	FileErrors   map[string]string
	Storage      *collector.StorageFailure

	// Watched is how many imports there are. Total, Attention and Unknown are how
	// many of them match everything but the states, need attention, and else are
	// not known; Hidden is how many of the others need attention or are not known.
	Watched, Total, Attention, Unknown, Hidden int
	Totals                                     []totalView
	// Down are the servers that are down or refuse the keys, and Overdue is how
	// many repositories need attention.
	Down    []*serverView
	Overdue int

	// ServerNames and RepositoryNames are offered by the form.
	ServerNames, RepositoryNames []string
	// FilterError says what is wrong with the query; nil if nothing is.
	FilterError error
	Selected    int
	Rows        []rowView
	// Page is the number of this page; Prev and Next are 0 if there is none.
	Page, Pages, Prev, Next int

	snapshot *collector.Snapshot
	servers  map[string]*serverView
	// selected are the imports that match the query, in its order, of all pages.
	selected []*collector.ImportView
}

// totalView is how many imports are in a state, and how many of them are not
// known any more.
type totalView struct {
	State          collector.State
	Count, Unknown int
}

// newView returns what the page shows for q.
func (p *Page) newView(q query, late bool) *view {
	snapshot := p.opts.Collector.Snapshot()
	v := &view{
		Assets: p.assets, Refresh: p.refresh, TelemetryURL: "." + p.opts.TelemetryPath, Version: p.opts.Version, Late: late,
		Query:      q,
		JSON:       strings.TrimSuffix("api/v1/imports?"+q.filterValues().Encode(), "?"),
		At:         formatTime(snapshot.At, snapshot.At),
		Columns:    columns,
		Watched:    len(snapshot.Imports),
		FileErrors: maps.Clone(snapshot.FileErrors),
		Storage:    snapshot.Storage,
		snapshot:   snapshot,
		servers:    map[string]*serverView{},
	}
	maps.DeleteFunc(v.FileErrors, func(_, err string) bool { return err == "" })
	v.fillServers()
	v.fillImports()
	v.fillRepositories()
	v.fillRows()
	return v
}

// Time returns how t, by the exporter's clock, is shown.
func (v *view) Time(t time.Time) timeView { return formatTime(t, v.snapshot.At) }

// Warnings counts what is wrong, but hides no imports that were seen before.
func (v *view) Warnings() int {
	n := len(v.FileErrors) + v.Overdue
	for i := range v.Servers {
		s := &v.Servers[i]
		if s.Kind != "down" && s.Word != "up" {
			n++
		}
		if s.MissesImports() {
			n++
		}
	}
	if v.Late {
		n++
	}
	return n
}

// Level says how bad it is: bad, warn, good, or none if there is nothing to
// judge. It is never good while something is not known.
func (v *view) Level() string {
	switch {
	case v.Attention+v.Overdue+len(v.Down) > 0:
		return "bad"
	case v.Unknown+v.Warnings() > 0, v.Storage != nil, v.Total == 0 && v.Hidden > 0:
		return "warn"
	case v.Total > 0, v.Watched == 0 && len(v.Repositories) > 0:
		return "good"
	default:
		return "none"
	}
}

// fillImports counts, selects and sorts the imports that match the query: none
// if that is wrong.
func (v *view) fillImports() {
	selection, err := filter.Parse(v.Query.filterValues())
	v.FilterError = err
	for _, state := range collector.States() {
		v.Totals = append(v.Totals, totalView{State: state})
	}
	searched := v.Query.searched()
	var newest time.Time
	names := map[string]bool{}
	for i := range v.snapshot.Imports {
		imp := &v.snapshot.Imports[i]
		names[imp.Repository] = true
		if imp.Poll.At.After(newest) {
			newest = imp.Poll.At
		}
		unknown := isUnknown(imp)
		v.servers[imp.Server].count(imp, unknown)
		if err == nil && selection.ImportInAnyState(imp) && contains(imp, searched) {
			v.count(imp, unknown)
			if selection.Import(imp) {
				v.selected = append(v.selected, imp)
			}
		} else if unknown || needsAttention(imp.State) {
			v.Hidden++
		}
	}
	v.Query.column().sort(v.selected, v.Query.Desc())
	v.Polled = v.Time(newest)
	v.RepositoryNames = choices(slices.Sorted(maps.Keys(names)), v.Query.Get("repository"))
	v.ServerNames = choices(slices.Sorted(maps.Keys(v.servers)), v.Query.Get("server"))
}

// isUnknown reports whether the state of an import that was not finished is not
// known now, because lakeFS did not answer. One that is new was not asked for.
func isUnknown(imp *collector.ImportView) bool {
	return !imp.Finished() && imp.NotFoundSince.IsZero() && !imp.PollSuccess() && !imp.Poll.At.IsZero()
}

// count counts an import that matches everything but the states.
func (v *view) count(imp *collector.ImportView, unknown bool) {
	total := &v.Totals[slices.Index(collector.States(), imp.State)]
	total.Count++
	v.Total++
	switch {
	case needsAttention(imp.State):
		v.Attention++
	case unknown:
		v.Unknown++
		total.Unknown++
	}
}

// needsAttention reports whether there is an alert for imports in this state.
func needsAttention(state collector.State) bool {
	switch state {
	case collector.Stalled, collector.Lost, collector.Failed, collector.Hung, collector.NotFound:
		return true
	default:
		return false
	}
}

// choices returns the values that a list offers: the first by name, and the one
// that is chosen, though it may be gone. A single one is no choice.
func choices(values []string, chosen string) []string {
	if chosen == "" && len(values) < 2 {
		return nil
	}
	values = values[:min(len(values), maxChoices)]
	if chosen != "" && !slices.Contains(values, chosen) {
		values = append(values, chosen)
	}
	return values
}

// fillRows fills in the imports of the page that is asked for, or of the last
// one if there are fewer.
func (v *view) fillRows() {
	v.Selected = len(v.selected)
	v.Pages = max(1, (v.Selected+rowsPerPage-1)/rowsPerPage)
	v.Page = min(v.Query.page(), v.Pages)
	first := (v.Page - 1) * rowsPerPage
	for _, imp := range v.selected[first:min(v.Selected, first+rowsPerPage)] {
		v.Rows = append(v.Rows, v.row(imp))
	}
	v.Prev = v.Page - 1
	if v.Page < v.Pages {
		v.Next = v.Page + 1
	}
}

// serverTime returns lakeFS's clock at the time of the snapshot, as far as it
// is known.
func (v *view) serverTime(server string) time.Time {
	if s := v.servers[server]; s != nil {
		return v.snapshot.At.Add(s.ClockSkew)
	}
	return v.snapshot.At
}

// logURL returns where lakeFS's web UI shows the commits of an import's branch,
// or "" if that is not known.
func (v *view) logURL(imp *collector.ImportView) string {
	server := v.servers[imp.Server]
	if server == nil || imp.Branch == lakefs.UnknownBranch {
		return ""
	}
	return server.URL + "/repositories/" + url.PathEscape(imp.Repository) + "/commits?ref=" + url.QueryEscape(imp.Branch)
}
