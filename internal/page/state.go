package page

import (
	"time"

	"lakefs_import_exporter/collector"
)

// stateMeanings say in a sentence what a state means.
var stateMeanings = map[collector.State]string{
	collector.Stalled:   "Its heartbeat was more than 2 minutes old when lakeFS last answered: the process that ran it has most likely died.",
	collector.Lost:      "It was running, and lakeFS no longer knows it.",
	collector.Failed:    "It ended with an error.",
	collector.Hung:      "Its heartbeat is alive, but the number of objects has not grown for too long.",
	collector.NotFound:  "lakeFS does not know it, and the exporter has never seen it.",
	collector.Unknown:   "No status has been received yet.",
	collector.Running:   "lakeFS is working on it.",
	collector.Canceled:  "It was canceled.",
	collector.Succeeded: "It is committed to its branch.",
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

// note says what the state of an import means to a person who has to act on it.
func note(imp *collector.ImportView, now, serverTime time.Time) string {
	allIngested := imp.ExpectedObjects > 0 && imp.IngestedObjects >= imp.ExpectedObjects
	switch imp.State {
	case collector.Stalled:
		return "No heartbeat for " + formatSeconds(imp.SecondsSinceUpdate()) +
			": the lakeFS process that ran it has most likely died. It may have committed: see the log of its branch."
	case collector.Lost:
		return "lakeFS has not known it for " + formatSpan(now.Sub(imp.NotFoundSince)) +
			"; its heartbeat was alive before. It may have committed: see the log of its branch."
	case collector.Hung:
		unchanged := formatSpan(imp.StatusAt.Sub(imp.ProgressAt))
		if allIngested {
			return "The heartbeat is alive, but lakeFS has been writing the commit for " + unchanged + "."
		}
		return "The heartbeat is alive, but no object was added for " + unchanged +
			" (limit: " + formatSpan(imp.NoProgressAfter) + ")."
	case collector.NotFound:
		if !imp.StartedAt.IsZero() && serverTime.Sub(imp.StartedAt) > expiry {
			return "lakeFS does not know it. It was started more than a day ago, and lakeFS forgets imports after a day."
		}
		return "lakeFS does not know it: check its ID, repository and server."
	case collector.Unknown:
		return stateMeanings[collector.Unknown]
	case collector.Running:
		switch {
		case imp.IngestedObjects == 0:
			return "No objects yet: it may be waiting for a free worker in lakeFS."
		case allIngested:
			return "All expected objects are ingested. lakeFS is writing the commit."
		}
	default: // there is nothing to do
	}
	return ""
}
