package collector

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"lakefs_import_exporter/lakefs"
)

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

// due returns a server's repositories: those that were not polled for the longest
// time first.
func (l *repositoryList) due(server string) (due []lakefs.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := slices.SortedFunc(maps.Values(l.entries), func(a, b *repositoryEntry) int {
		return cmp.Or(a.at.Compare(b.at), compareKeys(a.key(), b.key()))
	})
	for _, e := range entries {
		if e.Server == server {
			due = append(due, lakefs.Ref{Repository: e.Name})
		}
	}
	return due
}

// record remembers how a poll of a repository ended, and when the newest import
// was committed. A failed poll, and one that knows of no import, loses nothing.
func (l *repositoryList) record(key Key, p Poll, lastImport time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[key]; e != nil && e.record(p) {
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
