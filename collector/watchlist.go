package collector

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"lakefs_import_exporter/lakefs"
)

// watchlist is what is watched, and what is remembered of it. It is safe for
// concurrent use, and never keeps its lock over a request or a write to disk.
type watchlist struct {
	now       func() time.Time
	logger    log.Logger
	counters  *counters
	started   time.Time     // when the exporter was started
	retention time.Duration // of Options
	durable   bool          // whether there is a Store

	mu      sync.Mutex
	entries map[Key]*entry       // of imports that are watched, or that were and are remembered
	sorted  []*entry             // those that are watched, by Key; nil if it has to be made anew
	ended   []Observed           // imports whose end is to be logged
	scraped map[string]time.Time // when the newest scrape began, by server
	counted map[Key]bool         // repositories that have counters

	registered int // imports that the API wants
	labelBytes int // of these
}

// entry is one import: why it is watched, and what is remembered of it.
type entry struct {
	*Import        // as it is watched; nil if it is not
	block   string // of Import

	wanted       [len(origins)]*Import // by origins, in their order
	registration *Registration         // of what the API wants

	polled
	seen    *Observation // never nil, and never changed: a poll makes a new one
	samples []sample

	origin   int8 // in origins
	restored bool // from the Store, and not watched since
	unsaved  bool // whether seen is not stored
}

// want makes imports, besides others, what an origin wants, with the lock held.
func (w *watchlist) want(origin int, imports []*Import) {
	for _, imp := range imports {
		w.entry(imp.Key).wanted[origin] = imp
	}
}

// entry returns the entry of key, with the lock held.
func (w *watchlist) entry(key Key) *entry {
	e := w.entries[key]
	if e == nil {
		e = &entry{seen: unseen}
		w.entries[key] = e
	}
	return e
}

// set replaces what an origin wants. What stays watched keeps its memory.
func (w *watchlist) set(origin int, imports []*Import) {
	w.mu.Lock()
	defer w.unlock()
	for _, e := range w.entries {
		e.wanted[origin] = nil
	}
	w.want(origin, imports)
	w.updateAll()
}

// minVanished is how many unfinished imports that are not found any more can
// stay at least; at most as many as are found.
const minVanished = 1000

// setDiscovered replaces what was discovered on a server; describe is
// nil if it has no discovery any more. An unfinished import that is not found any more, or was
// watched before a restart, stays for the retention after its last status or
// since lakeFS does not know it, so that its end is told, unless describe does not
// want it. It returns how many imports are watched now and were not before.
func (w *watchlist) setDiscovered(server string, describe func(repository, id string) (Import, bool), found []*Import) (added int) {
	w.mu.Lock()
	defer w.unlock()
	now := w.now()
	var before []Key
	for key, e := range w.entries {
		if key.Server != server {
			continue
		}
		known := e.wanted[wantedByDiscovery] != nil || e.restored
		if known && e.seen.Seen() && !e.seen.Finished() && now.Sub(cmp.Or(e.seen.NotFoundSince, e.seen.StatusAt)) < w.retention {
			before = append(before, key)
		}
		e.wanted[wantedByDiscovery] = nil
	}
	w.want(wantedByDiscovery, found)
	vanished := slices.DeleteFunc(before, func(k Key) bool { return w.entries[k].wanted[wantedByDiscovery] != nil })
	slices.SortFunc(vanished, func(a, b Key) int { return cmp.Compare(b.ID, a.ID) }) // xids: the newest first
	for _, key := range vanished[:min(len(vanished), max(len(found), minVanished))] {
		if describe == nil {
			break
		}
		if imp, ok := describe(key.Repository, key.ID); ok {
			w.want(wantedByDiscovery, []*Import{&imp})
		}
	}
	return w.updateAll()
}

// updateAll makes all entries what is wanted of them, with the lock held. It
// returns how many imports are watched now and were not before.
func (w *watchlist) updateAll() (added int) {
	for key, e := range w.entries {
		watched := e.Import != nil
		w.update(key, e)
		if e.Import != nil && !watched {
			added++
		}
		if !w.durable && e.Import == nil && w.outdated(e, w.now()) {
			w.forget(key)
		}
	}
	return added
}

// update makes e what is wanted of it, with the lock held, and drops it if it is
// neither watched nor remembered.
func (w *watchlist) update(key Key, e *entry) {
	was := e.Import
	e.Import = nil
	for i, imp := range e.wanted {
		if imp == nil {
			continue
		}
		if was == nil || !was.equal(imp) {
			e.block = imp.block()
		}
		e.Import, e.origin, e.restored = imp, int8(i), false
		break
	}
	if (e.Import == nil) != (was == nil) {
		w.sorted = nil
	}
	if e.Import != nil {
		return
	}
	e.block = ""
	if *e.seen == (Observation{}) {
		w.forget(key)
	} else if was != nil && e.seen.countable(w.started, w.retention) {
		// There is no second answer to wait for.
		if e.unsaved = true; !w.durable {
			w.count(key, e)
		}
	}
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
	w.durable = true
	for i := range observations {
		e := w.entry(observations[i].Key)
		e.seen, e.restored = &observations[i].Observation, true
	}
	for i := range registrations {
		w.setRegistration(w.entry(registrations[i].Key), &registrations[i])
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
	labels := imp.labelBytes()
	if e := w.entries[imp.Key]; e != nil && e.registration != nil {
		r.At = e.registration.At
		labels -= e.registration.labelBytes()
	} else if w.registered >= limit {
		return nil, ConflictError(fmt.Sprintf("import limit reached (%d, see --web.max-imports)", limit))
	}
	if labels > 0 && w.labelBytes+labels > maxLabelBytes {
		return nil, ConflictError("label limit reached (1 MiB for the labels of all registered imports together)")
	}
	return r, nil
}

// register makes r what the API wants. It returns whether the import was not
// watched before.
func (w *watchlist) register(r *Registration) (created bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entry(r.Key)
	created = e.Import == nil
	w.setRegistration(e, r)
	w.update(r.Key, e)
	return created
}

// setRegistration makes r, which may be nil, the registration of e, with the
// lock held. The caller updates e.
func (w *watchlist) setRegistration(e *entry, r *Registration) {
	if old := e.registration; old != nil {
		w.registered--
		w.labelBytes -= old.labelBytes()
	}
	e.registration, e.wanted[wantedByAPI] = r, nil
	if r != nil {
		w.registered++
		w.labelBytes += r.labelBytes()
		e.wanted[wantedByAPI] = &r.Import
	}
}

// remove ends the registration of imports that were removed from the Store, and
// drops what was seen of those that no other origin wants. If forget is false,
// one that has finished stays remembered, so that it is counted just once.
func (w *watchlist) remove(keys []Key, forget bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		e := w.entries[key]
		if e == nil {
			continue
		}
		w.setRegistration(e, nil)
		w.update(key, e)
		e.unsaved = true
		if e.Import == nil && (forget || !e.seen.Finished()) {
			w.forget(key)
		}
	}
}

// expired returns the registered imports that have been of no use for the
// retention at the time now, and the imports as old that are only remembered.
func (w *watchlist) expired(now time.Time) (registered, remembered []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, e := range w.entries {
		switch {
		case e.registration == nil && e.Import != nil, !w.outdated(e, now):
		case e.Import == nil:
			remembered = append(remembered, key)
		default:
			registered = append(registered, key)
		}
	}
	return registered, remembered
}

// outdated reports whether what is known of an import is of no more use: the
// retention after it finished or lakeFS began not to know it, and seven times
// that after the last sign of it.
func (w *watchlist) outdated(e *entry, now time.Time) bool {
	const patience = 7
	sign, keep := e.seen.StatusAt, patience*w.retention
	switch {
	case e.seen.Finished():
		keep = w.retention
	case !e.seen.NotFoundSince.IsZero():
		sign, keep = e.seen.NotFoundSince, w.retention
	case sign.IsZero() && e.registration != nil:
		sign = e.registration.At
	}
	return now.Sub(sign) >= keep
}

// watched returns the watched imports, by Key, with the lock held. Their
// counters exist from now on, so that the first increase is seen, until nothing of
// their repository is remembered.
func (w *watchlist) watched() []*entry {
	if w.sorted != nil {
		return w.sorted
	}
	w.sorted = make([]*entry, 0, len(w.entries))
	for _, e := range w.entries {
		if e.Import != nil {
			w.sorted = append(w.sorted, e)
		}
	}
	slices.SortFunc(w.sorted, func(a, b *entry) int { return compareKeys(a.Key, b.Key) })
	for i, e := range w.sorted {
		if i == 0 || w.sorted[i-1].repository() != e.repository() {
			w.counters.addRepository(e.Server, e.Repository)
			w.counted[e.repository()] = true
		}
	}
	known := map[Key]bool{}
	for key := range w.entries {
		known[key.repository()] = true
	}
	for repository := range w.counted {
		if !known[repository] {
			w.counters.removeRepository(repository)
			delete(w.counted, repository)
		}
	}
	return w.sorted
}

// perServer returns how many imports are watched of each server. The counters of
// a server that has come back exist again.
func (w *watchlist) perServer() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sorted = nil
	n := map[string]int{}
	for _, e := range w.watched() {
		n[e.Server]++
	}
	return n
}

// hasServer reports whether imports of a server are watched.
func (w *watchlist) hasServer(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.watched(), func(e *entry) bool { return e.Server == name })
}

// due returns which of a server's imports a scrape has to poll. Those that the
// one before did not reach are first: not polled for the longest time, or if they
// never were, the newest. The backlog are discovered ones of which nothing is
// known yet.
func (w *watchlist) due(server string) (known, backlog []lakefs.Ref) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.scraped[server]
	w.scraped[server] = w.now()
	var overdue, others []*entry
	for _, e := range w.watched() {
		switch {
		case e.Server != server || e.seen.Confirmed:
		case e.at.Before(before) || e.at.IsZero():
			overdue = append(overdue, e)
		default:
			others = append(others, e)
		}
	}
	slices.SortFunc(overdue, func(a, b *entry) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(b.ID, a.ID)) // xids
	})
	due := slices.Concat(overdue, others)
	known = make([]lakefs.Ref, 0, len(due))
	for _, e := range due {
		if e.origin == wantedByDiscovery && !e.seen.Seen() {
			backlog = append(backlog, e.Ref())
		} else {
			known = append(known, e.Ref())
		}
	}
	return known, backlog
}

// record remembers how a poll of an import ended, with the status if it
// succeeded. An import that is not watched, or has finished for good, is left
// alone.
func (w *watchlist) record(key Key, p Poll, status *lakefs.ImportStatus) {
	w.mu.Lock()
	defer w.unlock()
	e := w.entries[key]
	if e == nil || e.Import == nil || e.seen.Confirmed || !e.record(p) {
		return
	}
	seen := e.seen.after(p, status)
	if seen == e.seen {
		return
	}
	e.seen, e.unsaved = seen, true
	switch {
	case seen.Confirmed:
		if e.samples = nil; !w.durable && seen.countable(w.started, w.retention) {
			w.count(key, e)
		}
	case status != nil:
		e.samples = appendSample(e.samples, sample{at: p.At, objects: seen.IngestedObjects})
	}
}

// skip remembers of imports that a scrape that began at the time begin could not
// wait for their polls.
func (w *watchlist) skip(keys []Key, begin time.Time, p Poll) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if e := w.entries[key]; e != nil && !e.seen.Confirmed {
			e.skip(begin, p)
		}
	}
}

// count counts a finished import, with the lock held, and has its end logged.
func (w *watchlist) count(key Key, e *entry) {
	seen := *e.seen
	seen.Counted = true
	e.seen = &seen
	w.ended = append(w.ended, Observed{key, seen})
	w.counters.finished(key, &seen)
	w.counted[key.repository()] = true
}

// unlock unlocks w, and then logs which imports have ended.
func (w *watchlist) unlock() {
	ended := w.ended
	w.ended = nil
	w.mu.Unlock()
	for _, o := range ended {
		fields := []any{"msg", "Import finished", "state", o.state(nil), "objects", o.IngestedObjects}
		if took, ok := o.duration(o.ID); ok {
			fields = append(fields, "duration", took.Round(time.Second))
		}
		if o.ErrorMessage != "" {
			fields = append(fields, "err", o.ErrorMessage)
		}
		_ = level.Info(o.logger(w.logger)).Log(fields...)
	}
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
			o.Counted = o.Counted || (e.Import == nil || o.Confirmed) && o.countable(w.started, w.retention)
			unsaved = append(unsaved, o)
		}
	}
	slices.SortFunc(unsaved, func(a, b Observed) int { return compareKeys(a.Key, b.Key) })
	return unsaved
}

// stored notes that observations are stored, and counts the finished imports
// among them: not before, or a restart might count them again.
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

// views returns how every watched import stands at the time now, by Key.
func (w *watchlist) views(now time.Time, clients map[string]*lakefs.Client) []ImportView {
	w.mu.Lock()
	defer w.mu.Unlock()
	views := make([]ImportView, len(w.watched()))
	for i, e := range w.watched() {
		e.view(&views[i], now, clients[e.Server])
	}
	return views
}

// view is views for one import. It returns false for one that is not watched.
func (w *watchlist) view(key Key, now time.Time, client *lakefs.Client) (v ImportView, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[key]
	if e == nil || e.Import == nil {
		return v, false
	}
	e.view(&v, now, client)
	return v, true
}

func (e *entry) view(v *ImportView, now time.Time, client *lakefs.Client) {
	*v = newImportView(e.Import, e.seen, now, client)
	v.Origin, v.Poll, v.block = origins[e.origin], e.poll, e.block
	if client == nil {
		v.Poll = Poll{At: now, Message: "not polled: the server is not configured"}
	}
	if !e.seen.Finished() {
		v.recent, v.recentKnown = recentThroughput(e.samples, now)
	}
}
