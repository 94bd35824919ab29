package page

import (
	"strings"
	"time"

	"lakefs_import_exporter/collector"
)

// unchangedShown is how long the count must be the same to be mentioned.
const unchangedShown = time.Minute

// rowView is an import as a row of the table.
type rowView struct {
	*collector.ImportView
	View *view
	Now  time.Time // by lakeFS's clock
}

// Duration returns how long the import took, or has taken so far; "" if that is
// not known.
func (r rowView) Duration() string {
	if seconds, ok := duration(r.ImportView); ok {
		return formatSpan(seconds)
	}
	return ""
}

// kind returns the state that an import is shown in: a running one is unknown
// while lakeFS does not answer.
func kind(imp *collector.ImportView) collector.State {
	if isUnknown(imp) && !needsAttention(imp.State) {
		return collector.Unknown
	}
	return imp.State
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
		parts = append(parts, formatSpan(left)+" left")
	}
	if unchanged := imp.StatusAt.Sub(imp.ProgressAt); imp.State == collector.Running && unchanged >= unchangedShown {
		parts = append(parts, "count unchanged for "+formatSpan(unchanged.Seconds()))
	}
	return strings.Join(parts, " · ")
}
