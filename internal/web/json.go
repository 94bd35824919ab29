package web

import (
	"encoding/json"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/filter"
)

// serverJSON is a server as the API has it.
type serverJSON struct {
	Name       string `json:"name"`
	URL        string `json:"url"`
	Up         bool   `json:"up"`
	Authorized bool   `json:"authorized"`
	// DownSince and UnauthorizedSince are left out unless it is so now.
	DownSince         time.Time `json:"down_since,omitzero"`
	UnauthorizedSince time.Time `json:"unauthorized_since,omitzero"`
	Polls             pollsJSON `json:"polls"`
	// ClockSkew may be known and zero.
	ClockSkew   *float64  `json:"clock_skew_seconds,omitempty"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Discovery is left out where the server has none.
	Discovery *discoveryJSON `json:"discovery,omitempty"`
}

// pollsJSON are the requests of the newest scrape as the API has them.
type pollsJSON struct {
	Sent    int                      `json:"sent"`
	Failed  map[collector.Result]int `json:"failed,omitempty"`
	Message string                   `json:"message,omitempty"` // of one that failed
}

// discoveryJSON is the discovery of a server as the API has it.
type discoveryJSON struct {
	LastSuccessAt time.Time `json:"last_success_at,omitzero"`
	Imports       int       `json:"imports"`
	Dropped       int       `json:"dropped_imports"`
	Error         string    `json:"error,omitempty"`
}

func newServerJSON(v *collector.ServerView) serverJSON {
	j := serverJSON{
		Name:              v.Name,
		URL:               v.URL,
		Up:                v.Up,
		Authorized:        v.Authorized,
		DownSince:         v.DownSince.UTC(),
		UnauthorizedSince: v.UnauthorizedSince.UTC(),
		Polls:             pollsJSON{v.Polls, v.Failures, v.FailureExample},
		ClockSkew:         rounded(v.ClockSkew.Seconds(), v.ClockSkewKnown),
		PausedUntil:       v.PausedUntil,
	}
	if d := v.Discovery; d != nil {
		j.Discovery = &discoveryJSON{d.LastSuccess.UTC(), d.Found, d.Dropped, d.Error}
	}
	return j
}

// repositoryJSON is a repository as the API has it.
type repositoryJSON struct {
	Server       string            `json:"server"`
	Repository   string            `json:"repository"`
	Labels       map[string]string `json:"labels,omitempty"`
	LastImportAt time.Time         `json:"last_import_at,omitzero"`
	MaxImportAge float64           `json:"max_import_age_seconds,omitempty"`
	Poll         pollJSON          `json:"poll"`
}

func newRepositoryJSON(v *collector.RepositoryView) repositoryJSON {
	return repositoryJSON{
		Server:       v.Server,
		Repository:   v.Name,
		Labels:       v.Labels,
		LastImportAt: v.LastImport.UTC(),
		MaxImportAge: v.MaxImportAge.Seconds(),
		Poll:         newPollJSON(v.PollSuccess(), v.Poll),
	}
}

// importJSON is an import as the API has it. What is not known is left out:
// hence the pointers, for what may be known and zero.
type importJSON struct {
	Server           string            `json:"server"`
	Repository       string            `json:"repository"`
	Branch           string            `json:"branch"`
	ID               string            `json:"import_id"`
	Source           string            `json:"source"`
	Labels           map[string]string `json:"labels,omitempty"`
	State            collector.State   `json:"state"`
	IngestedObjects  *int64            `json:"ingested_objects,omitempty"`
	ExpectedObjects  int64             `json:"expected_objects,omitempty"`
	Progress         *float64          `json:"progress,omitempty"`
	ObjectsPerSecond *float64          `json:"objects_per_second,omitempty"`
	ETASeconds       *float64          `json:"eta_seconds,omitempty"`
	StartedAt        time.Time         `json:"started_at,omitzero"`
	UpdatedAt        time.Time         `json:"updated_at,omitzero"`
	LastStatusAt     time.Time         `json:"last_status_at,omitzero"`
	ProgressAt       time.Time         `json:"progress_at,omitzero"`
	FinishedAt       time.Time         `json:"finished_at,omitzero"`
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
	Success bool             `json:"success"`
	Result  collector.Result `json:"result,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Message string           `json:"message,omitempty"`
}

func newImportJSON(v *collector.ImportView) importJSON {
	j := importJSON{
		Server:           v.Server,
		Repository:       v.Repository,
		Branch:           v.Branch,
		ID:               v.ID,
		Source:           v.Origin.String(),
		Labels:           v.Labels,
		State:            v.State,
		ExpectedObjects:  v.ExpectedObjects,
		Progress:         rounded(v.Progress()),
		ObjectsPerSecond: rounded(v.Throughput()),
		ETASeconds:       rounded(v.ETA()),
		StartedAt:        v.StartedAt,
		UpdatedAt:        v.UpdateTime,
		LastStatusAt:     v.StatusAt.UTC(),
		ProgressAt:       v.ProgressAt.UTC(),
		MetarangeID:      v.MetarangeID,
		Error:            v.ErrorMessage,
		Poll:             newPollJSON(v.PollSuccess(), v.Poll),
	}
	if v.Seen() {
		j.IngestedObjects = &v.IngestedObjects
	}
	if v.Finished() {
		j.FinishedAt = v.UpdateTime
	}
	if v.CommitID != "" {
		j.Commit = &commitJSON{v.CommitID, v.CommitURL()}
	}
	return j
}

func newPollJSON(success bool, p collector.Poll) pollJSON {
	return pollJSON{Success: success, Result: p.Result, At: p.At.UTC(), Message: p.Message}
}

// rounded returns a pointer to f, rounded to four decimals, if ok.
func rounded(f float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	f = math.Round(f*1e4) / 1e4
	return &f
}

// listJSON is a list of imports as the API has it.
type listJSON struct {
	Servers      []serverJSON     `json:"servers"`
	Repositories []repositoryJSON `json:"repositories"`
	Imports      []importJSON     `json:"imports"`
	ImportFiles  []fileJSON       `json:"import_files"`
	// Storage is left out unless it cannot be written.
	Storage *storageJSON `json:"storage,omitempty"`
}

// fileJSON is an import file as the API has it.
type fileJSON struct {
	File  string `json:"file"`
	Error string `json:"error,omitempty"` // why it does not load
}

type storageJSON struct {
	FailingSince time.Time `json:"failing_since"`
	Error        string    `json:"error"`
}

// newListJSON returns what f selects of a snapshot.
func newListJSON(s *collector.Snapshot, f filter.Filter) listJSON {
	list := listJSON{
		Servers:      selected(s.Servers, f.Server, newServerJSON),
		Repositories: selected(s.Repositories, f.Repository, newRepositoryJSON),
		Imports:      selected(s.Imports, f.Import, newImportJSON),
		ImportFiles:  []fileJSON{},
	}
	for _, name := range slices.Sorted(maps.Keys(s.FileErrors)) {
		list.ImportFiles = append(list.ImportFiles, fileJSON{name, s.FileErrors[name]})
	}
	if s.Storage != nil {
		list.Storage = &storageJSON{s.Storage.Since.UTC(), s.Storage.Error}
	}
	return list
}

// selected converts those views that are wanted. It never returns nil, which is
// not a list in JSON.
func selected[View, JSON any](views []View, wanted func(*View) bool, convert func(*View) JSON) []JSON {
	all := []JSON{}
	for i := range views {
		if wanted(&views[i]) {
			all = append(all, convert(&views[i]))
		}
	}
	return all
}

// writeError answers with a message in the format of lakeFS's own API.
func (h *handler) writeError(w http.ResponseWriter, status int, message string) {
	h.writeJSON(w, status, struct {
		Message string `json:"message"`
	}{oneLine(message)})
}

// oneLine makes a sentence of an error with a line for each problem.
func oneLine(message string) string { return strings.ReplaceAll(message, "\n", "; ") }

func (h *handler) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		level.Error(h.Logger).Log("msg", "Failed to encode an answer", "err", err)
		http.Error(w, "The answer could not be encoded.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	_, _ = io.WriteString(w, "\n")
}
