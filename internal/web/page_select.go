package web

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
)

// pageColumn is something that imports can be sorted by: by a number, if it is
// known, or else by a text.
type pageColumn struct {
	name, title string
	number      func(v *collector.ImportView, now time.Time) (float64, bool)
	text        func(v *collector.ImportView) string
	// desc is set where what is of interest has the largest number.
	desc bool
}

// defaultColumn is the name of the column to sort by where nobody asks.
const defaultColumn = "state"

// columnNamed returns a column by its name in the URL, or nil.
func columnNamed(name string) *pageColumn {
	for i := range pageColumns {
		if pageColumns[i].name == name {
			return &pageColumns[i]
		}
	}
	return nil
}

// pageColumns are all columns, in the order in which they are offered.
var pageColumns = []pageColumn{
	{
		name: defaultColumn, title: "State",
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) {
			return float64(slices.Index(collector.States(), v.State)), true
		},
	},
	{
		name: "repository", title: "Repository",
		text: func(v *collector.ImportView) string { return v.Repository },
	},
	{
		name: "branch", title: "Branch",
		text: func(v *collector.ImportView) string { return v.Branch },
	},
	{
		name: "id", title: "Import ID",
		text: func(v *collector.ImportView) string { return v.ID },
	},
	{
		name: "server", title: "Server",
		text: func(v *collector.ImportView) string { return v.Server },
	},
	{
		name: "progress", title: "Progress", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) { return v.Progress() },
	},
	{
		name: "objects", title: "Objects", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) {
			return float64(v.IngestedObjects), v.Seen()
		},
	},
	{
		name: "throughput", title: "Throughput", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) { return shownThroughput(v) },
	},
	{
		name: "eta", title: "Time left",
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) { return v.ETA() },
	},
	{
		name: "heartbeat", title: "Heartbeat", desc: true,
		number: func(v *collector.ImportView, now time.Time) (float64, bool) {
			return now.Sub(v.UpdateTime).Seconds(), v.Seen() && !v.Finished()
		},
	},
	{
		name: "started", title: "Started", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) { return unixSeconds(v.StartedAt) },
	},
	{
		name: "ended", title: "Ended", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) {
			at, ok := v.FinishedAt()
			n, _ := unixSeconds(at)
			return n, ok
		},
	},
	{
		name: "duration", title: "Duration", desc: true,
		number: func(v *collector.ImportView, now time.Time) (float64, bool) {
			d, ok := importDuration(v, now)
			return d.Seconds(), ok
		},
	},
	{
		name: "polled", title: "Last poll", desc: true,
		number: func(v *collector.ImportView, _ time.Time) (float64, bool) { return unixSeconds(v.Poll.At) },
	},
}

// unixSeconds returns t in seconds, and false if it is zero.
func unixSeconds(t time.Time) (float64, bool) {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9, !t.IsZero()
}

// importDuration returns how long an import took, or has taken so far. It returns
// false if it is not known when it started, or whether it ever did.
func importDuration(v *collector.ImportView, now time.Time) (time.Duration, bool) {
	if v.StartedAt.IsZero() || !v.Seen() {
		return 0, false
	}
	end := now
	switch v.State {
	case collector.Running, collector.Hung:
	default: // over, or nobody can tell: until it last gave a sign of life
		end = v.UpdateTime
	}
	return max(0, end.Sub(v.StartedAt)), true
}

// shownThroughput is the throughput of an import that still goes on, and the
// average of one that ended. What happened to the others, it says nothing of.
func shownThroughput(v *collector.ImportView) (float64, bool) {
	switch v.State {
	case collector.Stalled, collector.Lost:
		return 0, false
	default:
		return v.Throughput()
	}
}

// selection is the imports that a query asks for.
type selection struct {
	// imports match the query, in its order, of all pages.
	imports []*collector.ImportView
	// counts has those that match all of the query but its states, by state;
	// others is how many these are.
	counts map[collector.State]int
	others int
}

// selectImports returns what of snapshot q asks for.
func selectImports(snapshot *collector.Snapshot, q pageQuery) selection {
	s := selection{counts: map[collector.State]int{}}
	matches := q.matcher()
	for i := range snapshot.Imports {
		v := &snapshot.Imports[i]
		if !matches(v) {
			continue
		}
		s.counts[v.State]++
		s.others++
		if len(q.States) == 0 || slices.Contains(q.States, v.State) {
			s.imports = append(s.imports, v)
		}
	}
	sortImports(s.imports, q.column(), q.Desc, snapshot.At)
	return s
}

// matcher returns a function that reports whether an import matches all of q
// but its states.
func (q pageQuery) matcher() func(*collector.ImportView) bool {
	words := strings.Fields(strings.ToLower(q.Text))
	type label struct{ name, value string }
	labels := make([]label, len(q.Labels))
	for i, l := range q.Labels {
		labels[i].name, labels[i].value, _ = strings.Cut(l, "=")
	}
	return func(v *collector.ImportView) bool {
		if q.Server != "" && q.Server != v.Server || q.Repository != "" && q.Repository != v.Repository {
			return false
		}
		for _, l := range labels {
			if value, ok := v.Labels[l.name]; !ok || value != l.value {
				return false
			}
		}
		if len(words) == 0 {
			return true
		}
		text := searchText(v)
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	}
}

// searchText returns what a text filter looks at.
func searchText(v *collector.ImportView) string {
	var b strings.Builder
	for _, s := range []string{
		v.Repository, "/", v.Branch, "/", v.ID, "\n", v.Server, "\n", string(v.State), "\n",
		v.ErrorMessage, "\n", v.CommitID, "\n",
	} {
		b.WriteString(s)
	}
	if !v.PollSuccess() {
		b.WriteString(string(v.Poll.Result))
		b.WriteString("\n")
		b.WriteString(v.Poll.Message)
	}
	for name, value := range v.Labels {
		b.WriteString("\n")
		b.WriteString(name)
		b.WriteString("=")
		b.WriteString(value)
	}
	return strings.ToLower(b.String())
}

// sortImports sorts imports by a column. Those that have nothing in it come
// last, either way. Where it does not decide, the newest comes first.
func sortImports(imports []*collector.ImportView, c *pageColumn, desc bool, now time.Time) {
	slices.SortStableFunc(imports, func(a, b *collector.ImportView) int {
		return b.StartedAt.Compare(a.StartedAt)
	})
	type ranked struct {
		v      *collector.ImportView
		number float64
		text   string
		known  bool
	}
	ranks := make([]ranked, len(imports))
	for i, v := range imports {
		ranks[i] = ranked{v: v, known: true}
		if c.text != nil {
			ranks[i].text = c.text(v)
		} else {
			ranks[i].number, ranks[i].known = c.number(v, now)
		}
	}
	slices.SortStableFunc(ranks, func(a, b ranked) int {
		switch {
		case !a.known && !b.known:
			return 0
		case !a.known:
			return 1
		case !b.known:
			return -1
		case desc:
			a, b = b, a
		}
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.text, b.text))
	})
	for i := range ranks {
		imports[i] = ranks[i].v
	}
}
