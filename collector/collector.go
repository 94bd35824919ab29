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
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/lakefs"
)

// Options are what a Collector needs besides its Config. All are required.
type Options struct {
	// Now is the exporter's clock.
	Now    func() time.Time
	Logger log.Logger
	// Registerer takes the metrics of the exporter's own work. Those of imports
	// and servers are in the snapshots.
	Registerer prometheus.Registerer
}

// Collector watches imports: it polls them when it is asked how they are, and
// remembers what it saw. It is safe for concurrent use.
type Collector struct {
	now     func() time.Time
	logger  log.Logger
	metrics *metrics
	watch   *watchlist

	// filesMu guards the look at the files, and keeps it to one at a time.
	filesMu sync.Mutex
	files   Source
	fileSet FileSet

	mu      sync.RWMutex
	servers map[string]*server
	scraped time.Time // when the newest scrape was over
}

// New returns a Collector that watches nothing until a Config is applied.
func New(opts Options) *Collector {
	return &Collector{
		now:     opts.Now,
		logger:  opts.Logger,
		metrics: newMetrics(opts.Registerer),
		watch:   newWatchlist(),
		servers: map[string]*server{},
	}
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
	c.watch.set(map[Origin][]Import{FromConfig: cfg.Imports, FromFile: c.fileSet.Imports})
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

// Scrape looks at the files, polls every watched import that may have news,
// and returns how all are getting on. At ctx's deadline it stops and returns
// what it has; if ctx is cancelled otherwise, the result is of no use to anyone.
func (c *Collector) Scrape(ctx context.Context) *Snapshot {
	c.lookAtFiles()
	var wg sync.WaitGroup
	for _, s := range c.allServers() {
		wg.Go(func() { s.refresh(ctx) })
	}
	wg.Wait()
	c.mu.Lock()
	c.scraped = c.now()
	c.mu.Unlock()
	return c.snapshot()
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
	return c.snapshot()
}

// Import polls one import, if its newest poll is over a second old and it is
// not finished, and returns how it is getting on. It returns false if the
// import is not watched.
func (c *Collector) Import(ctx context.Context, key Key) (ImportView, bool) {
	c.mu.RLock()
	s := c.servers[key.Server]
	c.mu.RUnlock()
	if s == nil {
		return ImportView{}, false
	}
	s.refreshOne(ctx, key)
	_, client := s.view()
	return c.watch.view(key, c.now(), client)
}

// ServerName returns the name of the server that name means: its own, or that
// of the only server if it is empty. The error says what is wrong with name.
func (c *Collector) ServerName(name string) (string, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	names := slices.Sorted(maps.Keys(c.servers))
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", fmt.Errorf("server is missing: must be one of %q", names)
	case c.servers[name] == nil:
		return "", fmt.Errorf("server %q is not configured: must be one of %q", name, names)
	}
	return name, nil
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
		c.watch.set(map[Origin][]Import{FromFile: set.Imports})
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

// snapshot returns how all is now, by what is remembered.
func (c *Collector) snapshot() *Snapshot {
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
	return &Snapshot{At: now, Servers: views, Imports: c.watch.views(now, clients), failedFiles: failed}
}
