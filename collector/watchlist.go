package collector

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"lakefs_import_exporter/lakefs"
)

// Origin is where an import to watch comes from: a value of the label "source".
type Origin string

// The origins. Where several name the same import, the first of this order holds.
const (
	FromConfig Origin = "config"
	FromFile   Origin = "file"
	FromAPI    Origin = "api"
)

var origins = []Origin{FromConfig, FromFile, FromAPI}

// minPollInterval is how often lakeFS writes the status of an import: a poll
// sooner after another can see nothing new.
const minPollInterval = time.Second

// isDue reports whether what was polled at polledAt may have news.
func isDue(polledAt, now time.Time) bool {
	// A clock that was set back must not hold the polls up.
	age := now.Sub(polledAt)
	return age < 0 || age >= minPollInterval
}

// watchlist is what is watched, and what is remembered of it. It is safe for
// concurrent use, and never holds its lock over a request or a write to disk.
type watchlist struct {
	mu         sync.RWMutex
	static     map[Origin][]Import // of config and files
	registered map[Key]Registration
	entries    map[Key]*entry
	sorted     []*entry // by Key

	// left is what was seen of imports that are not watched now, if it is
	// stored: nil if nothing is.
	left map[Key]Observation

	repositories map[Key]*repositoryEntry

	swept time.Time // when hold last dropped what nobody holds
}

// entry is one watched import.
type entry struct {
	Import
	origin    Origin
	startedAt time.Time // zero if the ID does not tell
	// labels are those of every series of the import, sorted by name. They are
	// shared with the snapshots: whoever changes them makes new ones.
	labels []*dto.LabelPair

	observation Observation
	poll        Poll
	samples     []sample
	// polledAt is when the newest poll that was given its time ended. It says
	// who is polled first, and who need not be polled again yet.
	polledAt time.Time
	// cut is set if the newest poll was ended by the deadline of a scrape.
	cut bool
	// unsaved is set if the observation is not stored as it is.
	unsaved bool
	// holders are how many probes wait for it.
	holders int
}

func newWatchlist() *watchlist {
	return &watchlist{
		static:     map[Origin][]Import{},
		registered: map[Key]Registration{},
		entries:    map[Key]*entry{},
	}
}

// set replaces what config or files want. What stays watched keeps its memory.
func (w *watchlist) set(static map[Origin][]Import) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.static, static)
	w.rebuild()
}

func (w *watchlist) find(key Key) (int, bool) {
	return slices.BinarySearchFunc(w.sorted, key, func(e *entry, k Key) int { return compareKeys(e.Key, k) })
}

// rebuild makes the entries of what is wanted, with the lock held.
func (w *watchlist) rebuild() {
	old := w.entries
	w.entries = make(map[Key]*entry, len(old))
	shared := labelPairs{}
	add := func(imp Import, origin Origin) {
		if _, ok := w.entries[imp.Key]; ok {
			return
		}
		e, ok := old[imp.Key]
		if !ok {
			e = w.newEntry(imp.Key)
		}
		delete(old, imp.Key)
		e.describe(imp, origin, shared)
		w.entries[imp.Key] = e
	}
	for _, origin := range []Origin{FromConfig, FromFile} {
		for _, imp := range w.static[origin] {
			add(imp, origin)
		}
	}
	for _, r := range w.registered {
		add(r.Import, FromAPI)
	}
	for key, e := range old {
		if w.left != nil && e.observation != (Observation{}) {
			w.left[key] = e.observation
		}
	}
	w.sorted = slices.SortedFunc(maps.Values(w.entries), func(a, b *entry) int { return compareKeys(a.Key, b.Key) })
}

// newEntry returns an entry with the memory of key, if there is any.
func (w *watchlist) newEntry(key Key) *entry {
	e := &entry{observation: w.left[key]}
	delete(w.left, key)
	return e
}

func (e *entry) describe(imp Import, origin Origin, shared labelPairs) {
	e.Import, e.origin = imp, origin
	e.startedAt, _ = imp.StartTime()
	e.labels = shared.sorted(imp.Labels,
		shared.get("branch", imp.Branch),
		labelPair("import_id", imp.ID),
		shared.get("repository", imp.Repository),
		shared.get("server", imp.Server),
	)
}

// due returns the imports of a server whose status may have changed since it
// was last asked for, those that have waited longest first, and how many of
// its imports are not finished.
func (w *watchlist) due(server string, now time.Time) (keys []Key, unfinished int) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var due []*entry
	for _, e := range w.sorted {
		if e.Server != server || e.observation.Finished() {
			continue
		}
		unfinished++
		if isDue(e.polledAt, now) {
			due = append(due, e)
		}
	}
	slices.SortStableFunc(due, func(a, b *entry) int { return a.polledAt.Compare(b.polledAt) })
	keys = make([]Key, len(due))
	for i, e := range due {
		keys[i] = e.Key
	}
	return keys, unfinished
}

// isDue is due for one import. It returns false for one that is not watched.
func (w *watchlist) isDue(key Key, now time.Time) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	e, ok := w.entries[key]
	return ok && !e.observation.Finished() && isDue(e.polledAt, now)
}

// views returns how every import stands at the time now, by Key. The clients
// are those of the servers, by name.
func (w *watchlist) views(now time.Time, clients map[string]*lakefs.Client) []ImportView {
	w.mu.RLock()
	defer w.mu.RUnlock()
	views := make([]ImportView, len(w.sorted))
	for i, e := range w.sorted {
		e.view(&views[i], now, clients[e.Server])
	}
	return views
}

// view is views for one import. It returns false for one that is not watched.
func (w *watchlist) view(key Key, now time.Time, client *lakefs.Client) (ImportView, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var v ImportView
	e, ok := w.entries[key]
	if ok {
		e.view(&v, now, client)
	}
	return v, ok
}

func (e *entry) view(v *ImportView, now time.Time, client *lakefs.Client) {
	*v = ImportView{
		Import:      e.Import,
		Observation: e.observation,
		Origin:      e.origin,
		State:       stateOf(e.Import, e.observation),
		Poll:        e.poll,
		StartedAt:   e.startedAt,
		now:         now,
		client:      client,
		labels:      e.labels,
	}
	v.throughput, v.throughputKnown = throughput(e.observation, e.startedAt, e.samples, now)
}

// record remembers how a poll ended, at the time at: with a status or with an
// error. What is not watched any more, or has finished, is left alone.
func (w *watchlist) record(key Key, at time.Time, status *lakefs.ImportStatus, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[key]
	if !ok || e.observation.Finished() {
		return
	}
	e.polledAt, e.cut = at, false
	before := e.observation
	if err == nil {
		e.poll = Poll{Result: resultSuccess, At: at}
		e.observation = before.withStatus(status, at)
		e.samples = appendSample(e.samples, sample{at: at, objects: e.observation.IngestedObjects})
	} else {
		result := resultOf(err)
		e.poll = Poll{Result: result, At: at, Message: oneLine(err.Error())}
		if result == resultNotFound {
			e.observation = before.withNotFound(at)
		}
	}
	e.unsaved = e.unsaved || e.observation != before
}

// recordCut remembers that a poll was ended by the deadline of a scrape. The
// import is first in the next round, unless that has happened to it twice in a
// row: imports that take for ever must not keep the others waiting for ever.
func (w *watchlist) recordCut(key Key, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[key]
	if !ok || e.observation.Finished() {
		return
	}
	if e.cut {
		e.polledAt = at
	}
	e.cut = !e.cut
	e.poll = Poll{Result: resultTimeout, At: at, Message: "no answer before the scrape's deadline"}
}

// recordSkipped remembers that nothing was sent for an import, and why.
func (w *watchlist) recordSkipped(key Key, p Poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.entries[key]; ok && !e.observation.Finished() {
		e.poll = p
	}
}

// hasServer reports whether imports of a server are watched.
func (w *watchlist) hasServer(name string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.ContainsFunc(w.sorted, func(e *entry) bool { return e.Server == name })
}

// setUnpolled notes of imports that they are not polled because their server is
// none of configured, and returns how many there are of each server.
func (w *watchlist) setUnpolled(configured []string, now time.Time) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	unpolled := map[string]int{}
	for _, e := range w.sorted {
		if slices.Contains(configured, e.Server) {
			continue
		}
		unpolled[e.Server]++
		e.poll = Poll{At: now, Message: fmt.Sprintf("not polled: server %q is not configured", e.Server)}
	}
	return unpolled
}

const (
	resultNotFound    = Result("not_found")
	resultRateLimited = Result("rate_limited")
	resultTimeout     = Result("timeout")
)

// resultOf returns the result of a poll that ended with err.
func resultOf(err error) Result {
	var lerr *lakefs.Error
	if errors.As(err, &lerr) {
		return Result(lerr.Kind.String())
	}
	return Result(lakefs.Connection.String())
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(m), compareKeys)
}
