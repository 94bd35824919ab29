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
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/lakefs"
)

// filesPatience is how long Apply waits for import files: a file system that
// hangs must not keep a reload waiting.
const filesPatience = time.Second

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

// Config is what a Collector works with until the next one is applied.
type Config struct {
	// Servers have distinct names.
	Servers []Server
	// Imports are distinct by Key, each of one of Servers.
	Imports []Import
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
	Imports []Import
	// Errors tells for every file, by name, why it does not load now; empty if
	// it does. The names are valid UTF-8.
	Errors map[string]string
}

// Collector watches imports: it polls them when it is asked about them, and
// remembers what it saw. It is safe for concurrent use.
type Collector struct {
	now          func() time.Time
	logger       log.Logger
	counters     *counters
	shard        Shard
	finishedFor  time.Duration
	retention    time.Duration
	watch        *watchlist
	repositories *repositoryList
	persist      *persister // nil without a Store

	applying  sync.Mutex
	stopFiles context.CancelFunc // ends the watch of the files of the Config before

	mu         sync.RWMutex
	servers    map[string]*polledServer
	fileErrors map[string]string
	scraped    time.Time // when the newest scrape was over
}

// polledServer is a lakeFS server with its polls and how it stands.
type polledServer struct {
	*poller
	*serverStatus
	*discoverer
	name string
}

// New returns a Collector that watches nothing but the registered imports until
// a Config is applied, but has all that is stored in memory. The error is that
// of Store.Load. Close it when it is no longer needed.
func New(opts Options) (*Collector, error) {
	counters := newCounters(opts.Registerer)
	c := &Collector{
		now:          opts.Now,
		logger:       opts.Logger,
		counters:     counters,
		shard:        opts.Shard,
		finishedFor:  opts.FinishedFor,
		retention:    opts.Retention,
		watch:        newWatchlist(opts.Now(), counters, importBlock),
		repositories: &repositoryList{},
		stopFiles:    func() {},
		servers:      map[string]*polledServer{},
	}
	c.watch.retention = opts.Retention
	if opts.Store == nil {
		return c, nil
	}
	c.persist = &persister{
		store:         opts.Store,
		now:           opts.Now,
		retention:     opts.Retention,
		maxRegistered: opts.MaxRegistered,
		watch:         c.watch,
		logger:        opts.Logger,
		errors:        counters.storageErrors,
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
		s.discoverer.close()
		s.poller.close()
	}
	return c.persist.close()
}

// Apply makes cfg the Config to work with. What is remembered of an import
// stays as long as it is watched, and so does a server's pause after a 429.
func (c *Collector) Apply(cfg Config) {
	c.applying.Lock()
	defer c.applying.Unlock()
	servers := c.applyServers(cfg.Servers)
	c.watch.set(FromConfig, filter(c.shard, cfg.Imports, importName))
	c.repositories.set(filter(c.shard, cfg.Repositories, func(r *Repository) (server, repository, id string) { return r.Server, r.Name, "" }))
	c.applyFiles(cfg.Files)
	configured := func(name string) bool { return servers[name] != nil }
	for name, n := range c.watch.setUnpolled(configured, c.now()) {
		level.Warn(c.logger).Log("msg", "Not polling imports: their server is not configured", "server", name, "imports", n)
	}
}

func importName(i *Import) (server, repository, id string) { return i.Server, i.Repository, i.ID }

func (c *Collector) applyServers(settings []Server) map[string]*polledServer {
	c.mu.Lock()
	defer c.mu.Unlock()
	servers := make(map[string]*polledServer, len(settings))
	for _, set := range settings {
		s := c.servers[set.Name]
		if s == nil {
			s = c.newServer(set)
		} else {
			s.poller.apply(set)
		}
		servers[set.Name] = s
		s.discoverer.apply(set.Discovery)
	}
	for name, s := range c.servers {
		if servers[name] == nil {
			s.discoverer.apply(nil)
			s.poller.close()
			c.counters.removeServer(name)
		}
	}
	c.servers = servers
	return servers
}

func (c *Collector) newServer(set Server) *polledServer {
	logger := log.With(c.logger, "server", set.Name)
	s := &polledServer{name: set.Name, serverStatus: newStatus(logger), poller: newPoller(set)}
	s.poller.now, s.poller.logger, s.polled = c.now, logger, c.counters.addServer(set.Name)
	s.record = func(t target, a *pollAnswer, again bool) {
		if t.kind == targetRepository {
			c.repositories.record(t.key(set.Name), a.poll(), a.lastImport, again)
		} else {
			c.watch.record(t.key(set.Name), a.poll(), a.status, again)
		}
	}
	s.discoverer = &discoverer{
		now: c.now, logger: logger,
		add: func() func(error) { return c.counters.addDiscovery(set.Name) },
		found: func(d Discovery, found []Import) {
			c.watch.setDiscovered(set.Name, d, filter(c.shard, found, importName), c.now())
		},
	}
	return s
}

// key returns the Key of what t is, on a server. That of a repository has no ID.
func (t target) key(server string) Key { return Key{server, t.repository, t.id} }

// applyFiles begins to watch files instead of those before, and waits a while
// for their content.
func (c *Collector) applyFiles(files Files) {
	c.stopFiles()
	if files == nil {
		c.stopFiles = func() {}
		c.setFiles(context.Background(), FileSet{})
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stopFiles = cancel
	var once sync.Once
	first := make(chan struct{})
	go files.Watch(ctx, func(set FileSet) {
		c.setFiles(ctx, set)
		once.Do(func() { close(first) })
	})
	select {
	case <-first:
	case <-time.After(filesPatience):
		level.Warn(c.logger).Log("msg", "Still reading import files; their imports are watched as soon as they are read")
	}
}

// setFiles takes over the content of the import files, unless ctx is done:
// then it is that of a Config before.
func (c *Collector) setFiles(ctx context.Context, set FileSet) {
	c.mu.Lock()
	defer c.mu.Unlock() // over the change of both: a later Config's comes after it
	if ctx.Err() != nil {
		return
	}
	c.fileErrors = set.Errors
	c.watch.set(FromFile, filter(c.shard, set.Imports, importName))
	if c.persist == nil { // which does this else
		_, departed := c.watch.outdated(c.now(), c.retention)
		c.watch.forget(departed)
	}
}

// Poll polls every watched import that may have news, and every repository. It
// returns when all have answered, or else when ctx is done.
func (c *Collector) Poll(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range c.allServers() {
		wg.Go(func() { c.scrape(ctx, s) })
	}
	wg.Wait()
	if !errors.Is(ctx.Err(), context.Canceled) {
		c.mu.Lock()
		c.scraped = c.now()
		c.mu.Unlock()
	}
}

// scrape is Poll for one server.
func (c *Collector) scrape(ctx context.Context, s *polledServer) {
	begin := c.now()
	answers, missed := s.poll(ctx, batch, c.requests(s.name)...)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the client hung up: that says nothing about lakeFS
	}
	c.skip(s.name, missed, begin)
	s.update(answers, len(missed), c.now())
}

// requests returns what a scrape needs of a server.
func (c *Collector) requests(server string) []pollRequest {
	repositories, imports := c.repositories.due(server), c.watch.due(server)
	requests := make([]pollRequest, 0, len(repositories)+len(imports)+1)
	for i := range max(len(repositories), len(imports)) { // in turns, so that neither starves the other
		if i < len(repositories) {
			requests = append(requests, pollRequest{target: target{kind: targetRepository, repository: repositories[i]}})
		}
		if i < len(imports) {
			requests = append(requests, importRequest(imports[i]))
		}
	}
	if len(requests) == 0 {
		requests = append(requests, pollRequest{target: target{kind: targetHealth}})
	}
	return requests
}

// skip notes of targets that a scrape that began at the time begin could not
// wait for their polls.
func (c *Collector) skip(server string, missed []target, begin time.Time) {
	if len(missed) == 0 {
		return
	}
	keys := make([]Key, len(missed))
	for i, t := range missed {
		keys[i] = t.key(server)
	}
	p := Poll{Result: resultTimeout, At: c.now(), Message: missedDeadline}
	c.watch.skip(keys, begin, p)
	c.repositories.skip(keys, begin, p)
}

// Save has what was seen stored soon, without waiting for it. It is to be called
// when a scrape has been answered.
func (c *Collector) Save() { c.persist.notify() }

// Recent returns how all imports stand, polled anew if the newest scrape is
// older than maxAge.
func (c *Collector) Recent(ctx context.Context, maxAge time.Duration) *Snapshot {
	c.mu.RLock()
	age := c.now().Sub(c.scraped)
	c.mu.RUnlock()
	if age < 0 || age > maxAge {
		c.Poll(ctx)
		defer c.persist.notify()
	}
	return c.Snapshot()
}

// Import polls one import, unless it was polled less than a second ago or has
// finished, and returns how it stands. It returns false if it is not watched.
func (c *Collector) Import(ctx context.Context, key Key) (ImportView, bool) {
	s := c.server(key.Server)
	if ref, due := c.watch.dueOne(key); due && s != nil {
		_, missed := s.poll(ctx, single, importRequest(ref))
		defer c.persist.notify()
		if len(missed) > 0 {
			v, ok := c.Watched(key)
			v.Poll = Poll{Result: resultTimeout, At: c.now(), Message: missedDeadline}
			return v, ok
		}
	}
	return c.Watched(key)
}

// Watched returns how a watched import stands as far as is known, and false if
// it is not watched.
func (c *Collector) Watched(key Key) (ImportView, bool) {
	var client *lakefs.Client
	if s := c.server(key.Server); s != nil {
		client = s.client()
	}
	return c.watch.view(key, c.now(), client)
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
	imp := &Import{Key: key, Branch: branch, NoProgressAfter: DefaultNoProgressAfter}
	v := ImportView{Import: imp, Observation: &Observation{}, block: importBlock(imp)}
	server := s.view()
	request := importRequest(imp.Ref())
	watched, ok := c.Watched(key)
	if ok {
		// Who watches it may share the answer: it should be allowed where that is.
		request = importRequest(watched.Ref())
	}
	if ok && watched.Confirmed {
		v.Observation, v.Poll = watched.Observation, watched.Poll
		request = pollRequest{target: target{kind: targetHealth}}
	}
	c.probe(ctx, s, request, &v, &server)
	v.now, v.client = c.now(), s.client()
	v.StartedAt, _ = lakefs.StartTime(key.ID)
	v.State = stateOf(v.Observation, v.NoProgressAfter, v.ExpectedObjects)
	return &Snapshot{At: v.now, Servers: []ServerView{server}, Imports: []ImportView{v}, finishedFor: math.MaxInt64}
}

// probe sends the request of a probe of v, and notes in server whether lakeFS
// answered.
func (c *Collector) probe(ctx context.Context, s *polledServer, r pollRequest, v *ImportView, server *ServerView) {
	a := &pollAnswer{at: c.now(), result: resultTimeout, message: missedDeadline, sent: true, err: context.DeadlineExceeded}
	if answers, _ := s.poll(ctx, single, r); len(answers) > 0 {
		a = answers[0]
	}
	server.Up = a.fromLakeFS() || !a.sent // a pause is lakeFS's own wish
	if r.kind != targetImport {
		return
	}
	v.Poll = a.poll()
	switch a.result {
	case resultSuccess:
		v.Observation = v.withStatus(a.status, a.at)
	case resultNotFound:
		v.Observation = v.withNotFound(a.at)
	default: // nothing was learned about the import
	}
}

// Register watches an import from now on, until it is unregistered or has been
// of no use for the retention. An import that is registered already takes on
// imp's settings. It returns whether imp is new to the exporter. When it
// returns without an error, that is durable. The error is a *RefusedError, one
// of the Store, or ErrStorageTimeout if ctx is done before the Store answers.
func (c *Collector) Register(ctx context.Context, imp Import) (created bool, err error) {
	if c.persist == nil {
		return false, errNoStore
	}
	if c.server(imp.Server) == nil {
		return false, &RefusedError{Invalid, fmt.Sprintf("server %q is not configured", imp.Server)}
	}
	if d := c.watch.find(imp.Key); d != nil && imp.Branch == lakefs.UnknownBranch {
		imp.Branch = d.Branch
	}
	return c.persist.register(ctx, imp)
}

// Unregister ends what Register began. It does nothing if the import is not
// registered. When it returns without an error, that is durable. The error is a
// *RefusedError if the import is watched for another reason, or as Register's.
func (c *Collector) Unregister(ctx context.Context, key Key) error {
	if c.persist == nil {
		return errNoStore
	}
	return c.persist.unregister(ctx, key)
}

// ServerName returns the name of the server that name means: its own, or that
// of the only server if it is empty. The error says what is wrong with name. A
// server that is not configured any more is known as long as imports of it are
// watched.
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
func (c *Collector) server(name string) *polledServer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.servers[name]
}

// allServers returns the servers, by name.
func (c *Collector) allServers() []*polledServer {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.servers), func(a, b *polledServer) int { return cmp.Compare(a.name, b.name) })
}

// view returns how the server stands.
func (s *polledServer) view() ServerView {
	v := s.serverStatus.view()
	v.Name, v.URL, v.PausedUntil, v.Discovery = s.name, s.client().EndpointURL(), s.pause().UTC(), s.discoverer.view()
	return v
}

// Snapshot returns how everything stands as far as is known.
func (c *Collector) Snapshot() *Snapshot {
	servers := c.allServers()
	clients := make(map[string]*lakefs.Client, len(servers))
	views := make([]ServerView, len(servers))
	for i, s := range servers {
		views[i], clients[s.name] = s.view(), s.client()
	}
	c.mu.RLock()
	fileErrors := c.fileErrors
	c.mu.RUnlock()
	now := c.now()
	return &Snapshot{
		At:           now,
		Servers:      views,
		Imports:      c.watch.views(now, clients),
		Repositories: c.repositories.views(),
		FileErrors:   fileErrors,
		Storage:      c.persist.failure(),
		finishedFor:  c.finishedFor,
		totalShards:  int(max(c.shard.Total, 1)), //nolint:gosec // G115: nobody has so many
	}
}
