// Package collector decides which imports are watched, what of them is polled
// for a scrape, what is remembered, what it means, and which metrics tell it.
package collector

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/lakefs"
)

// Options are what a Collector needs besides its Config.
type Options struct {
	// Now is the exporter's clock.
	Now    func() time.Time
	Logger log.Logger
	// Registerer takes the metrics of the exporter's own work. Those of imports
	// and servers are in the snapshots.
	Registerer prometheus.Registerer
	// Shard is the part of the imports and repositories that is this
	// exporter's; the zero value is all.
	Shard Shard
	// Store is durable memory; nil for none, and then nothing can be registered.
	Store Store
	// Retention is for how long registered imports stay that are of no more
	// use. It must be positive if there is a Store.
	Retention time.Duration
	// MaxRegistered is how many imports can be registered.
	MaxRegistered int
}

// Collector watches imports: it polls them when it is asked how they are, and
// remembers what it saw. It is safe for concurrent use.
type Collector struct {
	now     func() time.Time
	logger  log.Logger
	metrics *metrics
	shard   Shard
	watch   *watchlist
	probes  *watchlist // what Probe was asked for of late
	memory  *memory    // nil without a Store

	// filesMu guards the look at the files, and keeps it to one at a time.
	filesMu sync.Mutex
	files   Source
	fileSet FileSet

	mu      sync.RWMutex
	servers map[string]*server
	scraped time.Time // when the newest scrape was over
}

// New returns a Collector that watches nothing until a Config is applied, but
// has all that is stored in memory. The error is that of Store.Load.
func New(opts Options) (*Collector, error) {
	c := &Collector{
		now:     opts.Now,
		logger:  opts.Logger,
		metrics: newMetrics(opts.Registerer),
		shard:   opts.Shard,
		watch:   newWatchlist(),
		probes:  newWatchlist(),
		servers: map[string]*server{},
	}
	if opts.Store == nil {
		return c, nil
	}
	registrations, observations, err := opts.Store.Load()
	if err != nil {
		return nil, err
	}
	c.watch.restore(registrations, observations)
	c.memory = &memory{
		store:         opts.Store,
		retention:     opts.Retention,
		maxRegistered: opts.MaxRegistered,
		watch:         c.watch,
		logger:        opts.Logger,
		errors:        c.metrics.storageErrors,
		slot:          make(chan struct{}, 1),
	}
	return c, nil
}

// Apply makes cfg the one to work by. What is remembered of an import stays as
// long as it is watched, and so does a server's pause after a 429.
func (c *Collector) Apply(cfg Config) {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	c.files = cfg.Files
	c.fileSet = FileSet{}
	if c.files != nil {
		c.fileSet = c.files.Load()
	}
	c.applyServers(cfg.Servers)
	c.watch.set(map[Origin][]Import{
		FromConfig: c.shard.imports(cfg.Imports),
		FromFile:   c.shard.imports(c.fileSet.Imports),
	})
	c.watch.setRepositories(c.shard.repositories(cfg.Repositories))
	c.warnOfOrphans(cfg.Servers)
}

// warnOfOrphans says which registered imports are not polled, because their
// server has left the config.
func (c *Collector) warnOfOrphans(servers []Server) {
	configured := make([]string, len(servers))
	for i, s := range servers {
		configured[i] = s.Name
	}
	for name, n := range c.watch.setUnpolled(configured, c.now()) {
		level.Warn(c.logger).Log("msg", "Registered imports are kept, but not polled: their server is not configured", "server", name, "imports", n)
	}
}

func (c *Collector) applyServers(settings []Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := maps.Clone(c.servers)
	servers := make(map[string]*server, len(settings))
	for _, set := range settings {
		s, ok := c.servers[set.Name]
		if !ok {
			s = &server{
				name:    set.Name,
				now:     c.now,
				logger:  log.With(c.logger, "server", set.Name),
				metrics: c.metrics,
				watch:   c.watch,
			}
			c.metrics.addServer(set.Name)
		}
		delete(gone, set.Name)
		s.apply(set)
		servers[set.Name] = s
	}
	for _, s := range gone {
		s.remove()
	}
	c.servers = servers
}

// Scrape is Poll and then Snapshot. If ctx is cancelled otherwise than by its
// deadline, the result is of no use to anyone.
func (c *Collector) Scrape(ctx context.Context) *Snapshot {
	c.Poll(ctx)
	return c.Snapshot()
}

// Poll looks at the files, and polls every watched import that may have news.
// It returns when that is done, or else when ctx is.
func (c *Collector) Poll(ctx context.Context) {
	c.lookAtFiles()
	var wg sync.WaitGroup
	for _, s := range c.allServers() {
		wg.Go(func() { s.refresh(ctx) })
	}
	wg.Wait()
	c.mu.Lock()
	c.scraped = c.now()
	c.mu.Unlock()
	c.memory.remember(ctx, c.now())
}

// Recent returns how all imports are getting on, by a new Scrape if the newest
// one is older than maxAge.
func (c *Collector) Recent(ctx context.Context, maxAge time.Duration) *Snapshot {
	c.mu.RLock()
	age := c.now().Sub(c.scraped)
	c.mu.RUnlock()
	if age < 0 || age > maxAge {
		return c.Scrape(ctx)
	}
	return c.Snapshot()
}

// Import polls one import, if its newest poll is over a second old and it is
// not finished, and returns how it is getting on. It returns false if the
// import is not watched.
func (c *Collector) Import(ctx context.Context, key Key) (ImportView, bool) {
	if s := c.server(key.Server); s != nil {
		s.refreshOne(ctx, c.watch, key)
		c.memory.remember(ctx, c.now())
	}
	return c.Watched(key)
}

// Watched returns how a watched import is getting on as far as is remembered,
// and false if it is not watched.
func (c *Collector) Watched(key Key) (ImportView, bool) {
	var client *lakefs.Client
	if s := c.server(key.Server); s != nil {
		_, client = s.view()
	}
	return c.watch.view(key, c.now(), client)
}

// Register watches an import from now on, until it is unregistered or has been
// of no use for the retention. An import that is registered already takes on
// imp's settings. It returns whether imp is new to the exporter. When it
// returns without an error, that is durable. The error is a *RefusedError, or
// one of the Store.
func (c *Collector) Register(imp Import) (created bool, err error) {
	if c.memory == nil {
		return false, errNoStore
	}
	if c.server(imp.Server) == nil {
		return false, &RefusedError{Invalid, fmt.Sprintf("server %q is not configured", imp.Server)}
	}
	return c.memory.register(imp, c.now())
}

// Unregister ends what Register began. It does nothing if the import is not
// registered. When it returns without an error, that is durable. The error is a
// *RefusedError if config or files want the import, or one of the Store.
func (c *Collector) Unregister(key Key) error {
	if c.memory == nil {
		return errNoStore
	}
	return c.memory.unregister(key)
}

// Close stores what is not stored yet. The Store can be closed afterwards.
func (c *Collector) Close() error {
	return c.memory.close()
}

// ServerName returns the name of the server that name means: its own, or that
// of the only server if it is empty. The error says what is wrong with name. A
// server that has left the config is known as long as imports of it are watched.
func (c *Collector) ServerName(name string) (string, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	names := slices.Sorted(maps.Keys(c.servers))
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", fmt.Errorf("server is missing: must be one of %q", names)
	case c.servers[name] == nil && !c.watch.hasServer(name):
		return "", fmt.Errorf("server %q is not configured: must be one of %q", name, names)
	}
	return name, nil
}

// server returns a configured server, or nil.
func (c *Collector) server(name string) *server {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.servers[name]
}

// lookAtFiles brings the watchlist up to date with the files.
func (c *Collector) lookAtFiles() {
	c.filesMu.Lock()
	defer c.filesMu.Unlock()
	if c.files == nil {
		return
	}
	set := c.files.Load()
	if set.Version != c.fileSet.Version {
		c.watch.set(map[Origin][]Import{FromFile: c.shard.imports(set.Imports)})
	}
	c.fileSet = set
}

// allServers returns the servers, by name.
func (c *Collector) allServers() []*server {
	c.mu.RLock()
	defer c.mu.RUnlock()
	servers := slices.Collect(maps.Values(c.servers))
	slices.SortFunc(servers, func(a, b *server) int { return cmp.Compare(a.name, b.name) })
	return servers
}

// Snapshot returns how all imports are getting on as far as is remembered.
func (c *Collector) Snapshot() *Snapshot {
	c.filesMu.Lock()
	failed := c.fileSet.Failed
	c.filesMu.Unlock()
	servers := c.allServers()
	clients := make(map[string]*lakefs.Client, len(servers))
	views := make([]ServerView, len(servers))
	for i, s := range servers {
		views[i], clients[s.name] = s.view()
	}
	now := c.now()
	return &Snapshot{
		At:           now,
		Servers:      views,
		Imports:      c.watch.views(now, clients),
		Repositories: c.watch.repositoryViews(),
		exporter:     true,
		failedFiles:  failed,
	}
}
