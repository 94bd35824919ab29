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
}

// PollSuccess reports whether the newest poll got an answer. lakeFS not knowing
// the repository is none.
func (v *RepositoryView) PollSuccess() bool { return v.Poll.Result == resultSuccess }

// repositoryList are the watched repositories. They are safe for concurrent use.
type repositoryList struct {
	mu      sync.Mutex
	entries map[Key]*repositoryEntry
}

type repositoryEntry struct {
	*Repository
	polled
	lastImport time.Time
}

// set replaces the watched repositories. What stays watched keeps its memory.
func (l *repositoryList) set(watched []*Repository) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := make(map[Key]*repositoryEntry, len(watched))
	for _, r := range watched {
		entries[r.key()] = cmp.Or(l.entries[r.key()], &repositoryEntry{})
		entries[r.key()].Repository = r
	}
	l.entries = entries
}

// due returns the requests for a server's repositories: those that were not
// polled for the longest time first.
func (l *repositoryList) due(server string) []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []request
	for key := range l.entries {
		if key.Server == server {
			due = append(due, request{Key: key})
		}
	}
	slices.SortFunc(due, func(a, b request) int {
		return cmp.Or(l.entries[a.Key].at.Compare(l.entries[b.Key].at), compareKeys(a.Key, b.Key))
	})
	return due
}

// record remembers how a poll of a repository ended, and when the newest import
// was committed. A failed poll, and one that knows of no import, loses nothing.
// For again see polled.record.
func (l *repositoryList) record(key Key, p Poll, lastImport time.Time, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil && e.record(p, again) {
		e.lastImport = cmp.Or(lastImport, e.lastImport)
	}
}

// skip remembers of repositories that a scrape that began at the time begin
// could not wait for their polls.
func (l *repositoryList) skip(keys []Key, begin time.Time, p Poll) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if e := l.entries[key]; e != nil {
			e.skip(begin, p)
		}
	}
}

// views returns how every repository stands, by server and name.
func (l *repositoryList) views() []RepositoryView {
	l.mu.Lock()
	defer l.mu.Unlock()
	views := make([]RepositoryView, 0, len(l.entries))
	for _, key := range slices.SortedFunc(maps.Keys(l.entries), compareKeys) {
		e := l.entries[key]
		views = append(views, RepositoryView{e.Repository, e.lastImport, e.poll})
	}
	return views
}
