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

	// FileErrors are why import files do not load, by name; empty for one that
	// does.
	FileErrors map[string]string
	// Storage is why the newest write to the Store failed; nil if it did not.
	Storage *StorageFailure

	finishedFor time.Duration // of Options
	totalShards int
	scraped     bool // whether there ever was a scrape
	ofProbe     bool // about one import only
}

// StorageFailure is why the Store cannot be written.
type StorageFailure struct {
	// Since is when the first of the failures in a row was, by the exporter's clock.
	Since time.Time
	// Error is the newest.
	Error string
}

// ServerView is how a lakeFS server stands.
type ServerView struct {
	Name string
	// URL is the endpoint, where the web UI is.
	URL string
	// Up is whether lakeFS itself answered any request of the newest scrape, and
	// DownSince since when it has not, by the exporter's clock; zero if it is up,
	// or was never asked.
	Up        bool
	DownSince time.Time
	// Authorized is false if lakeFS refuses the keys, and UnauthorizedSince since
	// when, by the exporter's clock.
	Authorized        bool
	UnauthorizedSince time.Time
	// Polls is how many requests the newest scrape needed, health checks
	// included, and Failures how many of them failed, by result.
	Polls    int
	Failures map[Result]int
	// FailureExample is why one of them failed.
	FailureExample string
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

// DiscoveryView is how the discovery of a server stands.
type DiscoveryView struct {
	// LastSuccess is when a refresh last succeeded; zero if none did.
	LastSuccess time.Time
	// Found is how many imports it found, and Dropped how many it left out
	// because there are too many.
	Found, Dropped int
	// Error is why the newest refresh failed; empty if it did not.
	Error string
}

// RepositoryView is how a watched repository stands.
type RepositoryView struct {
	*Repository
	// LastImport is when the newest successful import was committed, by
	// lakeFS's clock, to the second; zero if there was none or it is not known.
	LastImport time.Time
	Poll       Poll
}

// PollSuccess reports whether the newest poll got an answer. lakeFS not knowing
// the repository is none.
func (v *RepositoryView) PollSuccess() bool { return v.Poll.Result == resultSuccess }

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
	age         float64        // see SecondsSinceUpdate
	client      *lakefs.Client // nil if the server is not configured
	recent      float64        // objects per second of late
	recentKnown bool
}

func newImportView(imp *Import, seen *Observation, now time.Time, client *lakefs.Client) ImportView {
	v := ImportView{Import: imp, Observation: seen, State: seen.state(imp), client: client}
	v.StartedAt, _ = lakefs.StartTime(imp.ID)
	// Not by a time.Duration, which ends at 292 years.
	v.age = max(0, seconds(seen.serverTime(), seen.UpdateTime)+seconds(now, seen.StatusAt))
	return v
}

// SecondsSinceUpdate returns the age of the heartbeat in seconds, by lakeFS's
// clock: its age at the newest status, and the time since then. It is never
// negative.
func (v *ImportView) SecondsSinceUpdate() float64 { return v.age }

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
// objects, and false if that cannot be told: not while polls fail either.
func (v *ImportView) ETA() (seconds float64, ok bool) {
	rate, ok := v.Throughput()
	if v.State != Running || !v.PollSuccess() || v.ExpectedObjects == 0 || !ok || rate <= 0 {
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
