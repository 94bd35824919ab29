package collector

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"lakefs_import_exporter/lakefs"
)

// Repository is a repository whose newest import is to be watched, no matter
// who started it. Callers validate it before they hand it to this package.
type Repository struct {
	Server string
	Name   string
	// MaxImportAge is how old the newest import may get; 0 if unlimited.
	MaxImportAge time.Duration
	// Labels are added to every series of the repository.
	Labels map[string]string
}

// Validate reports the first thing about r that would make a bad request to
// lakeFS or a bad series. It does not know which servers exist.
func (r *Repository) Validate() error {
	if err := lakefs.ValidateRepository(r.Name); err != nil {
		return err
	}
	if r.MaxImportAge < 0 {
		return fmt.Errorf("max_import_age %s: must be positive", r.MaxImportAge)
	}
	return ValidateLabels(r.Labels)
}

func (r *Repository) key() Key { return Key{Server: r.Server, Repository: r.Name} }

// RepositoryView is how a watched repository stands.
type RepositoryView struct {
	*Repository
	// LastImport is when the newest successful import was committed, by
	// lakeFS's clock, to the second; zero if there was none or it is not known.
	LastImport time.Time
	Poll       Poll
	polledAt   time.Time // as an entry's
}

// PollSuccess reports whether the newest poll got an answer. lakeFS not knowing
// the repository is none.
func (v *RepositoryView) PollSuccess() bool { return v.Poll.Result == resultSuccess }

// repositoryList are the watched repositories. They are safe for concurrent use.
type repositoryList struct {
	mu      sync.RWMutex
	entries map[Key]*RepositoryView
}

// set replaces the watched repositories. What stays watched keeps its memory.
func (r *repositoryList) set(watched []Repository) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries := make(map[Key]*RepositoryView, len(watched))
	for i := range watched {
		v := &RepositoryView{}
		if old := r.entries[watched[i].key()]; old != nil {
			*v = *old
		}
		v.Repository = &watched[i]
		entries[v.key()] = v
	}
	r.entries = entries
}

// due returns the names of a server's repositories: those that were not polled for
// the longest time first.
func (r *repositoryList) due(server string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var due []string
	for key := range r.entries {
		if key.Server == server {
			due = append(due, key.Repository)
		}
	}
	slices.SortFunc(due, func(a, b string) int {
		return cmp.Or(r.entries[Key{Server: server, Repository: a}].polledAt.Compare(r.entries[Key{Server: server, Repository: b}].polledAt), cmp.Compare(a, b))
	})
	return due
}

// record remembers how a poll of a repository ended, and when the newest import
// was committed. A failed poll, and one that knows of no import, loses nothing.
// again is set for a poll that ended before: it is of use only to a repository
// that was not watched then.
func (r *repositoryList) record(key Key, p Poll, lastImport time.Time, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.entries[key]
	if v == nil || again && !v.Poll.At.IsZero() {
		return
	}
	if v.Poll = p; p.Result != resultRateLimited {
		v.polledAt = p.At
	}
	if !lastImport.IsZero() {
		v.LastImport = lastImport
	}
}

// skip is watchlist.skip for repositories.
func (r *repositoryList) skip(keys []Key, begin time.Time, p Poll) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if v := r.entries[key]; v != nil && v.Poll.At.Before(begin) {
			v.Poll = p
		}
	}
}

// views returns how every repository stands, by server and name.
func (r *repositoryList) views() []RepositoryView {
	r.mu.RLock()
	defer r.mu.RUnlock()
	views := make([]RepositoryView, 0, len(r.entries))
	for _, key := range slices.SortedFunc(maps.Keys(r.entries), compareKeys) {
		views = append(views, *r.entries[key])
	}
	return views
}
