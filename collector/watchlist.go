package collector

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"lakefs_import_exporter/lakefs"
)

// watchlist is what is watched, imports and repositories, and what is remembered
// of it. It is safe for concurrent use, and never keeps its lock over a request or
// a write to the Store or the log.
type watchlist struct {
	now       func() time.Time
	logger    log.Logger
	counters  *counters
	shard     Shard
	started   time.Time     // when the exporter was started
	retention time.Duration // of Options
	durable   bool          // whether there is a Store

	mu           sync.Mutex
	entries      map[Key]*entry      // of imports that are watched, or that were and are remembered
	sorted       []*entry            // those that are watched, by Key; nil if it has to be made anew
	repositories map[Key]*repository // that are watched
	remembered   map[Key]bool        // repositories of entries
	lines        []line              // to be logged
}

// line is a line of the log about an import.
type line struct {
	Key
	fields []any
}

// log has a line about an import logged, with the lock held.
func (w *watchlist) log(key Key, fields ...any) { w.lines = append(w.lines, line{key, fields}) }

// unlock unlocks w, and only then logs: a log that hangs must not delay scrapes.
func (w *watchlist) unlock() {
	lines := w.lines
	w.lines = nil
	w.mu.Unlock()
	for _, l := range lines {
		level.Info(l.logger(w.logger)).Log(l.fields...)
	}
}

// entry is one import: why it is watched, and what is remembered of it.
type entry struct {
	*Import        // as it is watched; nil if it is not
	block   string // of its series

	wanted       [len(origins)]*Import // by Origin
	registeredAt time.Time             // of what the API wants

	polled
	seen    *Observation // never nil, and never changed: a poll makes a new one
	samples []sample

	origin   Origin
	restored bool // from the Store, and not watched since
	unsaved  bool // whether seen is not stored
}

// newEntry returns the entry of an import that was never seen.
func newEntry() *entry { return &entry{seen: unseen} }

// describe makes imp how the import is watched.
func (e *entry) describe(imp *Import) {
	if e.Import == nil || e.Branch != imp.Branch || !maps.Equal(e.Labels, imp.Labels) {
		e.block = importBlock(imp)
	}
	e.Import = imp
}

// repository is a watched repository, and what is remembered of it.
type repository struct {
	*Repository
	polled
	lastImport time.Time
}

// set replaces what an origin wants. What stays watched keeps its memory.
func (w *watchlist) set(origin Origin, imports []*Import) {
	w.mu.Lock()
	defer w.unlock()
	for _, e := range w.entries {
		e.wanted[origin] = nil
	}
	for _, imp := range imports {
		w.want(origin, imp)
	}
	w.updateAll()
	w.sorted = nil // so that the counters of a server that has come back exist again
}

// want makes imp, besides others, what an origin wants, with the lock held.
func (w *watchlist) want(origin Origin, imp *Import) {
	if w.shard.owns(imp.Key) {
		w.entry(imp.Key).wanted[origin] = imp
	}
}

// entry returns the entry of key, with the lock held.
func (w *watchlist) entry(key Key) *entry {
	e := w.entries[key]
	if e == nil {
		e = newEntry()
		w.entries[key] = e
	}
	return e
}

// minVanished unfinished imports that are not found any more can stay, or as many as
// are found if that is more.
const minVanished = 1000

// setDiscovered replaces what was discovered on a server by d, which is nil if it has
// no discovery any more. An unfinished import that is not found any more, or was
// watched before a restart, stays for the retention after its last status or since
// lakeFS does not know it, so that its end is told, unless d does not want it or
// there are too many newer ones. It returns how many imports are watched now and were
// not before.
func (w *watchlist) setDiscovered(server string, d Discovery, found []Import) (added int) {
	w.mu.Lock()
	defer w.unlock()
	now := w.now()
	var unfinished []Key
	for key, e := range w.entries {
		if key.Server != server {
			continue
		}
		known := e.wanted[FromDiscovery] != nil || e.restored
		if known && e.seen.Seen() && !e.seen.Finished() && now.Sub(cmp.Or(e.seen.NotFoundSince, e.seen.StatusAt)) < w.retention {
			unfinished = append(unfinished, key)
		}
		e.wanted[FromDiscovery] = nil
	}
	for i := range found {
		w.want(FromDiscovery, &found[i])
	}
	slices.SortFunc(unfinished, func(a, b Key) int { return cmp.Compare(b.ID, a.ID) }) // xids: the newest first
	vanished := 0
	for _, key := range unfinished {
		if d == nil || w.entries[key].wanted[FromDiscovery] != nil || vanished == max(len(found), minVanished) {
			continue
		}
		if imp, ok := d.Describe(key.Repository, key.ID); ok {
			w.want(FromDiscovery, &imp)
			vanished++
		}
	}
	return w.updateAll()
}

// setRepositories replaces the watched repositories. What stays watched keeps its
// memory.
func (w *watchlist) setRepositories(watched []Repository) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.repositories
	w.repositories = make(map[Key]*repository, len(watched))
	for i := range watched {
		if key := watched[i].key(); w.shard.owns(key) {
			w.repositories[key] = cmp.Or(before[key], &repository{})
			w.repositories[key].Repository = &watched[i]
		}
	}
}

// updateAll makes all entries what is wanted of them, with the lock held. It
// returns how many imports are watched now and were not before.
func (w *watchlist) updateAll() (added int) {
	for key, e := range w.entries {
		if w.update(key, e) {
			added++
		}
		if !w.durable && e.Import == nil && w.outdated(e, w.now()) {
			w.forget(key)
		}
	}
	return added
}

// update makes e what is wanted of it, with the lock held, and drops it if it is
// neither watched nor remembered. It returns whether e is watched now and was not
// before.
func (w *watchlist) update(key Key, e *entry) (added bool) {
	was := e.Import
	for origin, imp := range e.wanted {
		if imp != nil {
			e.describe(imp)
			e.origin, e.restored = Origin(origin), false
			if was == nil {
				w.sorted = nil
			}
			return was == nil
		}
	}
	e.Import, e.block = nil, ""
	if was != nil {
		w.sorted = nil
		w.changed(key, e) // there is no second answer to wait for
	}
	if *e.seen == (Observation{}) {
		w.forget(key)
	}
	return false
}

// forget drops an entry that is not watched, with the lock held.
func (w *watchlist) forget(key Key) {
	delete(w.entries, key)
	w.sorted = nil // so that the counters of its repository end, if it was the last
}

// restore brings back what was stored.
func (w *watchlist) restore(registrations []Registration, observations []Observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range observations {
		e := w.entry(observations[i].Key)
		e.seen, e.restored = &observations[i].Observation, true
	}
	for i := range registrations {
		r := &registrations[i]
		e := w.entry(r.Key)
		e.wanted[FromAPI], e.registeredAt = &r.Import, r.At
	}
	w.updateAll()
}

// maxLabelBytes bounds the labels of all registered imports together: each of
// their series has them.
const maxLabelBytes = 1 << 20

// registration returns imp as it is to be registered. The error is a
// ConflictError if there are too many registered imports or labels.
func (w *watchlist) registration(imp Import, limit int) (*Registration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &Registration{Import: imp, At: w.now()}
	var before *Import // as it is registered
	registered, labelBytes := 0, imp.labelBytes()
	for key, e := range w.entries {
		switch old := e.wanted[FromAPI]; {
		case old == nil:
		case key == imp.Key:
			before, r.At = old, e.registeredAt
		default:
			registered++
			labelBytes += old.labelBytes()
		}
	}
	if before == nil && registered >= limit {
		return nil, ConflictError(fmt.Sprintf("import limit reached (%d, see --web.max-imports)", limit))
	}
	if labelBytes > maxLabelBytes && (before == nil || imp.labelBytes() > before.labelBytes()) {
		return nil, ConflictError("label limit reached (1 MiB for the labels of all registered imports together)")
	}
	return r, nil
}

// register makes r what the API wants. It returns whether the import was not
// watched before.
func (w *watchlist) register(r *Registration) (created bool) {
	w.mu.Lock()
	defer w.unlock()
	e := w.entry(r.Key)
	e.wanted[FromAPI], e.registeredAt = &r.Import, r.At
	if created = w.update(r.Key, e); created {
		w.log(r.Key, "msg", "Registered import", "branch", r.Branch)
	}
	return created
}

// remove ends the registration of imports that were removed from the Store, and
// drops what was seen of those that no other origin wants. One that has finished
// stays remembered until its retention has expired, so that it is counted just once.
func (w *watchlist) remove(keys []Key, expired bool) {
	w.mu.Lock()
	defer w.unlock()
	message := "Unregistered import"
	if expired {
		message = "Removed registered import: retention expired"
	}
	for _, key := range keys {
		e := w.entries[key]
		if e == nil {
			continue
		}
		if e.wanted[FromAPI] != nil {
			w.log(key, "msg", message)
		}
		e.wanted[FromAPI] = nil
		w.update(key, e)
		e.unsaved = true
		if e.Import == nil && (expired || !e.seen.Finished()) {
			w.forget(key)
		}
	}
}

// expired returns the imports, registered or only remembered, that have been of no
// use for the retention at the time now.
func (w *watchlist) expired(now time.Time) (keys []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, e := range w.entries {
		if (e.wanted[FromAPI] != nil || e.Import == nil) && w.outdated(e, now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// outdated reports whether what is known of an import is of no more use: the
// retention after it finished or lakeFS began not to know it, and seven times
// that after the last sign of it.
func (w *watchlist) outdated(e *entry, now time.Time) bool {
	switch {
	case e.seen.Finished():
		return now.Sub(e.seen.StatusAt) >= w.retention
	case !e.seen.NotFoundSince.IsZero():
		return now.Sub(e.seen.NotFoundSince) >= w.retention
	default:
		return now.Sub(cmp.Or(e.seen.StatusAt, e.registeredAt)) >= 7*w.retention
	}
}

// watched returns the watched imports, by Key, with the lock held. Their
// counters exist from now on, so that the first increase is seen, until nothing of
// their repository is remembered.
func (w *watchlist) watched() []*entry {
	if w.sorted != nil {
		return w.sorted
	}
	w.sorted = make([]*entry, 0, len(w.entries))
	remembered := map[Key]bool{}
	for key, e := range w.entries {
		remembered[key.repository()] = true
		if e.Import != nil {
			w.sorted = append(w.sorted, e)
		}
	}
	slices.SortFunc(w.sorted, func(a, b *entry) int { return compareKeys(a.Key, b.Key) })
	for i, e := range w.sorted {
		if i == 0 || w.sorted[i-1].repository() != e.repository() {
			w.counters.addRepository(e.Server, e.Repository)
		}
	}
	for repository := range w.remembered {
		if !remembered[repository] {
			w.counters.remove(repository)
		}
	}
	w.remembered = remembered
	return w.sorted
}

// perServer returns how many imports are watched of each server.
func (w *watchlist) perServer() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := map[string]int{}
	for _, e := range w.watched() {
		n[e.Server]++
	}
	return n
}

// target is what a server is asked for: an import, or without an ID the newest import
// of a repository, or without both the server's health; with keysID alone, whether it
// accepts the keys.
type target struct {
	Key
	branch string // any will do for lakeFS; its access rights may differ
	entry  *entry // to find it sooner; nil if it is not known
}

// due returns what of a server a scrape has to poll. Repositories, imports, and the
// backlog, which are discovered ones of which nothing is known yet, take turns, so that
// none starves another. What was not polled for the longest time is first, and of what
// never was, the newest.
func (w *watchlist) due(server string) []target {
	w.mu.Lock()
	defer w.mu.Unlock()
	var unfinished []*entry
	for _, e := range w.watched() {
		if e.Server == server && !e.seen.Confirmed {
			unfinished = append(unfinished, e)
		}
	}
	slices.SortFunc(unfinished, func(a, b *entry) int {
		switch order := a.at.Compare(b.at); {
		case order != 0:
			return order
		case a.at.IsZero():
			return cmp.Compare(b.ID, a.ID) // xids
		default:
			return compareKeys(a.Key, b.Key)
		}
	})
	longestAgo := func(a, b *repository) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.Name, b.Name)) }
	var repositories, backlog []target
	for _, r := range slices.SortedFunc(maps.Values(w.repositories), longestAgo) {
		if r.Server == server {
			repositories = append(repositories, target{Key: r.key()})
		}
	}
	known := make([]target, 0, len(unfinished))
	for _, e := range unfinished {
		if e.origin == FromDiscovery && !e.seen.Seen() {
			backlog = append(backlog, target{e.Key, e.Branch, e})
		} else {
			known = append(known, target{e.Key, e.Branch, e})
		}
	}
	targets := make([]target, 0, len(repositories)+len(unfinished))
	for i := range max(len(repositories), len(known), len(backlog)) {
		for _, queue := range [][]target{repositories, known, backlog} {
			if i < len(queue) {
				targets = append(targets, queue[i])
			}
		}
	}
	return targets
}

// record remembers how a poll of an import or a repository ended, and what it told.
// A failed poll, and one that knows of no import into a repository, loses nothing.
// An import that is not watched, or has finished for good, is left alone.
func (w *watchlist) record(t *target, p Poll, status *lakefs.ImportStatus, lastImport time.Time) {
	w.mu.Lock()
	defer w.unlock()
	if t.ID == "" {
		if r := w.repositories[t.Key]; r != nil && r.record(p) {
			r.lastImport = cmp.Or(lastImport, r.lastImport)
		}
		return
	}
	e := t.entry
	if e == nil || e.Import == nil { // it may be watched anew
		e = w.entries[t.Key]
	}
	if e != nil && e.Import != nil && !e.seen.Confirmed && e.record(p, status) {
		w.changed(t.Key, e)
	}
}

// record remembers how a poll of the import ended, with the status if it succeeded.
// It returns whether anything was learned.
func (e *entry) record(p Poll, status *lakefs.ImportStatus) (learned bool) {
	if !e.polled.record(p) {
		return false
	}
	before := e.seen
	e.seen = before.after(p, status)
	switch {
	case e.seen.Confirmed:
		e.samples = nil
	case status != nil:
		e.samples = appendSample(e.samples, sample{at: p.At, objects: e.seen.IngestedObjects})
	}
	return e.seen != before
}

// skip remembers that a scrape that began at the time begin could not wait for
// polls.
func (w *watchlist) skip(keys []Key, begin time.Time, p Poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if r := w.repositories[key]; r != nil {
			r.skip(begin, p)
		}
		if e := w.entries[key]; e != nil && !e.seen.Confirmed {
			e.skip(begin, p)
		}
	}
}

// changed notes, with the lock held, that what was seen of e is to be stored, and
// counts e if it has finished. Where there is a Store, it is not counted before that
// is done, or a restart might count it again.
func (w *watchlist) changed(key Key, e *entry) {
	e.unsaved = true
	if !w.durable && w.uncounted(e) {
		w.count(key, e)
	}
}

// uncounted reports whether e has finished for good and is still to be counted.
func (w *watchlist) uncounted(e *entry) bool {
	return (e.Import == nil || e.seen.Confirmed) && e.seen.countable(w.started, w.retention)
}

// count counts a finished import, with the lock held, and logs its end.
func (w *watchlist) count(key Key, e *entry) {
	seen := *e.seen
	seen.Counted = true
	e.seen = &seen
	w.counters.finished(key, e.seen)
	fields := []any{"msg", "Import finished", "state", seen.state(nil), "objects", seen.IngestedObjects}
	if took, ok := seen.duration(key.ID); ok {
		fields = append(fields, "duration", took.Round(time.Second))
	}
	if seen.ErrorMessage != "" {
		fields = append(fields, "err", seen.ErrorMessage)
	}
	w.log(key, fields...)
}

// notStored returns the observations that are not stored as they are, by Key: of
// finished imports, of those that are only remembered, and if all is set, of the
// others too.
func (w *watchlist) notStored(all bool) []Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	var unsaved []Observed
	for key, e := range w.entries {
		if e.unsaved && (all || e.Import == nil || e.seen.Finished()) {
			o := Observed{key, *e.seen}
			o.Counted = o.Counted || w.uncounted(e)
			unsaved = append(unsaved, o)
		}
	}
	slices.SortFunc(unsaved, func(a, b Observed) int { return compareKeys(a.Key, b.Key) })
	return unsaved
}

// stored notes that observations are stored, and counts the finished imports
// among them.
func (w *watchlist) stored(observations []Observed) {
	w.mu.Lock()
	defer w.unlock()
	for i := range observations {
		o := &observations[i]
		e := w.entries[o.Key]
		if e == nil {
			continue
		}
		if o.Counted && !e.seen.Counted {
			w.count(o.Key, e)
		}
		e.unsaved = *e.seen != o.Observation
	}
}

// views returns how every watched import stands at the time now, and every
// repository, by Key.
func (w *watchlist) views(now time.Time, clients map[string]*lakefs.Client) ([]ImportView, []RepositoryView) {
	w.mu.Lock()
	defer w.mu.Unlock()
	imports := make([]ImportView, len(w.watched()))
	for i, e := range w.watched() {
		imports[i] = e.view(now, clients[e.Server])
	}
	repositories := make([]RepositoryView, 0, len(w.repositories))
	for _, key := range slices.SortedFunc(maps.Keys(w.repositories), compareKeys) {
		r := w.repositories[key]
		repositories = append(repositories, RepositoryView{r.Repository, r.lastImport, r.poll})
	}
	return imports, repositories
}

// view returns how one import stands, and false if it is not watched.
func (w *watchlist) view(key Key, now time.Time, client *lakefs.Client) (ImportView, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[key]
	if e == nil || e.Import == nil {
		return ImportView{}, false
	}
	return e.view(now, client), true
}

func (e *entry) view(now time.Time, client *lakefs.Client) ImportView {
	v := ImportView{
		Import: e.Import, Observation: e.seen, State: e.seen.state(e.Import), Poll: e.poll, Origin: e.origin,
		block: e.block, client: client,
	}
	v.StartedAt, _ = lakefs.StartTime(e.ID)
	v.SecondsSinceUpdate = e.seen.secondsSinceUpdate(now)
	if client == nil {
		v.Poll = Poll{At: now, Message: "not polled: the server is not configured"}
	}
	if !e.seen.Finished() {
		v.recent, v.recentKnown = recentThroughput(e.samples, now)
	}
	return v
}
