package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/lakefs"
)

// saveInterval is how often what was seen of unfinished imports is stored.
const saveInterval = time.Minute

// Refusal is why an import cannot be registered or unregistered.
type Refusal uint8

// The refusals.
const (
	// Invalid: it never could be.
	Invalid Refusal = iota + 1
	// Conflict: it stands against what is watched now.
	Conflict
)

// RefusedError is a request to register or unregister an import that was refused.
type RefusedError struct {
	Refusal Refusal
	Reason  string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

var errNoStore = errors.New("there is no storage")

// memory keeps the watchlist in the Store. Its methods but register and
// unregister can be called on nil, and do nothing then.
type memory struct {
	store         Store
	retention     time.Duration
	maxRegistered int
	watch         *watchlist
	logger        log.Logger
	errors        prometheus.Counter

	// registering keeps the registrations in the Store and in the watchlist the
	// same: one change at a time, first there, then here.
	registering sync.Mutex

	// slot is held by whoever writes what was seen.
	slot   chan struct{}
	saved  time.Time // when all was last stored; held with slot
	failed bool      // whether the newest write failed; held with slot
}

// register stores imp and then watches it.
func (m *memory) register(imp Import, now time.Time) (created bool, err error) {
	m.registering.Lock()
	defer m.registering.Unlock()
	old, others, other := m.watch.registration(imp.Key)
	switch {
	case other != "":
		return false, &RefusedError{Conflict, fmt.Sprintf("import %s of repository %s is watched on branch %s already: lakeFS knows imports by repository and ID alone", imp.ID, imp.Repository, other)}
	case old.At.IsZero() && others >= m.maxRegistered:
		return false, &RefusedError{Conflict, fmt.Sprintf("%d imports are registered already, and more are not permitted", others)}
	}
	r := Registration{Import: imp, At: old.At}
	if r.At.IsZero() {
		r.At = now
	}
	if err := m.store.PutImport(r); err != nil {
		m.errors.Inc()
		return false, fmt.Errorf("storing import %s: %w", imp.Ref, err)
	}
	return m.watch.register(r), nil
}

// unregister takes an import out of the store and then out of the watchlist.
func (m *memory) unregister(key Key) error {
	m.registering.Lock()
	defer m.registering.Unlock()
	if origin, ok := m.watch.origin(key); ok && origin != FromAPI {
		return &RefusedError{Conflict, fmt.Sprintf("import %s stands in a %s: it can be taken out there only", key.Ref, originNames[origin])}
	}
	if err := m.forget(key); err != nil {
		m.errors.Inc()
		return fmt.Errorf("removing import %s from the storage: %w", key.Ref, err)
	}
	return nil
}

var originNames = map[Origin]string{FromConfig: "config file", FromFile: "import file"}

// forget removes registered imports and what was seen of them, with
// registering held.
func (m *memory) forget(keys ...Key) error {
	if err := m.store.DeleteImports(keys...); err != nil {
		return err
	}
	if err := m.store.DeleteObservations(keys...); err != nil {
		return err
	}
	m.watch.unregister(keys...)
	return nil
}

// remember stores what was seen, and removes what is of no more use. It returns
// when that is done, or else when ctx is.
func (m *memory) remember(ctx context.Context, now time.Time) {
	if m == nil {
		return
	}
	select {
	case m.slot <- struct{}{}: // even if ctx is done already
	default:
		select {
		case m.slot <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-m.slot }()
		m.report(m.save(now))
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// save stores what was seen of finished imports, and once in a while of all,
// and removes what is of no more use. The caller holds the slot.
func (m *memory) save(now time.Time) error {
	age := now.Sub(m.saved)
	all := age < 0 || age >= saveInterval
	err := m.saveObservations(all)
	if err != nil || !all {
		return err
	}
	m.saved = now
	return m.removeOutdated(now)
}

func (m *memory) saveObservations(all bool) error {
	unsaved := m.watch.unsaved(all)
	if len(unsaved) == 0 {
		return nil
	}
	if err := m.store.PutObservations(unsaved); err != nil {
		return fmt.Errorf("storing what was seen of %d imports: %w", len(unsaved), err)
	}
	m.watch.saved(unsaved)
	return nil
}

func (m *memory) removeOutdated(now time.Time) error {
	m.registering.Lock()
	defer m.registering.Unlock()
	registered, left := m.watch.outdated(now, m.retention)
	if len(registered) > 0 {
		if err := m.forget(registered...); err != nil {
			return fmt.Errorf("removing %d outdated imports: %w", len(registered), err)
		}
		for _, key := range registered {
			level.Info(m.logger).Log("msg", "Registered import has left: nothing was heard of it for the retention", "server", key.Server, "import", key.Ref)
		}
	}
	if len(left) > 0 {
		if err := m.store.DeleteObservations(left...); err != nil {
			return fmt.Errorf("removing what was seen of %d imports: %w", len(left), err)
		}
		m.watch.forget(left)
	}
	return nil
}

// report counts and logs that a write failed; it logs once for as long as they
// all do. The caller holds the slot.
func (m *memory) report(err error) {
	if err != nil {
		m.errors.Inc()
	}
	switch {
	case err != nil && !m.failed:
		level.Error(m.logger).Log("msg", "The storage cannot be written to; what is not stored is kept in memory", "err", err)
	case err == nil && m.failed:
		level.Info(m.logger).Log("msg", "The storage can be written to again")
	}
	m.failed = err != nil
}

// close stores everything.
func (m *memory) close() error {
	if m == nil {
		return nil
	}
	m.slot <- struct{}{}
	defer func() { <-m.slot }()
	return m.saveObservations(true)
}

// restore brings back what was stored.
func (w *watchlist) restore(registrations []Registration, observations map[Key]Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range registrations {
		w.registered[r.Key] = r
	}
	w.left = observations
	w.rebuild()
}

// registration returns the registration of key, if there is one, how many there
// are in all, and on which other branch an import of the same server,
// repository and ID is watched.
func (w *watchlist) registration(key Key) (r Registration, all int, branch string) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	// Imports of one repository stand together, but not those of one ID.
	at, _ := w.find(Key{Server: key.Server, Ref: lakefs.Ref{Repository: key.Repository}})
	for _, e := range w.sorted[at:] {
		if e.Server != key.Server || e.Repository != key.Repository {
			break
		}
		if e.ID == key.ID && e.Branch != key.Branch {
			branch = e.Branch
		}
	}
	return w.registered[key], len(w.registered), branch
}

// origin returns where the import of key comes from, and false if it is not
// watched.
func (w *watchlist) origin(key Key) (Origin, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	e, ok := w.entries[key]
	if !ok {
		return "", false
	}
	return e.origin, true
}

// register adds or replaces a registered import. It returns whether the import
// was not watched before.
func (w *watchlist) register(r Registration) (created bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.registered[r.Key] = r
	e, ok := w.entries[r.Key]
	if !ok {
		e = w.newEntry(r.Key)
		w.entries[r.Key] = e
		at, _ := w.find(r.Key)
		w.sorted = slices.Insert(w.sorted, at, e)
	}
	if !ok || e.origin == FromAPI {
		e.describe(r.Import, FromAPI, labelPairs{})
	}
	return !ok
}

// unregister takes registered imports out, and what was seen of those that
// nobody else watches.
func (w *watchlist) unregister(keys ...Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.registered, key)
		delete(w.left, key)
		if e, ok := w.entries[key]; ok && e.origin == FromAPI {
			delete(w.entries, key)
			at, _ := w.find(key)
			w.sorted = slices.Delete(w.sorted, at, at+1)
		}
	}
}

// unsaved returns the observations that are not stored as they are: of
// finished imports, and if all is set, of the others too.
func (w *watchlist) unsaved(all bool) map[Key]Observation {
	w.mu.RLock()
	defer w.mu.RUnlock()
	unsaved := map[Key]Observation{}
	for _, e := range w.sorted {
		if e.unsaved && (all || e.observation.Finished()) {
			unsaved[e.Key] = e.observation
		}
	}
	return unsaved
}

// saved notes that observations are stored.
func (w *watchlist) saved(observations map[Key]Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, o := range observations {
		if e, ok := w.entries[key]; ok && e.observation == o {
			e.unsaved = false
		}
	}
}

// outdated returns the registered imports that have been of no use for
// retention, and the imports that left as long ago and are still stored.
func (w *watchlist) outdated(now time.Time, retention time.Duration) (registered, left []Key) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for key, r := range w.registered {
		var o Observation
		if e, ok := w.entries[key]; ok {
			o = e.observation
		}
		if now.Sub(o.usefulUntil(r.At, retention)) >= 0 {
			registered = append(registered, key)
		}
	}
	for key, o := range w.left {
		if now.Sub(o.usefulUntil(time.Time{}, retention)) >= 0 {
			left = append(left, key)
		}
	}
	return registered, left
}

// usefulUntil returns when an import of which o was seen is to be forgotten:
// retention after it finished or lakeFS began not to know it, and seven times
// that after anything was last heard of it.
func (o Observation) usefulUntil(registeredAt time.Time, retention time.Duration) time.Time {
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

// forget drops what was seen of imports that are not watched.
func (w *watchlist) forget(keys []Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		delete(w.left, key)
	}
}
