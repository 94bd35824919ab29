package collector

import (
	"encoding/json"
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs"
)

// Snapshot is how everything stood at one time. It does not change, and its
// slices are not to be changed. It is a prometheus.Gatherer.
type Snapshot struct {
	// At is the time on the exporter's clock that all ages are relative to.
	At           time.Time
	Servers      []ServerView     // by Name
	Imports      []ImportView     // by Key
	Repositories []RepositoryView // by server and name

	exporter    bool // also tells of the exporter itself
	failedFiles map[string]bool
}

// ServerView is how a lakeFS server stands.
type ServerView struct {
	Name string `json:"name"`
	// URL is the endpoint, where the web UI is.
	URL string `json:"url"`
	// Up is whether lakeFS itself gave an answer in the newest round.
	Up bool `json:"up"`
	// PausedUntil is when the server will be asked again after a 429; zero if
	// it is not paused.
	PausedUntil time.Time `json:"paused_until,omitzero"`
}

// ImportView is how an import is getting on. Its JSON form is that of the API.
type ImportView struct {
	Import
	Observation
	Origin Origin
	State  State
	Poll   Poll
	// StartedAt is when lakeFS started the import, by lakeFS's clock; zero if
	// its ID does not tell.
	StartedAt time.Time

	now             time.Time
	client          *lakefs.Client // nil if the server is not configured
	labels          []*dto.LabelPair
	throughput      float64
	throughputKnown bool
}

// SecondsSinceUpdate returns the age of the last heartbeat in seconds, not
// corrected for skew between the clocks, but never negative.
func (v *ImportView) SecondsSinceUpdate() float64 {
	// Not by a time.Duration, which ends at 292 years.
	return max(0, float64(v.now.Unix()-v.UpdateTime.Unix())+float64(v.now.Nanosecond()-v.UpdateTime.Nanosecond())/1e9)
}

// PollSuccess reports whether the newest poll got a status, or none is needed
// any more.
func (v *ImportView) PollSuccess() bool {
	return v.Finished() || v.Poll.Result == resultSuccess
}

// Throughput returns the objects ingested in a second, and false if that
// cannot be told.
func (v *ImportView) Throughput() (objectsPerSecond float64, ok bool) {
	return v.throughput, v.throughputKnown
}

// Progress returns how much of the expected objects is ingested, from 0 to 1,
// and false if no number was expected, or no status was seen.
func (v *ImportView) Progress() (ratio float64, ok bool) {
	if v.ExpectedObjects == 0 || !v.Seen() {
		return 0, false
	}
	return min(1, float64(v.IngestedObjects)/float64(v.ExpectedObjects)), true
}

// ETA returns how many seconds it will take to ingest what is left of the
// expected objects, and false if that cannot be told.
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

// importJSON is an import as the API has it. What is not known is left out:
// hence the pointers, for what may be known and zero.
type importJSON struct {
	Server           string            `json:"server"`
	Repository       string            `json:"repository"`
	Branch           string            `json:"branch"`
	ID               string            `json:"import_id"`
	Source           Origin            `json:"source"`
	Labels           map[string]string `json:"labels,omitempty"`
	State            State             `json:"state"`
	IngestedObjects  *int64            `json:"ingested_objects,omitempty"`
	ExpectedObjects  int64             `json:"expected_objects,omitempty"`
	Progress         *float64          `json:"progress,omitempty"`
	ObjectsPerSecond *float64          `json:"objects_per_second,omitempty"`
	ETASeconds       *float64          `json:"eta_seconds,omitempty"`
	StartedAt        time.Time         `json:"started_at,omitzero"`
	UpdatedAt        *time.Time        `json:"updated_at,omitempty"`
	LastStatusAt     time.Time         `json:"last_status_at,omitzero"`
	ProgressAt       time.Time         `json:"progress_at,omitzero"`
	FinishedAt       *time.Time        `json:"finished_at,omitempty"`
	Commit           *commitJSON       `json:"commit,omitempty"`
	MetarangeID      string            `json:"metarange_id,omitempty"`
	Error            string            `json:"error,omitempty"`
	Poll             pollJSON          `json:"poll"`
}

type commitJSON struct {
	ID  string `json:"id"`
	URL string `json:"url,omitempty"`
}

type pollJSON struct {
	Success bool      `json:"success"`
	Result  Result    `json:"result,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Message string    `json:"message,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (v ImportView) MarshalJSON() ([]byte, error) {
	j := importJSON{
		Server:           v.Server,
		Repository:       v.Repository,
		Branch:           v.Branch,
		ID:               v.ID,
		Source:           v.Origin,
		Labels:           v.Labels,
		State:            v.State,
		ExpectedObjects:  v.ExpectedObjects,
		Progress:         known(v.Progress()),
		ObjectsPerSecond: known(v.Throughput()),
		ETASeconds:       known(v.ETA()),
		StartedAt:        v.StartedAt,
		LastStatusAt:     v.StatusAt.UTC(),
		ProgressAt:       v.ProgressAt.UTC(),
		MetarangeID:      v.MetarangeID,
		Error:            v.ErrorMessage,
		Poll:             pollJSON{v.PollSuccess(), v.Poll.Result, v.Poll.At.UTC(), v.Poll.Message},
	}
	if v.Seen() {
		j.IngestedObjects = &v.IngestedObjects
		j.UpdatedAt = &v.UpdateTime
	}
	if t, ok := v.FinishedAt(); ok {
		j.FinishedAt = &t
	}
	if v.CommitID != "" {
		j.Commit = &commitJSON{ID: v.CommitID, URL: v.CommitURL()}
	}
	return json.Marshal(j)
}

// known returns a pointer to f, rounded to four decimals, if ok.
func known(f float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	f = math.Round(f*1e4) / 1e4
	return &f
}
