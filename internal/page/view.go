package page

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/filter"
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
	Options
	Refresh time.Duration
	// Late is set if lakeFS did not answer in time for this page.
	Late bool

	Query    query
	Snapshot *collector.Snapshot
	Polled   time.Time // when the newest poll was; zero if there was none

	Servers      map[string]*serverView // by name
	Repositories []repositoryView       // those that need attention first
	FileErrors   map[string]string      // of files that do not load

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
	// Selected are the imports that match the query, in its order, of all pages.
	Selected []*collector.ImportView
	Rows     []rowView
	// Number is that of this page, from 1 to Pages.
	Number, Pages int
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
		Options:    p.opts,
		Refresh:    p.refresh,
		Late:       late,
		Query:      q,
		Snapshot:   snapshot,
		Servers:    map[string]*serverView{},
		FileErrors: maps.Clone(snapshot.FileErrors),
		Watched:    len(snapshot.Imports),
	}
	maps.DeleteFunc(v.FileErrors, func(_, err string) bool { return err == "" })
	v.fillServers()
	v.fillImports()
	v.fillRepositories()
	v.fillRows()
	return v
}

// Warnings counts what is wrong, but hides no imports that were seen before.
func (v *view) Warnings() int {
	n := len(v.FileErrors) + v.Overdue
	for _, s := range v.Servers {
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
	case v.Unknown+v.Warnings() > 0, v.Snapshot.Storage != nil, v.Total == 0 && v.Hidden > 0:
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
	names := map[string]bool{}
	for i := range v.Snapshot.Imports {
		imp := &v.Snapshot.Imports[i]
		names[imp.Repository] = true
		if imp.Poll.At.After(v.Polled) {
			v.Polled = imp.Poll.At
		}
		unknown := isUnknown(imp)
		if server := v.Servers[imp.Server]; server != nil {
			server.Imports++
			if !imp.Finished() {
				server.Unfinished++
			}
			if unknown {
				server.Unknown++
			}
		}
		if err == nil && selection.ImportInAnyState(imp) && contains(imp, searched) {
			v.count(imp, unknown)
			if selection.Import(imp) {
				v.Selected = append(v.Selected, imp)
			}
		} else if unknown || needsAttention(imp.State) {
			v.Hidden++
		}
	}
	v.Query.column().sort(v.Selected, v.Query.Desc())
	v.RepositoryNames = choices(slices.Sorted(maps.Keys(names)), v.Query.Get("repository"))
	v.ServerNames = choices(slices.Sorted(maps.Keys(v.Servers)), v.Query.Get("server"))
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
	number, _ := strconv.Atoi(v.Query.Get("page"))
	v.Pages = max(1, (len(v.Selected)+rowsPerPage-1)/rowsPerPage)
	v.Number = min(max(1, number), v.Pages)
	first := (v.Number - 1) * rowsPerPage
	for _, imp := range v.Selected[first:min(len(v.Selected), first+rowsPerPage)] {
		v.Rows = append(v.Rows, rowView{imp, v, v.serverTime(imp.Server)})
	}
}

// Turn returns the URL of the page that is by pages further on.
func (v *view) Turn(by int) string { return v.Query.With("page", strconv.Itoa(v.Number+by)) }

// serverTime returns lakeFS's clock at the time of the snapshot, as far as it
// is known.
func (v *view) serverTime(server string) time.Time {
	if s := v.Servers[server]; s != nil {
		return v.Snapshot.At.Add(s.ClockSkew)
	}
	return v.Snapshot.At
}
