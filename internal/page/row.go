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
	// Kind is the class for color and shape.
	Kind      collector.State
	Attention bool
	// Working is set if lakeFS is working on it, and Unknown if the state was that
	// when lakeFS last answered, and is not known any more.
	Working, Unknown bool
	// Missing is for how long lakeFS has not known the import.
	Missing time.Duration
	// Expired is set if lakeFS has forgotten the import by now.
	Expired bool
	Labels  []labelView

	Percent  string // of the expected objects; empty if it is not known
	Ratio    float64
	Speed    string
	Duration string // empty if it is not known
	Updated  timeView
	Started  timeView
	Ended    timeView
	Answered timeView // when lakeFS last knew it
}

// labelView is a label, and the link that toggles the filter by it.
type labelView struct {
	Text, URL string
	Active    bool
}

// row returns the row of an import. Times are by lakeFS's clock.
func (b *builder) row(imp *collector.ImportView) rowView {
	serverTime := b.serverTime(imp.Server)
	r := rowView{
		ImportView: imp,
		BranchURL:  b.logURL(imp),
		Kind:       kind(imp),
		Attention:  needsAttention(imp.State),
		Working:    isWorking(imp),
		Unknown:    isUnknown(imp),
		Missing:    b.snapshot.At.Sub(imp.NotFoundSince),
		Expired:    !imp.StartedAt.IsZero() && serverTime.Sub(imp.StartedAt) > expiry,
		Labels:     b.labels(imp.Labels),
		Updated:    formatTime(imp.UpdateTime, serverTime),
		Started:    formatTime(imp.StartedAt, serverTime),
		Answered:   formatTime(imp.StatusAt, b.snapshot.At),
	}
	if end, ok := imp.FinishedAt(); ok {
		r.Ended = formatTime(end, serverTime)
	}
	if ratio, ok := imp.Progress(); ok {
		r.Ratio, r.Percent = ratio, formatRatio(ratio)
	}
	if !r.Unknown {
		r.Speed = speed(imp)
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
func (b *builder) labels(labels map[string]string) []labelView {
	var views []labelView
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text := name + "=" + labels[name]
		views = append(views, labelView{text, b.Query.Toggle("label", text), b.Query.Includes("label", text)})
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
