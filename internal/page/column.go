package page

import (
	"cmp"
	"math"
	"slices"

	"lakefs_import_exporter/collector"
)

// column is a column of the table, or something else to sort imports by: a text
// or a number, or neither if it cannot be sorted by.
type column struct {
	// Name is that of the URL; empty if it cannot be sorted by.
	Name, Title string
	// FormOnly is set if the table has no such column.
	FormOnly bool
	text     func(*collector.ImportView) string
	// number returns false if an import has none.
	number func(*collector.ImportView) (float64, bool)
	// desc is set where the largest numbers are of most interest.
	desc bool
}

// defaultColumn is the name of the column that imports are sorted by unless the
// URL names another.
const defaultColumn = "state"

var columns = []column{
	{Name: defaultColumn, Title: "State", number: func(v *collector.ImportView) (float64, bool) {
		return float64(slices.Index(collector.States(), kind(v))), true
	}},
	{Name: "repository", Title: "Import", text: func(v *collector.ImportView) string { return v.Repository }},
	{Name: "progress", Title: "Progress", desc: true, number: (*collector.ImportView).Progress},
	{Title: "Details"},
	{Name: "heartbeat", Title: "Heartbeat", desc: true, number: func(v *collector.ImportView) (float64, bool) {
		return v.SecondsSinceUpdate, v.Seen() && !v.Finished()
	}},
	{Name: "started", Title: "Started", desc: true, number: func(v *collector.ImportView) (float64, bool) {
		return float64(v.StartedAt.UnixMicro()) / 1e6, !v.StartedAt.IsZero()
	}},
	{Name: "duration", Title: "Duration", desc: true, number: duration},
	{Name: "id", Title: "Import ID", FormOnly: true, text: func(v *collector.ImportView) string { return v.ID }},
	{Name: "objects", Title: "Objects", FormOnly: true, desc: true, number: func(v *collector.ImportView) (float64, bool) {
		return float64(v.IngestedObjects), v.Seen()
	}},
	{Name: "throughput", Title: "Throughput", FormOnly: true, desc: true, number: throughput},
	{Name: "eta", Title: "Time left", FormOnly: true, number: (*collector.ImportView).ETA},
}

// duration returns how many seconds an import took, or has taken so far, by
// lakeFS's clock. Where it is not known whether it still runs, its last heartbeat
// counts. It returns false if the start is not known.
func duration(v *collector.ImportView) (seconds float64, ok bool) {
	if v.StartedAt.IsZero() || !v.Seen() {
		return 0, false
	}
	seconds = v.UpdateTime.Sub(v.StartedAt).Seconds()
	if isWorking(v) {
		seconds += v.SecondsSinceUpdate
	}
	return max(0, seconds), true
}

// isWorking reports whether lakeFS is working on an import now.
func isWorking(v *collector.ImportView) bool {
	return (v.State == collector.Running || v.State == collector.Hung) && v.PollSuccess()
}

// throughput returns the objects per second of an import in progress, and the
// average of a finished one. It says nothing about an interrupted one.
func throughput(v *collector.ImportView) (float64, bool) {
	if v.State == collector.Stalled || v.State == collector.Lost {
		return 0, false
	}
	return v.Throughput()
}

// sort sorts imports. Those without a value come last, either way. Among equals
// the newest comes first.
func (c *column) sort(imports []*collector.ImportView, desc bool) {
	direction := 1
	if desc {
		direction = -1
	}
	number := func(v *collector.ImportView) float64 {
		if n, ok := c.number(v); ok {
			return n
		}
		return math.Inf(direction)
	}
	slices.SortStableFunc(imports, func(a, b *collector.ImportView) int {
		var order int
		if c.text != nil {
			order = cmp.Compare(c.text(a), c.text(b))
		} else {
			order = cmp.Compare(number(a), number(b))
		}
		return cmp.Or(direction*order, b.StartedAt.Compare(a.StartedAt))
	})
}
