package collector

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"lakefs_import_exporter/lakefs"
)

// watchlist is what is watched, and what is remembered of it. It is safe for
// concurrent use, and never keeps its lock over a request or a write to disk.
type watchlist struct {
	counters  importCounters
	block     func(*Import) string // renders the labels of an import's series
	started   time.Time            // when the exporter was started
	retention time.Duration        // how long a departed import is remembered

	mu         sync.RWMutex
	wanted     map[Origin]map[Key]*Import // of all origins but the API
	registered map[Key]*Registration
	vanished   map[Key]time.Time // discovered imports that are not found any more, and since when
	entries    map[Key]*entry
	sorted     []*entry // by Key

	// departed are imports that are not watched now.
	departed map[Key]*entry
	// durable is set if there is a Store.
	durable bool
}

// entry is one watched import.
type entry struct {
	*description
	seen    *Observation // never nil, and never changed: a poll makes a new one
	state   State        // of seen
	poll    Poll
	samples []sample
	// polledAt is when the newest request for the import ended: the longest ago
	// is polled first.
	polledAt time.Time
	// unsaved is set while seen is not stored.
	unsaved bool
}

// description is what does not change from poll to poll. It is not changed.
type description struct {
	*Import
	origin    Origin
	startedAt time.Time // by lakeFS's clock; zero if the ID does not tell
	block     string
}

// unseen is the observation of an import that was never seen.
var unseen = &Observation{}

// importCounters count imports. They are called with the watchlist's lock held.
type importCounters interface {
	// watched is told of every repository with an import that is watched.
	watched(server, repository string)
	// finished is told once of every import that finished, and how long it took;
	// -1 if its start is not known.
	finished(server, repository string, outcome lakefs.Outcome, objects int64, took time.Duration)
}

func newWatchlist(started time.Time, counters importCounters, block func(*Import) string) *watchlist {
	return &watchlist{
		counters:   counters,
		block:      block,
		started:    started,
		wanted:     map[Origin]map[Key]*Import{},
		registered: map[Key]*Registration{},
		vanished:   map[Key]time.Time{},
		entries:    map[Key]*entry{},
		departed:   map[Key]*entry{},
	}
}

// set replaces what an origin wants. What stays watched keeps its memory.
func (w *watchlist) set(origin Origin, imports []Import) {
	wanted := make(map[Key]*Import, len(imports))
	for _, imp := range imports { // a copy of each, or one would keep them all in memory
		wanted[imp.Key] = &imp
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replace(origin, wanted)
}

// setDiscovered replaces what was discovered on a server; d is nil if it has no
// discovery any more. An unfinished import that is not found any more stays for
// the retention, so that its end is told, unless d does not want it.
func (w *watchlist) setDiscovered(server string, d Discovery, found []Import, now time.Time) {
	wanted := make(map[Key]*Import, len(found))
	for _, imp := range found { // a copy of each, see set
		wanted[imp.Key] = &imp
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	vanished := map[Key]time.Time{}
	for key := range w.vanished {
		if key.Server != server {
			vanished[key] = w.vanished[key]
		}
	}
	for key, imp := range w.wanted[FromDiscovery] {
		if key.Server != server {
			wanted[key] = imp
		}
	}
	if d != nil {
		for _, key := range w.unfinished(server, wanted, max(len(found), minVanished), now) {
			since := cmp.Or(w.vanished[key], now)
			if imp, ok := d.Describe(key.Repository, key.ID); ok && now.Sub(since) < w.retention {
				wanted[key], vanished[key] = &imp, since
			}
		}
	}
	w.vanished = vanished
	w.replace(FromDiscovery, wanted)
}

// minVanished is how many unfinished imports that are not found any more can
// stay at least; at most as many as are found.
const minVanished = 1000

// unfinished returns the imports of a server that were discovered, or that were
// watched before a restart, are not wanted and have not finished: the newest
// ones by their xids, limit at most. The lock is held.
func (w *watchlist) unfinished(server string, wanted map[Key]*Import, limit int, now time.Time) []Key {
	var keys []Key
	for key := range w.wanted[FromDiscovery] {
		if e := w.entries[key]; key.Server == server && wanted[key] == nil && e != nil && !e.seen.Finished() {
			keys = append(keys, key)
		}
	}
	for key, e := range w.departed {
		restored := e.description == nil
		if key.Server == server && restored && wanted[key] == nil && e.seen.Seen() && !e.seen.Finished() && now.Sub(e.seen.StatusAt) < w.retention {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(b.ID, a.ID) })
	return keys[:min(len(keys), limit)]
}

// replace makes wanted what an origin wants, with the lock held.
func (w *watchlist) replace(origin Origin, wanted map[Key]*Import) {
	before := w.wanted[origin]
	w.wanted[origin] = wanted
	for key := range before {
		if wanted[key] == nil {
			w.update(key)
		}
	}
	for key := range wanted {
		w.update(key)
	}
	w.sort()
}

// restore brings back what was stored.
func (w *watchlist) restore(registrations []Registration, observations []Observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.durable = true
	for _, o := range observations {
		w.departed[o.Key] = &entry{seen: &o.Observation}
	}
	for _, r := range registrations {
		w.registered[r.Key] = &r
		w.update(r.Key)
	}
	w.sort()
}

// want returns the import of key that is to be watched, if any.
func (w *watchlist) want(key Key) (*Import, Origin) {
	for _, origin := range origins {
		if r := w.registered[key]; r != nil && origin == FromAPI {
			return &r.Import, origin
		}
		if imp := w.wanted[origin][key]; imp != nil {
			return imp, origin
		}
	}
	return nil, ""
}

// update makes the entry of key what is wanted, with the lock held. The caller
// sorts.
func (w *watchlist) update(key Key) {
	e := w.entries[key]
	imp, origin := w.want(key)
	switch {
	case imp == nil && e == nil:
	case imp == nil:
		delete(w.entries, key)
		w.depart(key, e)
	case e == nil:
		if e = w.departed[key]; e == nil {
			e = &entry{seen: unseen}
		}
		delete(w.departed, key)
		w.describe(e, imp, origin)
		w.entries[key] = e
		w.counters.watched(key.Server, key.Repository)
	case e.origin != origin || !e.equal(imp):
		w.describe(e, imp, origin)
	}
}

// depart remembers what was seen of an import that is not watched any more, with
// the lock held. One that has finished is counted: there is no second answer to
// wait for.
func (w *watchlist) depart(key Key, e *entry) {
	if *e.seen == (Observation{}) {
		return
	}
	if e.seen.countable(w.started, w.retention) {
		if e.unsaved = true; !w.durable {
			e.seen = w.count(key, e.seen)
		}
	}
	w.departed[key] = e
}

// sort brings sorted up to date with the entries.
func (w *watchlist) sort() {
	w.sorted = slices.SortedFunc(maps.Values(w.entries), func(a, b *entry) int { return compareKeys(a.Key, b.Key) })
}

// sortOne is sort after a change of key alone.
func (w *watchlist) sortOne(key Key) {
	at, there := slices.BinarySearchFunc(w.sorted, key, func(e *entry, k Key) int { return compareKeys(e.Key, k) })
	e := w.entries[key]
	switch {
	case e != nil && !there:
		w.sorted = slices.Insert(w.sorted, at, e)
	case e == nil && there:
		w.sorted = slices.Delete(w.sorted, at, at+1)
	}
}

// describe makes e an entry of imp.
func (w *watchlist) describe(e *entry, imp *Import, origin Origin) {
	e.description = &description{Import: imp, origin: origin, block: w.block(imp)}
	e.startedAt, _ = lakefs.StartTime(imp.ID)
	e.observe(e.seen)
}

// observe makes seen what is known of e.
func (e *entry) observe(seen *Observation) {
	e.seen, e.state = seen, stateOf(seen, e.NoProgressAfter, e.ExpectedObjects)
}

// register adds or replaces a registered import. It returns whether the import
// was not watched before.
func (w *watchlist) register(r *Registration) (created bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	created = w.entries[r.Key] == nil
	w.registered[r.Key] = r
	w.update(r.Key)
	w.sortOne(r.Key)
	return created
}

// unregister removes registered imports, and what was seen of those that no
// other origin wants.
func (w *watchlist) unregister(keys []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.registered, key)
		w.update(key)
		w.sortOne(key)
		if e := w.entries[key]; e != nil {
			e.unsaved = true // it was removed from the Store
		}
		// One that has finished is remembered, so that it is counted just once.
		if e := w.departed[key]; e != nil && e.seen.Finished() {
			e.unsaved = true
		} else {
			delete(w.departed, key)
		}
	}
}

// registration returns the registration of key, or nil, and how many there are.
func (w *watchlist) registration(key Key) (r *Registration, all int) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.registered[key], len(w.registered)
}

// find returns the description of a watched import, or nil.
func (w *watchlist) find(key Key) *description {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if e := w.entries[key]; e != nil {
		return e.description
	}
	return nil
}

// hasServer reports whether imports of a server are watched.
func (w *watchlist) hasServer(name string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.ContainsFunc(w.sorted, func(e *entry) bool { return e.Server == name })
}

// due returns the imports of a server that need a poll, in the order in which
// they need it: those that were not polled for the longest time first, and of
// those never polled the newest. Discovered ones of which nothing is known yet,
// which may be a day's backlog, take turns with the others.
func (w *watchlist) due(server string) []lakefs.Ref {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var known, backlog []*entry
	for _, e := range w.sorted {
		switch {
		case e.Server != server || e.seen.Confirmed:
		case e.origin == FromDiscovery && !e.seen.Seen():
			backlog = append(backlog, e)
		default:
			known = append(known, e)
		}
	}
	for _, entries := range [][]*entry{known, backlog} {
		slices.SortStableFunc(entries, func(a, b *entry) int {
			if c := a.polledAt.Compare(b.polledAt); c != 0 {
				return c
			}
			return b.startedAt.Compare(a.startedAt)
		})
	}
	due := make([]lakefs.Ref, 0, len(known)+len(backlog))
	for i := range max(len(known), len(backlog)) {
		for _, entries := range [][]*entry{known, backlog} {
			if i < len(entries) {
				due = append(due, entries[i].Ref())
			}
		}
	}
	return due
}

// dueOne returns the name of a watched import, and false if it needs no poll.
func (w *watchlist) dueOne(key Key) (lakefs.Ref, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	e := w.entries[key]
	if e == nil || e.seen.Confirmed {
		return lakefs.Ref{}, false
	}
	return e.Ref(), true
}

// record remembers how a poll of an import ended, with the status if it
// succeeded. An import that is not watched, or has finished for good, is left
// alone. again is set for a poll that ended before: it is of use only to an
// import that was not watched then.
func (w *watchlist) record(key Key, p Poll, status *lakefs.ImportStatus, again bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[key]
	if e == nil || e.seen.Confirmed || again && !e.poll.At.IsZero() {
		return
	}
	if e.poll = p; p.Result != resultRateLimited { // which says nothing about this import
		e.polledAt = p.At
	}
	switch p.Result {
	case resultSuccess:
		e.observe(e.seen.withStatus(status, p.At))
		e.samples = appendSample(e.samples, sample{at: p.At, objects: e.seen.IngestedObjects})
	case resultNotFound:
		e.observe(e.seen.withNotFound(p.At))
	default:
		return
	}
	e.unsaved = true
	if e.seen.Confirmed {
		e.samples = nil
	}
	if !w.durable && e.seen.Confirmed && e.seen.countable(w.started, w.retention) {
		e.seen = w.count(e.Key, e.seen)
	}
}

// count counts a finished import and returns what is known of it from now on,
// with the lock held.
func (w *watchlist) count(key Key, seen *Observation) *Observation {
	took := time.Duration(-1)
	if startedAt, ok := lakefs.StartTime(key.ID); ok {
		took = max(0, seen.UpdateTime.Sub(startedAt))
	}
	w.counters.finished(key.Server, key.Repository, seen.Outcome, max(0, seen.IngestedObjects), took)
	counted := *seen
	counted.Counted = true
	return &counted
}

// skip remembers of an import that a scrape that began at the time begin could
// not wait for its poll, unless there was one since.
func (w *watchlist) skip(keys []Key, begin time.Time, p Poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if e := w.entries[key]; e != nil && !e.seen.Confirmed && e.poll.At.Before(begin) {
			e.poll = p
		}
	}
}

// setUnpolled notes of imports that they are not polled because their server is
// not configured, and returns how many there are of each such server.
func (w *watchlist) setUnpolled(configured func(server string) bool, now time.Time) map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	unpolled := map[string]int{}
	for _, e := range w.sorted {
		if !configured(e.Server) {
			unpolled[e.Server]++
			e.poll = Poll{At: now, Message: "not polled: the server is not configured"}
		} else {
			w.counters.watched(e.Server, e.Repository) // the series may have left with the server
		}
	}
	return unpolled
}

// unsaved returns the observations that are not stored as they are, by Key: of
// finished and of departed imports, and if all is set, of the others too.
func (w *watchlist) unsaved(all bool) []Observed {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var unsaved []Observed
	add := func(key Key, seen *Observation, final bool) {
		o := Observed{key, *seen}
		o.Counted = o.Counted || final && o.countable(w.started, w.retention)
		unsaved = append(unsaved, o)
	}
	for _, e := range w.sorted {
		if e.unsaved && (all || e.seen.Finished()) {
			add(e.Key, e.seen, e.seen.Confirmed)
		}
	}
	watched := len(unsaved)
	for key, e := range w.departed {
		if e.unsaved {
			add(key, e.seen, true)
		}
	}
	if len(unsaved) > watched {
		slices.SortFunc(unsaved, func(a, b Observed) int { return compareKeys(a.Key, b.Key) })
	}
	return unsaved
}

// saved notes that observations are stored, and counts the finished imports
// among them: not before, or a restart might count them again.
func (w *watchlist) saved(observations []Observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range observations {
		o := &observations[i]
		e := cmp.Or(w.entries[o.Key], w.departed[o.Key])
		if e == nil {
			continue
		}
		if o.Counted && !e.seen.Counted {
			e.seen = w.count(o.Key, e.seen)
		}
		e.unsaved = *e.seen != o.Observation
	}
}

// outdated returns the registered imports that have been of no use for
// retention, and the departed imports that are as old.
func (w *watchlist) outdated(now time.Time, retention time.Duration) (registered, departed []Key) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for key, r := range w.registered {
		seen := unseen
		if e := w.entries[key]; e != nil {
			seen = e.seen
		}
		if now.Sub(seen.usefulUntil(r.At, retention)) >= 0 {
			registered = append(registered, key)
		}
	}
	for key, e := range w.departed {
		if now.Sub(e.seen.usefulUntil(time.Time{}, retention)) >= 0 {
			departed = append(departed, key)
		}
	}
	return registered, departed
}

// usefulUntil returns when what is known of an import can be dropped: retention
// after it finished or lakeFS began not to know it, and seven times that after
// the last sign of it.
func (o *Observation) usefulUntil(registeredAt time.Time, retention time.Duration) time.Time {
	const patience = 7
	switch {
	case o.Finished():
		return o.StatusAt.Add(retention)
	case !o.NotFoundSince.IsZero():
		return o.NotFoundSince.Add(retention)
	case o.Seen():
		return o.StatusAt.Add(patience * retention)
	default:
		return registeredAt.Add(patience * retention)
	}
}

// forget drops what was seen of departed imports.
func (w *watchlist) forget(keys []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.departed, key)
		if e := w.entries[key]; e != nil {
			e.unsaved = true // it came back, and was removed from the Store
		}
	}
}

// views returns how every import stands at the time now, by Key.
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
func (w *watchlist) view(key Key, now time.Time, client *lakefs.Client) (v ImportView, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	e := w.entries[key]
	if e == nil {
		return v, false
	}
	e.view(&v, now, client)
	return v, true
}

func (e *entry) view(v *ImportView, now time.Time, client *lakefs.Client) {
	*v = ImportView{
		Import:      e.Import,
		Observation: e.seen,
		Origin:      e.origin,
		State:       e.state,
		Poll:        e.poll,
		StartedAt:   e.startedAt,
		block:       e.block,
		now:         now,
		client:      client,
	}
	if !e.seen.Finished() {
		v.recent, v.recentKnown = recentThroughput(e.samples, now)
	}
}
