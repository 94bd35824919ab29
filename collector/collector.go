// Package collector decides which imports are watched, what of them is polled
// for a scrape, what is remembered, what it means, and which metrics tell it.
package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"lakefs_import_exporter/lakefs"
)

// filesPatience is how long Apply waits for import files: a file system that
// hangs must not keep a reload waiting.
const filesPatience = time.Second

// refreshTimeout bounds a poll of everything that is not a scrape.
const refreshTimeout = 10 * time.Second

// Options are what a Collector needs besides its Config.
type Options struct {
	// Now is the exporter's clock.
	Now    func() time.Time
	Logger log.Logger
	// Registerer takes the metrics of the exporter's own work and the counters
	// of imports. The others are in the snapshots.
	Registerer prometheus.Registerer
	// Shard is the part of the imports and repositories that is this
	// exporter's; the zero value is all.
	Shard Shard
	// Store is durable memory; nil for none, and then nothing can be registered.
	Store Store
	// Retention is how long registered imports are kept that are of no more
	// use, and what was seen of imports that are not watched any more. It must
	// be positive if there is a Store.
	Retention time.Duration
	// MaxRegistered is how many imports can be registered.
	MaxRegistered int
	// FinishedFor is how long succeeded and canceled imports have series of
	// their own.
	FinishedFor time.Duration
}

// Config is what a Collector works with until the next one is applied. It is not
// changed after it was handed over.
type Config struct {
	// Servers have distinct names.
	Servers []Server
	// Imports are distinct by Key, each of one of Servers.
	Imports []*Import
	// Repositories are distinct by server and name, each of one of Servers.
	Repositories []Repository
	// Files may be nil.
	Files Files
}

// Files are the import files of a Config. They change between reloads.
type Files interface {
	// Watch hands over a FileSet at once, and another one whenever something
	// has changed, until ctx is done. It may block on a file system that hangs.
	Watch(ctx context.Context, changed func(FileSet))
}

// FileSet is the content of all import files at one time. It is not changed
// after it was handed over.
type FileSet struct {
	// Imports are distinct by Key, each of a configured server. A file that does
	// not load is represented by its last good content.
	Imports []*Import
	// Errors tells for every file, by name, why it does not load now; empty if
	// it does. The names are valid UTF-8.
	Errors map[string]string
}

// Collector watches imports: it polls them when it is asked about them, and
// remembers what it saw. It is safe for concurrent use.
type Collector struct {
	opts     Options
	counters *counters
	watch    *watchlist
	persist  *persister

	applying  sync.Mutex
	stopFiles context.CancelFunc // ends the watch of the files of the Config before
	refreshes singleflight.Group

	mu         sync.Mutex
	servers    map[string]*server
	fileErrors map[string]string // see FileSet
	scraped    time.Time         // when the newest scrape was over
}

// New returns a Collector that watches nothing but the registered imports until
// a Config is applied, but has all that is stored in memory. The error is that
// of Store.Load. Close it when it is no longer needed.
func New(opts Options) (*Collector, error) {
	counters := newCounters(opts.Registerer, opts.Shard)
	c := &Collector{
		opts:     opts,
		counters: counters,
		watch: &watchlist{
			now: opts.Now, logger: opts.Logger, counters: counters, shard: opts.Shard,
			started: opts.Now(), retention: opts.Retention, durable: opts.Store != nil,
			entries: map[Key]*entry{},
		},
		stopFiles: func() {},
		servers:   map[string]*server{},
	}
	c.persist = &persister{
		store: opts.Store, watch: c.watch, errors: counters.storageErrors,
		expiryTime: c.expiryTime, maxRegistered: opts.MaxRegistered,
	}
	return c, c.persist.start()
}

// Close ends all polls, and stores what is not stored yet. The Store can be
// closed afterwards.
func (c *Collector) Close() error {
	c.applying.Lock()
	defer c.applying.Unlock()
	c.stopFiles()
	for _, s := range c.allServers() {
		s.close()
	}
	return c.persist.close()
}

// Apply makes cfg the Config to work with. What is remembered of an import
// stays as long as it is watched, and so does a server's pause after a 429.
func (c *Collector) Apply(cfg Config) {
	c.applying.Lock()
	defer c.applying.Unlock()
	c.applyServers(cfg.Servers)
	c.watch.set(FromConfig, cfg.Imports)
	c.watch.setRepositories(cfg.Repositories)
	c.applyFiles(cfg.Files)
	for name, n := range c.watch.perServer() {
		if c.server(name) == nil {
			level.Warn(c.opts.Logger).Log("msg", "Not polling imports: their server is not configured", "server", name, "imports", n)
		}
	}
}

func (c *Collector) applyServers(settings []Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	servers := make(map[string]*server, len(settings))
	for _, set := range settings {
		s := c.servers[set.Name]
		if s == nil {
			s = c.newServer(set)
		} else {
			s.apply(set)
		}
		servers[set.Name] = s
		s.discover(set.Discovery)
	}
	for name, s := range c.servers {
		if servers[name] == nil {
			s.discover(nil)
			s.close()
			c.counters.remove(Key{Server: name})
		}
	}
	c.servers = servers
}

func (c *Collector) newServer(set Server) *server {
	logger := log.With(c.opts.Logger, "server", set.Name)
	record := func(t *target, a *answer) { c.watch.record(t, a.Poll, a.status, a.lastImport) }
	return &server{
		poller: newPoller(set, c.opts.Now, logger, c.counters.addServer(set.Name), record),
		name:   set.Name, counters: c.counters, watch: c.watch,
		stopDiscovery: func() {}, stands: ServerView{Authorized: true},
	}
}

// applyFiles begins to watch files instead of those before, and waits a while
// for their content.
func (c *Collector) applyFiles(files Files) {
	c.stopFiles()
	ctx, cancel := context.WithCancel(context.Background())
	c.stopFiles = cancel
	if files == nil {
		c.setFiles(ctx, FileSet{})
		return
	}
	var once sync.Once
	first := make(chan struct{})
	go files.Watch(ctx, func(set FileSet) {
		c.setFiles(ctx, set)
		once.Do(func() { close(first) })
	})
	select {
	case <-first:
	case <-time.After(filesPatience):
		level.Warn(c.opts.Logger).Log("msg", "Still reading import files; their imports are watched as soon as they are read")
	}
}

// setFiles takes over the content of the import files, unless ctx is done:
// then it is that of a Config before.
func (c *Collector) setFiles(ctx context.Context, set FileSet) {
	c.mu.Lock()
	defer c.mu.Unlock() // over the change of both: a later Config's comes after it
	if ctx.Err() == nil {
		c.fileErrors = set.Errors
		c.watch.set(FromFile, set.Imports)
	}
}

// Poll polls every watched import that may have news, and every repository. It
// returns when all have answered, or else when ctx is done.
func (c *Collector) Poll(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range c.allServers() {
		wg.Go(func() { s.scrape(ctx) })
	}
	wg.Wait()
	if !errors.Is(ctx.Err(), context.Canceled) {
		c.mu.Lock()
		c.scraped = c.opts.Now()
		c.mu.Unlock()
	}
}

// Save has what was seen stored soon, without waiting for it. It is to be called
// when a scrape has been answered.
func (c *Collector) Save() { c.persist.notify() }

// Refresh has everything polled if the newest scrape is older than maxAge. It
// returns when that is done, or else when ctx is. All callers share one poll,
// which goes on in the background.
func (c *Collector) Refresh(ctx context.Context, maxAge time.Duration) {
	c.mu.Lock()
	age := c.opts.Now().Sub(c.scraped)
	c.mu.Unlock()
	if age >= 0 && age <= maxAge {
		return
	}
	polled := c.refreshes.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
		defer cancel()
		c.Poll(ctx)
		c.Save()
		return nil, nil //nolint:nilnil // there is nothing to share
	})
	select {
	case <-polled:
	case <-ctx.Done():
	}
}

// Import polls one import, unless it was polled less than a second ago or has
// finished, and returns how it stands. It returns false if it is not watched.
func (c *Collector) Import(ctx context.Context, key Key) (ImportView, bool) {
	v, ok := c.Watched(key)
	s := c.server(key.Server)
	if !ok || s == nil || v.Confirmed {
		return v, ok
	}
	defer c.Save()
	_, missed := s.poll(ctx, single, target{Key: key, branch: v.Branch})
	v, ok = c.Watched(key)
	if len(missed) > 0 {
		v.Poll = missedPoll(c.opts.Now())
	}
	return v, ok
}

// Watched returns how a watched import stands as far as is known, and false if
// it is not watched.
func (c *Collector) Watched(key Key) (ImportView, bool) {
	var client *lakefs.Client
	if s := c.server(key.Server); s != nil {
		client = s.client()
	}
	return c.watch.view(key, c.opts.Now(), client)
}

// Probe polls an import that need not be watched, unless it was polled less
// than a second ago, and returns what that poll alone tells of it. A watched
// import that has finished is not polled again. It returns nil if the server of
// key is not configured.
func (c *Collector) Probe(ctx context.Context, key Key, branch string) *Snapshot {
	s := c.server(key.Server)
	if s == nil {
		return nil
	}
	e := newEntry()
	e.describe(&Import{Key: key, Branch: branch, NoProgressAfter: DefaultNoProgressAfter})
	asked := target{Key: key, branch: branch}
	if watched, ok := c.Watched(key); ok && watched.Confirmed {
		asked.Key, e.seen, e.poll = Key{Server: key.Server}, watched.Observation, watched.Poll
	} else if ok {
		asked.branch = watched.Branch // who watches it may share the answer, and is allowed that branch
	}
	a := &answer{Poll: missedPoll(c.opts.Now()), sent: true}
	if answered, _ := s.poll(ctx, single, asked); len(answered) > 0 {
		a = &answered[0].answer
	}
	if asked.ID != "" {
		e.record(a.Poll, a.status)
	}
	server, now := s.view(), c.opts.Now()
	server.Up = a.fromLakeFS || !a.sent // a pause is lakeFS's own wish
	return &Snapshot{
		At: now, Servers: []ServerView{server}, Imports: []ImportView{e.view(now, s.client())},
		finishedFor: math.MaxInt64, ofProbe: true,
	}
}

// Register watches an import from now on, until it is unregistered or has been
// of no use for the retention. An import that is registered already takes on
// imp's settings. It returns whether imp is new to the exporter. When it
// returns without an error, that is durable. The error is a ConflictError, one
// of the Store, or ErrStorageTimeout if ctx is done before the Store answers.
func (c *Collector) Register(ctx context.Context, imp Import) (created bool, err error) {
	if c.server(imp.Server) == nil {
		return false, ConflictError(fmt.Sprintf("server %q is not configured", imp.Server))
	}
	if v, ok := c.Watched(imp.Key); ok && imp.Branch == lakefs.UnknownBranch {
		imp.Branch = v.Branch
	}
	return c.persist.register(ctx, imp)
}

// Unregister ends what Register began. It does nothing if the import is not
// registered. When it returns without an error, that is durable. The error is a
// ConflictError if the import is watched for another reason, or as Register's.
func (c *Collector) Unregister(ctx context.Context, key Key) error {
	return c.persist.unregister(ctx, key)
}

// ServerName returns the name of the server that name means: its own, or that
// of the only server if it is empty. The error says what is wrong with name. A
// server that is not configured any more is known as long as imports of it are
// watched.
func (c *Collector) ServerName(name string) (string, error) {
	var names []string
	for _, s := range c.allServers() {
		names = append(names, s.name)
	}
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", fmt.Errorf("server is missing: must be one of %s", strings.Join(names, ", "))
	case !slices.Contains(names, name) && c.watch.perServer()[name] == 0:
		return "", fmt.Errorf("server %q is not configured: must be one of %s", name, strings.Join(names, ", "))
	}
	return name, nil
}

// server returns a configured server, or nil.
func (c *Collector) server(name string) *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.servers[name]
}

// allServers returns the servers, by name.
func (c *Collector) allServers() []*server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.servers), func(a, b *server) int { return cmp.Compare(a.name, b.name) })
}

// expiryTime returns the time by which the retention is judged: the exporter's
// clock or, if that is ahead, lakeFS's. It returns false until lakeFS has told
// its own, so that a start with a wrong clock removes nothing.
func (c *Collector) expiryTime() (now time.Time, ok bool) {
	now = c.opts.Now()
	behind := time.Duration(0)
	for _, s := range c.allServers() {
		v := s.view()
		behind, ok = min(behind, v.ClockSkew), ok || v.ClockSkewKnown
	}
	return now.Add(behind), ok
}

// Snapshot returns how everything stands as far as is known.
func (c *Collector) Snapshot() *Snapshot {
	now := c.opts.Now()
	s := &Snapshot{At: now, Storage: c.persist.failure.Load(), finishedFor: c.opts.FinishedFor}
	clients := map[string]*lakefs.Client{}
	for _, server := range c.allServers() {
		s.Servers, clients[server.name] = append(s.Servers, server.view()), server.client()
	}
	s.Imports, s.Repositories = c.watch.views(now, clients)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.FileErrors, s.scraped = c.fileErrors, !c.scraped.IsZero()
	return s
}
