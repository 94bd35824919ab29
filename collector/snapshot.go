package collector

import (
	"time"

	"lakefs_import_exporter/lakefs"
)

// Snapshot is how everything stood at one time. It does not change, and its
// slices are not to be changed.
type Snapshot struct {
	// At is the time on the exporter's clock that all ages are relative to.
	At           time.Time
	Servers      []ServerView     // by Name
	Imports      []ImportView     // by Key
	Repositories []RepositoryView // by server and name

	finishedFor time.Duration   // of Options
	totalShards int             // 0 in the Snapshot of a probe, which is about one import only
	failedFiles map[string]bool // by name
}

// ServerView is how a lakeFS server stands.
type ServerView struct {
	Name string
	// URL is the endpoint, where the web UI is.
	URL string
	// Up is whether lakeFS itself answered any request of the newest scrape.
	Up bool
	// Authorized is false if lakeFS refuses the keys.
	Authorized bool
	// ClockSkew is lakeFS's clock less the exporter's, to the second. It is not
	// known before the first answer with a date.
	ClockSkew      time.Duration
	ClockSkewKnown bool
	// PausedUntil is when the server will be asked again after a 429; zero if
	// it is not paused.
	PausedUntil time.Time
	// Discovery is nil if the server has none.
	Discovery *DiscoveryView
}

// ImportView is how an import stands.
type ImportView struct {
	*Import
	*Observation
	Origin Origin
	State  State
	Poll   Poll
	// StartedAt is when lakeFS started the import, by lakeFS's clock; zero if
	// its ID does not tell.
	StartedAt time.Time

	// block are the labels of the import's series as the text format has them,
	// without the closing brace.
	block       string
	now         time.Time
	client      *lakefs.Client // nil if the server is not configured
	recent      float64        // objects per second of late
	recentKnown bool
}

// SecondsSinceUpdate returns the age of the heartbeat in seconds, by lakeFS's
// clock: its age at the newest status, and the time since then. It is never
// negative.
func (v *ImportView) SecondsSinceUpdate() float64 {
	// Not by a time.Duration, which ends at 292 years.
	return max(0, seconds(v.serverTime(), v.UpdateTime)+seconds(v.now, v.StatusAt))
}

// seconds returns the seconds from b to a.
func seconds(a, b time.Time) float64 {
	return float64(a.Unix()-b.Unix()) + float64(a.Nanosecond()-b.Nanosecond())/1e9
}

// PollSuccess reports whether the newest poll got a status, or none is needed
// any more.
func (v *ImportView) PollSuccess() bool {
	return v.Confirmed || v.Poll.Result == resultSuccess
}

// Throughput returns the objects ingested in a second, and false if that
// cannot be told.
func (v *ImportView) Throughput() (objectsPerSecond float64, ok bool) {
	if v.recentKnown {
		return v.recent, true
	}
	return v.average(v.StartedAt)
}

// Progress returns how much of the expected objects is ingested, from 0 to 1,
// and false if no number was expected, or no status was seen.
func (v *ImportView) Progress() (ratio float64, ok bool) {
	if v.ExpectedObjects == 0 || !v.Seen() {
		return 0, false
	}
	return min(1, float64(v.IngestedObjects)/float64(v.ExpectedObjects)), true
}

// ETA returns how many seconds it will take to ingest the rest of the expected
// objects, and false if that cannot be told.
func (v *ImportView) ETA() (seconds float64, ok bool) {
	rate, ok := v.Throughput()
	if v.State != Running || v.ExpectedObjects == 0 || !ok || rate <= 0 {
		return 0, false
	}
	return max(0, float64(v.ExpectedObjects-v.IngestedObjects)/rate), true
}

// FinishedAt returns when the import finished, by lakeFS's clock, and false if
// it has not.
func (v *ImportView) FinishedAt() (time.Time, bool) {
	return v.UpdateTime, v.Finished()
}

// CommitURL returns where lakeFS's web UI shows the commit of the import, or
// "" if there is no commit or the server is not configured.
func (v *ImportView) CommitURL() string {
	if v.CommitID == "" || v.client == nil {
		return ""
	}
	return v.client.CommitURL(v.Repository, v.CommitID)
}
