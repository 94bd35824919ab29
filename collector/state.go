package collector

import (
	"time"

	"lakefs_import_exporter/lakefs"
)

// State is the state of an import in one word, for people and scripts.
type State string

// The states.
const (
	// Unknown: no status was ever received.
	Unknown State = "unknown"
	// Running: lakeFS is working on it.
	Running State = "running"
	// Stalled: the heartbeat had stopped when lakeFS last answered.
	Stalled State = "stalled"
	// Hung: the heartbeat is alive, but the count of objects has not grown for
	// longer than NoProgressAfter; six times that once ExpectedObjects are
	// reached, since that is the commit.
	Hung State = "hung"
	// Succeeded, Failed and Canceled: finished.
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
	// Lost: was running with a live heartbeat, and lakeFS no longer knows it.
	Lost State = "lost"
	// NotFound: never seen, and lakeFS does not know it.
	NotFound State = "not_found"
)

// States returns every state: those that need a person first, those that need
// nobody last.
func States() []State {
	return []State{Stalled, Lost, Failed, Hung, NotFound, Unknown, Running, Canceled, Succeeded}
}

// commitFactor is how many times longer than NoProgressAfter the count may stay
// the same when all expected objects are there.
const commitFactor = 6

// stateOf depends on what was seen, not on what time it is: nothing changes
// while lakeFS cannot be asked.
func stateOf(o *Observation, noProgressAfter time.Duration, expectedObjects int64) State {
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
	case o.heartbeatLost():
		// Also when lakeFS has forgotten it since: it had died long before.
		return Stalled
	case !o.NotFoundSince.IsZero():
		return Lost
	}
	unchanged := o.StatusAt.Sub(o.ProgressAt)
	if expectedObjects > 0 && o.IngestedObjects >= expectedObjects {
		unchanged /= commitFactor
	}
	if unchanged > noProgressAfter {
		return Hung
	}
	return Running
}
