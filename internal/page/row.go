package page

import (
	"maps"
	"slices"
	"strings"
	"time"

	"lakefs_import_exporter/collector"
)

const (
	// unchangedShown is how long the count must be the same to be mentioned.
	unchangedShown = time.Minute
	// expiry is when lakeFS deletes the status of an import.
	expiry = 24 * time.Hour
)

// rowView is an import as a row of the table.
type rowView struct {
	*collector.ImportView
	BranchURL string // of the branch's log; empty if it is not known
	// Missing is for how long lakeFS has not known the import.
	Missing time.Duration
	// Expired is set if lakeFS has forgotten the import by now.
	Expired  bool
	Labels   []labelView
	Duration string // empty if it is not known
	Started  timeView
	Updated  timeView // which is the end of a finished one
	Answered timeView // when lakeFS last knew it
}

// labelView is a label, and the link that toggles the filter by it.
type labelView struct {
	Text, URL string
	Active    bool
}

// row returns the row of an import. Times are by lakeFS's clock.
func (v *view) row(imp *collector.ImportView) rowView {
	serverTime := v.serverTime(imp.Server)
	r := rowView{
		ImportView: imp,
		BranchURL:  v.logURL(imp),
		Missing:    v.snapshot.At.Sub(imp.NotFoundSince),
		Expired:    !imp.StartedAt.IsZero() && serverTime.Sub(imp.StartedAt) > expiry,
		Labels:     v.labels(imp.Labels),
		Started:    formatTime(imp.StartedAt, serverTime),
		Updated:    formatTime(imp.UpdateTime, serverTime),
		Answered:   v.Time(imp.StatusAt),
	}
	if seconds, ok := duration(imp); ok {
		r.Duration = formatSeconds(seconds)
	}
	return r
}

// kind returns the state that an import is shown in: a running one is unknown
// while lakeFS does not answer.
func kind(imp *collector.ImportView) collector.State {
	if isUnknown(imp) && !needsAttention(imp.State) {
		return collector.Unknown
	}
	return imp.State
}

// AllIngested reports whether only the commit is missing.
func (r rowView) AllIngested() bool {
	return r.ExpectedObjects > 0 && r.IngestedObjects >= r.ExpectedObjects
}

// Unchanged returns how long no object had been added at the newest status.
func (r rowView) Unchanged() time.Duration { return r.StatusAt.Sub(r.ProgressAt) }

// labels returns the user's labels, by name.
func (v *view) labels(labels map[string]string) []labelView {
	var views []labelView
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text := name + "=" + labels[name]
		views = append(views, labelView{text, v.Query.Toggle("label", text), v.Query.Includes("label", text)})
	}
	return views
}

// speed says how fast an import is, and how long it will take.
func speed(imp *collector.ImportView) string {
	var parts []string
	if rate, ok := throughput(imp); ok && imp.Finished() {
		parts = append(parts, formatRate(rate)+" on average")
	} else if ok {
		parts = append(parts, formatRate(rate))
	}
	if left, ok := imp.ETA(); ok && left > 0 {
		parts = append(parts, formatSeconds(left)+" left")
	}
	if unchanged := imp.StatusAt.Sub(imp.ProgressAt); imp.State == collector.Running && unchanged >= unchangedShown {
		parts = append(parts, "count unchanged for "+formatSpan(unchanged))
	}
	return strings.Join(parts, " · ")
}
