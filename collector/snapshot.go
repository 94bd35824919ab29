package collector

import (
	"maps"
	"slices"
	"strings"
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
	scraped     bool          // whether there ever was a scrape
	ofProbe     bool          // about one import only
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
	// SecondsSinceUpdate is the age of the heartbeat, by lakeFS's clock: its age at
	// the newest status, and the time since then. It is never negative.
	SecondsSinceUpdate float64

	// block are the labels of the import's series as the text format has them,
	// without the closing brace.
	block       string
	client      *lakefs.Client // nil if the server is not configured
	recent      float64        // objects per second of late
	recentKnown bool
}

// PollSuccess reports whether the newest poll got a status, or none is needed
// any more.
func (v *ImportView) PollSuccess() bool {
	return v.Confirmed || v.Poll.Result == resultSuccess
}

// Throughput returns the objects ingested in a second, of late or else on average
// since the start, and false if that cannot be told.
func (v *ImportView) Throughput() (objectsPerSecond float64, ok bool) {
	if v.recentKnown {
		return v.recent, true
	}
	took := v.UpdateTime.Sub(v.StartedAt) // both by lakeFS's clock
	return float64(v.IngestedObjects) / took.Seconds(), v.Seen() && !v.StartedAt.IsZero() && took > 0
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

// importBlock returns the labels of an import's series as labelBlock does.
func importBlock(i *Import) string { return labelBlock(importLabels(i)) }

func importLabels(i *Import) []seriesLabel {
	return userLabels(i.Labels, seriesLabel{"branch", i.Branch}, seriesLabel{"import_id", i.ID},
		seriesLabel{"repository", i.Repository}, seriesLabel{"server", i.Server})
}

func (v *RepositoryView) labels() []seriesLabel {
	return userLabels(v.Labels, seriesLabel{"repository", v.Name}, seriesLabel{"server", v.Server})
}

func (v *ServerView) labels() []seriesLabel { return []seriesLabel{{"server", v.Name}} }

// importGauges are all metrics of imports.
var importGauges = []gauge[ImportView]{
	{"lakefs_import_commit_info", "The commit that a successful import left on its branch. The value is always 1.",
		func(v *ImportView) (float64, bool) { return 1, v.Outcome == lakefs.Succeeded },
		[]gaugeLabel[ImportView]{
			{"commit_id", func(v *ImportView) string { return v.CommitID }},
			{"metarange_id", func(v *ImportView) string { return v.MetarangeID }},
		}},
	{"lakefs_import_completed", "Whether the import has finished, with success or with an error: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.Finished()), v.Seen() }, nil},
	{"lakefs_import_error", "Whether the import has finished with an error, a cancel included: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.FailedOrCanceled()), v.Seen() }, nil},
	{"lakefs_import_error_info", "The error that the import has finished with. The value is always 1.",
		func(v *ImportView) (float64, bool) { return 1, v.FailedOrCanceled() },
		[]gaugeLabel[ImportView]{
			{"message", func(v *ImportView) string { return v.ErrorMessage }},
			{"reason", func(v *ImportView) string { return string(v.ErrorReason) }},
		}},
	{"lakefs_import_expected_objects", "Objects that the import is expected to ingest, from the exporter's configuration.",
		func(v *ImportView) (float64, bool) { return float64(v.ExpectedObjects), v.ExpectedObjects > 0 }, nil},
	{"lakefs_import_ingested_objects", "Objects that the import has ingested so far.",
		func(v *ImportView) (float64, bool) { return float64(v.IngestedObjects), v.Seen() }, nil},
	{"lakefs_import_last_status_timestamp_seconds", "Unix time at which the newest status of the import was received, by the exporter's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.StatusAt), v.Seen() }, nil},
	{"lakefs_import_max_duration_seconds", "How long the import may run, from the exporter's configuration.",
		func(v *ImportView) (float64, bool) { return v.MaxDuration.Seconds(), v.MaxDuration > 0 }, nil},
	{"lakefs_import_poll_success", "Whether the newest poll of the import got a status, or none is needed any more: 1 if so, else 0.",
		func(v *ImportView) (float64, bool) { return boolToFloat(v.PollSuccess()), true }, nil},
	{"lakefs_import_progress_timestamp_seconds", "Unix time at which the number of ingested objects was last seen to grow, or was first seen, by the exporter's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.ProgressAt), v.Seen() }, nil},
	{"lakefs_import_seconds_since_update", "Seconds since lakeFS last updated the import, by lakeFS's clock, never negative. Keeps growing after the import has finished.",
		func(v *ImportView) (float64, bool) { return v.SecondsSinceUpdate, v.Seen() }, nil},
	{"lakefs_import_start_timestamp_seconds", "Unix time at which the import was started, read from its ID.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.StartedAt), !v.StartedAt.IsZero() }, nil},
	{"lakefs_import_state", "The present state of the import, as a label. The value is always 1.",
		func(*ImportView) (float64, bool) { return 1, true },
		[]gaugeLabel[ImportView]{{"state", func(v *ImportView) string { return string(v.State) }}}},
	{"lakefs_import_update_timestamp_seconds", "Unix time at which lakeFS last updated the import, by lakeFS's clock.",
		func(v *ImportView) (float64, bool) { return unixSeconds(v.UpdateTime), v.Seen() }, nil},
}

// repositoryGauges are all metrics of repositories.
var repositoryGauges = []gauge[RepositoryView]{
	{"lakefs_repository_last_import_timestamp_seconds", "Unix time at which the newest successful import into the repository was committed, by lakeFS's clock.",
		func(v *RepositoryView) (float64, bool) { return unixSeconds(v.LastImport), !v.LastImport.IsZero() }, nil},
	{"lakefs_repository_max_import_age_seconds", "How old the newest import into the repository may get, from the exporter's configuration.",
		func(v *RepositoryView) (float64, bool) { return v.MaxImportAge.Seconds(), v.MaxImportAge > 0 }, nil},
	{"lakefs_repository_poll_success", "Whether the newest poll of the repository succeeded: 1 if so, else 0, also if lakeFS does not know the repository.",
		func(v *RepositoryView) (float64, bool) { return boolToFloat(v.PollSuccess()), true }, nil},
}

// serverGauges are all metrics of servers. Probes have the first only.
var serverGauges = []gauge[ServerView]{
	{"lakefs_up", "Whether lakeFS itself answered any request of the newest scrape: 1 if so, else 0.",
		func(v *ServerView) (float64, bool) { return boolToFloat(v.Up), true }, nil},
	{"lakefs_authorized", "Whether lakeFS accepts the exporter's keys: 0 if its newest answer about them was a refusal of all requests, else 1.",
		func(v *ServerView) (float64, bool) { return boolToFloat(v.Authorized), true }, nil},
	{"lakefs_clock_skew_seconds", "How far lakeFS's clock is ahead of the exporter's, in whole seconds.",
		func(v *ServerView) (float64, bool) { return v.ClockSkew.Seconds(), v.ClockSkewKnown }, nil},
}

// discoveryGauges are all metrics of servers that have a discovery.
var discoveryGauges = []gauge[ServerView]{
	{"lakefs_import_exporter_discovery_imports", "Imports found by the newest successful refresh of the discovery.",
		func(v *ServerView) (float64, bool) { return float64(v.Discovery.Found), true }, nil},
	{"lakefs_import_exporter_discovery_dropped_imports", "Imports that the newest successful refresh of the discovery left out because of max_imports.",
		func(v *ServerView) (float64, bool) { return float64(v.Discovery.Dropped), true }, nil},
	{"lakefs_import_exporter_discovery_last_success_timestamp_seconds", "Unix time of the newest successful refresh of the discovery; 0 if there was none.",
		func(v *ServerView) (float64, bool) { return max(0, unixSeconds(v.Discovery.LastSuccess)), true }, nil},
}

// Families returns the metrics of s, by name.
func (s *Snapshot) Families() []Family {
	imports := families(importGauges, s.shownImports(),
		func(v *ImportView) []seriesLabel { return importLabels(v.Import) }, func(v *ImportView) string { return v.block })
	var others []Family
	if s.ofProbe {
		others = families(serverGauges[:1], s.Servers, (*ServerView).labels, nil)
	} else {
		repositories := slices.DeleteFunc(slices.Clone(s.Repositories), func(v RepositoryView) bool { return s.isNew(v.Poll) })
		discovering := slices.DeleteFunc(slices.Clone(s.Servers), func(v ServerView) bool { return v.Discovery == nil })
		others = slices.Concat(
			families(repositoryGauges, repositories, (*RepositoryView).labels, nil),
			families(serverGauges, s.Servers, (*ServerView).labels, nil),
			families(discoveryGauges, discovering, (*ServerView).labels, nil),
			countFamilies("lakefs_imports", "Imports watched, by state.", s.countStates()),
			countFamilies("lakefs_import_exporter_imports", "Imports watched, by where they come from.", s.countOrigins()),
			countFamilies("lakefs_import_exporter_import_file_error", "Whether an import file does not load: 1 if so, else 0.", s.countFileErrors()),
		)
	}
	return slices.SortedFunc(slices.Values(append(imports, others...)), func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
}

// shownImports returns the imports that have series of their own: those that
// succeeded or were canceled have them only for a while, and one that was added
// during a scrape has them from the next one on.
func (s *Snapshot) shownImports() []ImportView {
	for i := range s.Imports {
		if s.hides(&s.Imports[i]) {
			return slices.DeleteFunc(slices.Clone(s.Imports), func(v ImportView) bool { return s.hides(&v) })
		}
	}
	return s.Imports // without a copy, which may be large
}

func (s *Snapshot) hides(v *ImportView) bool {
	switch v.State {
	case Succeeded, Canceled:
		return s.At.Sub(v.finishedAt()) > s.finishedFor
	default:
		return v.State == Unknown && s.isNew(v.Poll)
	}
}

// isNew reports whether the newest scrape began before what has the newest poll
// p was watched.
func (s *Snapshot) isNew(p Poll) bool { return s.scraped && p.At.IsZero() }

// countStates counts the imports of every repository that has any, by state.
func (s *Snapshot) countStates() []countView {
	states := slices.Sorted(slices.Values(States()))
	var views []countView
	for i := range s.Imports {
		v := &s.Imports[i]
		if i == 0 || v.repository() != s.Imports[i-1].repository() {
			for _, state := range states {
				views = append(views, countView{0, []seriesLabel{{"repository", v.Repository}, {"server", v.Server}, {"state", string(state)}}})
			}
		}
		ofRepository := views[len(views)-len(states):]
		ofRepository[slices.Index(states, v.State)].count++
	}
	return views
}

func (s *Snapshot) countOrigins() []countView {
	views := make([]countView, len(origins))
	for origin, name := range origins {
		views[origin].labels = []seriesLabel{{"source", name}}
	}
	for i := range s.Imports {
		views[s.Imports[i].Origin].count++
	}
	return views
}

// countFileErrors returns 1 for every file that does not load, else 0.
func (s *Snapshot) countFileErrors() []countView {
	var views []countView
	for _, name := range slices.Sorted(maps.Keys(s.FileErrors)) {
		failed := int(boolToFloat(s.FileErrors[name] != ""))
		views = append(views, countView{failed, []seriesLabel{{"file", name}}})
	}
	return views
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unixSeconds returns t as Unix time with its fraction, in any year.
func unixSeconds(t time.Time) float64 {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9
}
