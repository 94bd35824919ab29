package collector

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// saveInterval is how often what was seen of unfinished imports is stored.
	saveInterval = time.Minute
	// closeTimeout is how long close waits for a disk that hangs.
	closeTimeout = 5 * time.Second
)

// Store is durable memory. Its methods are called by several goroutines at
// once, and never with a lock held that a scrape waits for. They may block as
// long as the disk does.
type Store interface {
	// Load returns everything that is stored. It is called once, before Update.
	Load() (Stored, error)
	// Update makes all of the changes or none of them, in one transaction. They
	// are durable when it returns without an error.
	Update(Changes) error
}

// Stored is the content of a Store.
type Stored struct {
	Registrations []Registration
	Observations  []Observed
	// Skipped are entries that cannot be used, such as one with a label that
	// has become reserved since; each is an error that names it.
	Skipped []error
}

// Changes are changes to a Store. Putting replaces an entry with the same Key.
type Changes struct {
	// Delete are Keys whose entries are deleted, as far as there are any, before
	// others are put.
	Delete           []Key
	PutRegistrations []Registration
	// PutObservations are sorted by Key.
	PutObservations []Observed
}

var (
	errNoStore = errors.New("there is no storage")
	// ErrStorageTimeout is returned when the storage does not answer in time.
	// The change may still be made.
	ErrStorageTimeout = errors.New("the storage does not answer")
)

// persister keeps the Store up to date with the watchlist, beside the scrapes.
type persister struct {
	store         Store
	expiryTime    func() (time.Time, bool) // see Collector.expiryTime
	maxRegistered int
	watch         *watchlist
	errors        prometheus.Counter

	wake    chan struct{} // has one element if there is something to store
	changes chan func()   // of the registrations
	stop    chan struct{}
	done    chan struct{}
	saved   time.Time // when everything was last stored

	failure atomic.Pointer[StorageFailure] // of the newest write; nil if it succeeded
}

// start loads what is stored and begins to store what is seen. It does nothing
// without a Store.
func (p *persister) start() error {
	if p.store == nil {
		return nil
	}
	stored, err := p.store.Load()
	if err != nil {
		return err
	}
	for _, skipped := range stored.Skipped {
		level.Warn(p.watch.logger).Log("msg", "Skipped part of the storage", "err", skipped)
	}
	p.watch.restore(stored.Registrations, stored.Observations)
	p.wake, p.changes = make(chan struct{}, 1), make(chan func())
	p.stop, p.done = make(chan struct{}), make(chan struct{})
	go p.run()
	return nil
}

// notify has what was seen stored soon. It does not wait.
func (p *persister) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run changes the Store, one change at a time, until stop is closed.
func (p *persister) run() {
	defer close(p.done)
	for {
		select {
		case change := <-p.changes:
			change()
		case <-p.wake:
			p.save(false)
		case <-p.stop:
			p.save(true)
			return
		}
	}
}

// close stores everything.
func (p *persister) close() error {
	if p.store == nil {
		return nil
	}
	close(p.stop)
	select {
	case <-p.done:
	case <-time.After(closeTimeout):
		return fmt.Errorf("storing what was seen: %w", ErrStorageTimeout)
	}
	if failure := p.failure.Load(); failure != nil {
		return errors.New("what was seen last is not stored: " + failure.Error)
	}
	return nil
}

// save stores what was seen of finished imports, and once in a while, or if all
// is set, of all. It then removes what is of no more use.
func (p *persister) save(all bool) {
	now := p.watch.now()
	age := now.Sub(p.saved)
	all = all || age < 0 || age >= saveInterval
	if unsaved := p.watch.notStored(all); len(unsaved) > 0 || p.failure.Load() != nil { // to see whether it still fails
		if p.update(fmt.Sprintf("storing what was seen of %d imports", len(unsaved)), Changes{PutObservations: unsaved}) != nil {
			return // which is counted and logged; it is tried again
		}
		p.watch.stored(unsaved)
	}
	if all {
		p.saved = now
		p.removeExpired()
	}
}

func (p *persister) removeExpired() {
	now, ok := p.expiryTime()
	if !ok {
		return
	}
	expired := p.watch.expired(now)
	doing := fmt.Sprintf("removing %d imports whose retention has expired", len(expired))
	if len(expired) > 0 && p.update(doing, Changes{Delete: expired}) == nil {
		p.watch.remove(expired, true)
	}
}

// update changes the Store. It counts every failure, and logs once for as long
// as every write fails.
func (p *persister) update(doing string, changes Changes) error {
	begin := p.watch.now()
	before := p.failure.Load()
	err := p.store.Update(changes)
	if err == nil {
		p.failure.Store(nil)
		if before != nil {
			level.Info(p.watch.logger).Log("msg", "Writing to the storage succeeds again")
		}
		return nil
	}
	err = fmt.Errorf("%s: %w", doing, err)
	p.errors.Inc()
	if before == nil {
		before = &StorageFailure{Since: begin}
		level.Error(p.watch.logger).Log("msg", "Writing to the storage failed; keeping in memory what is not stored", "err", err)
	}
	p.failure.Store(&StorageFailure{before.Since, err.Error()})
	return err
}

// register stores imp and then watches it.
func (p *persister) register(ctx context.Context, imp Import) (created bool, err error) {
	registered := false
	err = p.change(ctx, func() error {
		r, err := p.watch.registration(imp, p.maxRegistered)
		if err != nil {
			return err
		}
		if err := p.update("storing import "+imp.Ref().String(), Changes{PutRegistrations: []Registration{*r}}); err != nil {
			return err
		}
		registered = p.watch.register(r)
		return nil
	})
	if err != nil {
		return false, err
	}
	return registered, nil
}

// unregister removes an import from the Store and then from the watchlist.
func (p *persister) unregister(ctx context.Context, key Key) error {
	return p.change(ctx, func() error {
		if v, ok := p.watch.view(key, time.Time{}, nil); ok && v.Origin != FromAPI {
			return ConflictError("import " + v.Ref().String() + " " + notRegistered[v.Origin])
		}
		keys := []Key{key}
		if err := p.update("removing import "+key.ID, Changes{Delete: keys}); err != nil {
			return err
		}
		p.watch.remove(keys, false)
		return nil
	})
}

var notRegistered = map[Origin]string{
	FromConfig:    "is in the config file and can be removed only there",
	FromFile:      "is in an import file and can be removed only there",
	FromDiscovery: "was discovered in lakeFS's database; ignore its repository in the config to stop watching it",
}

// change has run make a change of the registrations, first in the Store and then in
// the watchlist, and waits for it until ctx is done. A change that was begun is
// finished even then, so that both agree.
func (p *persister) change(ctx context.Context, do func() error) error {
	if p.store == nil {
		return errNoStore
	}
	done := make(chan error, 1)
	select {
	case p.changes <- func() { done <- do() }:
	case <-ctx.Done():
		return ErrStorageTimeout
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ErrStorageTimeout
	}
}
