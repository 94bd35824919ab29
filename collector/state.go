package collector

import (
	"time"

	"lakefs_import_exporter/lakefs"
)

// State is how an import is getting on, in one word for people and scripts.
type State string

// The states.
const (
	// Unknown: no status was ever received.
	Unknown State = "unknown"
	// Running: lakeFS is working on it, as far as one can see.
	Running State = "running"
	// Stalled: the heartbeat was over two minutes old when last seen.
	Stalled State = "stalled"
	// Hung: the heartbeat is alive, but the count has been at rest for longer
	// than the import's NoProgressAfter and is below its ExpectedObjects.
	Hung State = "hung"
	// Succeeded, Failed and Canceled: finished.
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
	// Lost: was in progress with a live heartbeat, and lakeFS no longer knows it.
	Lost State = "lost"
	// NotFound: never seen, and lakeFS does not know it.
	NotFound State = "not_found"
)

// States returns every state: those that need a person first, those that need
// nobody last.
func States() []State {
	return []State{Stalled, Lost, Failed, Hung, NotFound, Unknown, Running, Canceled, Succeeded}
}

// heartbeatTimeout is how old a heartbeat may be. lakeFS beats once a second;
// two minutes allow for a slow key-value store and some skew of the clocks.
const heartbeatTimeout = 2 * time.Minute

// stateOf judges by what was seen, not by what time it is: nothing changes
// while lakeFS cannot be asked.
func stateOf(imp Import, o Observation) State {
	if !o.Seen() {
		if o.NotFoundSince.IsZero() {
			return Unknown
		}
		return NotFound
	}
	switch {
	case o.Outcome == lakefs.Succeeded:
		return Succeeded
	case o.Outcome == lakefs.Failed:
		return Failed
	case o.Outcome == lakefs.Canceled:
		return Canceled
	case o.HeartbeatAge() > heartbeatTimeout:
		// Also when lakeFS has forgotten it since: it was lost long before.
		return Stalled
	case !o.NotFoundSince.IsZero():
		return Lost
	case o.StatusAt.Sub(o.ProgressAt) > imp.NoProgressAfter &&
		(imp.ExpectedObjects == 0 || o.IngestedObjects < imp.ExpectedObjects):
		return Hung
	}
	return Running
}
