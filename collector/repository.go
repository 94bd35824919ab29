package collector

import (
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs"
)

// Repository is a repository whose newest import is to be watched, whoever
// started it. Whoever makes one calls Validate before handing it on.
type Repository struct {
	Server string
	Name   string
	// MaxImportAge is how old the newest import may get; 0 if nobody says.
	MaxImportAge time.Duration
	// Labels are added to every series of the repository.
	Labels map[string]string
}

// Validate reports the first thing about r that would make a bad request to
// lakeFS or a bad series. It does not know which servers exist.
func (r Repository) Validate() error {
	if err := lakefs.ValidateRepository(r.Name); err != nil {
		return err
	}
	if r.MaxImportAge < 0 {
		return fmt.Errorf("max_import_age %s: must be positive", r.MaxImportAge)
	}
	return ValidateLabels(r.Labels)
}

// RepositoryView is how fresh a repository is.
type RepositoryView struct {
	Repository
	// LastImport is when the newest successful import was committed, by
	// lakeFS's clock, to the second; zero if there was none or it is not known.
	LastImport time.Time

	labels []*dto.LabelPair
}

// repositoryEntry is one watched repository.
type repositoryEntry struct {
	RepositoryView
	polledAt time.Time
}

// repositoryKey names a repository where others name an import.
func repositoryKey(r Repository) Key {
	return Key{Server: r.Server, Ref: lakefs.Ref{Repository: r.Name}}
}

// setRepositories replaces the watched repositories. What stays watched keeps
// its memory.
func (w *watchlist) setRepositories(repositories []Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	entries := make(map[Key]*repositoryEntry, len(repositories))
	for _, r := range repositories {
		e := &repositoryEntry{}
		if old, ok := w.repositories[repositoryKey(r)]; ok {
			*e = *old
		}
		e.Repository = r
		e.labels = labelPairs{}.sorted(r.Labels, labelPair("repository", r.Name), labelPair("server", r.Server))
		entries[repositoryKey(r)] = e
	}
	w.repositories = entries
}

// dueRepositories returns the repositories of a server that may have news, and
// how many it has.
func (w *watchlist) dueRepositories(server string, now time.Time) (due []Key, all int) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for key, e := range w.repositories {
		if key.Server != server {
			continue
		}
		all++
		if isDue(e.polledAt, now) {
			due = append(due, key)
		}
	}
	return due, all
}

// recordLastImport remembers the answer for a repository. A failed one, and one
// that knows of no import, loses nothing.
func (w *watchlist) recordLastImport(key Key, at, lastImport time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.repositories[key]
	if !ok {
		return
	}
	e.polledAt = at
	if !lastImport.IsZero() {
		e.LastImport = lastImport
	}
}

// repositoryViews returns how fresh every repository is.
func (w *watchlist) repositoryViews() []RepositoryView {
	w.mu.RLock()
	defer w.mu.RUnlock()
	views := make([]RepositoryView, 0, len(w.repositories))
	for _, key := range sortedKeys(w.repositories) {
		views = append(views, w.repositories[key].RepositoryView)
	}
	return views
}
