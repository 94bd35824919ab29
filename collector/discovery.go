package collector

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Discovery finds the imports of a server, no matter who started them.
type Discovery interface {
	// Run hands over the result of each refresh until ctx is done: all imports
	// to watch, distinct and of the server, and how many were left out because
	// there are too many; or why the refresh failed.
	Run(ctx context.Context, refreshed func(found []Import, dropped int, err error))
	// Describe returns how an import of the server is to be watched, and false
	// if it is not.
	Describe(repository, id string) (Import, bool)
}

// discoverer keeps what a server's Discovery finds watched, beside the scrapes.
type discoverer struct {
	now    func() time.Time
	logger log.Logger
	// add makes the counters of refreshes.
	add func() (succeeded, failed prometheus.Counter)
	// found is told what a refresh found, and returns how many of that are watched
	// only from now on; describe is nil if there is no Discovery any more.
	found func(describe func(repository, id string) (Import, bool), found []Import) (added int)

	mu   sync.Mutex
	stop context.CancelFunc // ends what runs; nil if nothing does
	last DiscoveryView
}

// apply runs d, which may be nil, instead of what ran before. What that found
// stays watched until the first refresh of d.
func (r *discoverer) apply(d Discovery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.stop
	if before != nil {
		before()
		r.stop = nil
	}
	if d == nil {
		r.last = DiscoveryView{}
		r.found(nil, nil)
		return
	}
	if before == nil {
		r.found(d.Describe, nil) // what was watched before a restart, until the database answers
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	succeeded, failed := r.add()
	go d.Run(ctx, func(found []Import, dropped int, err error) {
		if err != nil {
			failed.Inc()
		} else {
			succeeded.Inc()
		}
		r.take(ctx, d, found, dropped, err)
	})
}

// close ends what runs.
func (r *discoverer) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
	}
}

// take takes over the result of a refresh. A failed one drops nothing.
func (r *discoverer) take(ctx context.Context, d Discovery, found []Import, dropped int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return // another one runs
	}
	before := r.last
	if err != nil {
		r.last.Error = err.Error()
		if before.Error != r.last.Error {
			level.Warn(r.logger).Log("msg", "Discovery failed; keeping the imports found before", "err", err)
		}
		return
	}
	r.last = DiscoveryView{LastSuccess: r.now(), Found: len(found), Dropped: dropped}
	added := r.found(d.Describe, found)
	if added > 0 || before.Error != "" || before.LastSuccess.IsZero() {
		level.Info(r.logger).Log("msg", "Discovered imports", "new", added, "all", len(found))
	}
	if dropped > 0 && before.Dropped == 0 {
		level.Warn(r.logger).Log("msg", "Discovery left out the oldest imports: see max_imports", "imports", len(found), "dropped", dropped)
	}
}

// view returns how the discovery stands; nil if there is none.
func (r *discoverer) view() *DiscoveryView {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		return nil
	}
	last := r.last
	return &last
}
