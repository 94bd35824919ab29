package collector_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

var errDisk = errors.New("no space left on device")

// fakeStore is a Store in memory that can be made to fail and to block.
type fakeStore struct {
	updates chan collector.Changes // that were asked for, in their order

	mu           sync.Mutex
	imports      map[collector.Key]collector.Registration
	observations map[collector.Key]collector.Observation
	skipped      []error
	fail         error
	block        chan struct{} // if set, Update waits for it
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		updates:      make(chan collector.Changes, 1000),
		imports:      map[collector.Key]collector.Registration{},
		observations: map[collector.Key]collector.Observation{},
	}
}

func (s *fakeStore) set(fail error, block chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.block = fail, block
}

func (s *fakeStore) Load() (collector.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := collector.Stored{Registrations: slices.Collect(maps.Values(s.imports)), Skipped: s.skipped}
	for key, o := range s.observations {
		stored.Observations = append(stored.Observations, collector.Observed{Key: key, Observation: o})
	}
	return stored, s.fail
}

func (s *fakeStore) Update(c collector.Changes) error {
	s.mu.Lock()
	block := s.block
	s.mu.Unlock()
	if block != nil {
		s.updates <- c
		<-block
	} else {
		defer func() { s.updates <- c }()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, key := range c.Delete {
		delete(s.imports, key)
		delete(s.observations, key)
	}
	for _, r := range c.PutRegistrations {
		s.imports[r.Key] = r
	}
	for _, o := range c.PutObservations {
		s.observations[o.Key] = o.Observation
	}
	return nil
}

// observed returns what is stored of an import.
func (s *fakeStore) observed(key collector.Key) collector.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observations[key]
}

// size returns how many registrations and observations are stored.
func (s *fakeStore) size() (registrations, observations int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.imports), len(s.observations)
}

// save saves, and returns of which imports something was stored.
func (w *world) save() (ids []string) {
	for len(w.store.updates) > 0 {
		<-w.store.updates // of registrations
	}
	w.collector.Save()
	for _, o := range (<-w.store.updates).PutObservations {
		ids = append(ids, o.ID)
	}
	return ids
}

// register registers an import.
func (w *world) register(imp collector.Import) collector.Key {
	w.t.Helper()
	if _, err := w.collector.Register(context.Background(), imp); err != nil {
		w.t.Fatal(err)
	}
	return imp.Key
}

func (w *world) unregister(key collector.Key) {
	w.t.Helper()
	if err := w.collector.Unregister(context.Background(), key); err != nil {
		w.t.Fatal(err)
	}
}

// stop closes the collector.
func (w *world) stop() {
	w.t.Helper()
	if err := w.close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func TestUnfinishedImportsAreStoredOnceAMinute(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	running := w.watch(w.lakeFS.Start("running", branch, lakefstest.Script{Objects: 1e9, Rate: 100}))
	stored := 0
	for range 9 { // two minutes; one import finishes each time
		finished := w.watch(w.lakeFS.Start("finished", branch, ending(lakefstest.Failure, time.Second)))
		w.after(15 * time.Second)
		ids := w.save()
		if slices.Contains(ids, running.ID) {
			stored++
		}
		if !slices.Contains(ids, finished.ID) {
			t.Errorf("a finished import is not stored: %q", ids)
		}
	}
	if stored != 3 {
		t.Errorf("stored %d times, want 3", stored)
	}
	// A restart does not restart the clocks of stalls and progress.
	before := w.watched(running)
	w.restart()
	equal(t, "what is known", before.Observation, w.watched(running).Observation)
}

func TestRegister(t *testing.T) {
	w := newWorldWith(t, newFakeStore(), func(o *collector.Options) { o.MaxRegistered = 3 })
	imp := func(server, id string) collector.Import {
		i := newImport(lakefs.Ref{Repository: repo, Branch: branch, ID: id})
		i.Server = server
		return i
	}
	w.watch(lakefs.Ref{Repository: repo, Branch: branch, ID: "in-config"})
	for _, tc := range []struct {
		name     string
		imp      collector.Import
		created  bool
		conflict bool
	}{
		{name: "new", imp: imp("prod", "a"), created: true},
		{name: "again", imp: imp("prod", "a")},
		{name: "unknown server", imp: imp("dev", "a"), conflict: true},
		{name: "in the config", imp: imp("prod", "in-config")},
		{name: "third", imp: imp("prod", "b"), created: true},
		{name: "one too many", imp: imp("prod", "c"), conflict: true},
		{name: "known at the limit", imp: imp("prod", "b")},
	} {
		created, err := w.collector.Register(t.Context(), tc.imp)
		var conflict collector.ConflictError
		if created != tc.created || errors.As(err, &conflict) != tc.conflict {
			t.Errorf("%s: created %v, %v", tc.name, created, err)
		}
	}
	changed := imp("prod", "a")
	changed.Branch, changed.ExpectedObjects = "dev", 7
	w.register(changed)
	changed.Branch = lakefs.UnknownBranch
	w.register(changed)
	w.unregister(imp("prod", "b").Key)
	w.restart()
	w.cfg.Imports = nil
	w.collector.Apply(w.cfg)
	var registered []string
	for _, v := range w.collector.Snapshot().Imports {
		registered = append(registered, fmt.Sprintf("%s: %d objects into %s", v.ID, v.ExpectedObjects, v.Branch))
	}
	equal(t, "registered", []string{"a: 7 objects into dev", "in-config: 0 objects into main"}, registered)
}

func TestRetention(t *testing.T) {
	endless := lakefstest.Script{Objects: 1e9, Rate: 1}
	for _, tc := range []struct {
		name   string
		script *lakefstest.Script // nil for an import that lakeFS does not know
		later  func(w *world, ref lakefs.Ref)
		leaves time.Duration // after it was registered
	}{
		{name: "finished", script: &lakefstest.Script{}, leaves: 24*time.Hour + time.Minute},
		{name: "never found", leaves: 24*time.Hour + 59*time.Second},
		{name: "lost", script: &endless, later: func(w *world, ref lakefs.Ref) { w.lakeFS.Forget(ref) }, leaves: 25*time.Hour + time.Minute},
		{name: "no status for long", script: &endless, later: func(w *world, _ lakefs.Ref) {
			w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 401, Body: lakefstest.Message("error authenticating request")})
		}, leaves: 7*24*time.Hour + time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorldWith(t, newFakeStore())
			w.lakeFS.AddRepository(repo)
			ref := unknownRef
			if tc.script != nil {
				ref = w.lakeFS.Start(repo, branch, *tc.script)
			}
			key := w.register(newImport(ref))
			registered := w.clock.Now()
			w.after(59 * time.Second)
			w.after(time.Second)
			w.advance(time.Hour)
			if tc.later != nil {
				tc.later(w, ref)
				w.scrape()
			}
			w.restart()
			w.advance(registered.Add(tc.leaves - time.Millisecond).Sub(w.clock.Now()))
			w.scrape()
			w.restart()
			w.watched(key)
			w.advance(time.Millisecond)
			w.scrape()
			w.restart()
			if _, ok := w.collector.Watched(key); ok {
				t.Error("still watched")
			}
			if registrations, observations := w.store.size(); registrations+observations > 0 {
				t.Errorf("still stored: %d registrations, %d observations", registrations, observations)
			}
			if !strings.Contains(strings.Join(w.log.important(), "\n"), "import_id="+ref.ID) {
				t.Error("not in the log")
			}
		})
	}
}

// A clock that is wrong at the start removes nothing that was registered.
func TestWrongClockAtTheStart(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	key := w.register(newImport(w.lakeFS.Start(repo, branch, import50k)))
	w.after(5 * time.Minute)
	w.after(time.Second)
	w.restart()
	w.clock.Advance(8 * 24 * time.Hour)
	w.restart()
	w.scrape()
	w.restart()
	w.clock.Advance(-8 * 24 * time.Hour)
	w.restart()
	if v := w.watched(key); v.State != collector.Succeeded {
		t.Errorf("got %s", v.State)
	}
}

// Labels are on each of an import's series: all of them together are bounded.
func TestLabelsOfRegisteredImportsAreBounded(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	labeled := func(id string, bytes int) collector.Import {
		return newImport(lakefs.Ref{Repository: repo, Branch: branch, ID: id}, func(i *collector.Import) {
			i.Labels = map[string]string{"team": strings.Repeat("x", bytes-len("team"))}
		})
	}
	refused := func(imp collector.Import) {
		t.Helper()
		var err collector.ConflictError
		if _, got := w.collector.Register(t.Context(), imp); !errors.As(got, &err) || !strings.Contains(err.Error(), "1 MiB") {
			t.Errorf("%s: %v", imp.ID, got)
		}
	}
	for i := range 256 {
		w.register(labeled(fmt.Sprint(i), 4<<10))
	}
	refused(labeled("256", 4<<10))
	refused(labeled("0", 4<<10+1))
	w.restart()
	w.register(labeled("0", 4<<10)) // as before
	w.register(labeled("1", 2<<10))
	w.register(labeled("256", 1<<10))
	refused(labeled("257", 1<<10+1))
	w.unregister(keyOf(lakefs.Ref{Repository: repo, ID: "2"}))
	w.register(labeled("257", 4<<10))
}

// What leaves the config is remembered for the retention, and then no longer.
func TestDepartedImports(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	ref := w.lakeFS.Start(repo, branch, lakefstest.Script{})
	key := w.watch(ref)
	watched := w.cfg.Imports
	apply := func(imports []*collector.Import) {
		w.cfg.Imports = imports
		w.collector.Apply(w.cfg)
	}
	w.store.set(errDisk, nil)
	w.after(time.Minute)
	w.after(time.Second)
	w.save() // in vain
	w.lakeFS.Forget(ref)
	apply(nil)
	w.store.set(nil, nil)
	w.restart()
	if got := w.collector.Snapshot().Imports; len(got) > 0 {
		t.Errorf("still watched: %+v", got)
	}
	apply(watched)
	equal(t, "after a restart", collector.Succeeded, w.watched(key).State)
	apply(nil)
	w.after(24 * time.Hour)
	w.restart()
	if _, observations := w.store.size(); observations != 0 {
		t.Error("a day later it is still stored")
	}
	apply(watched)
	equal(t, "a day later", collector.Unknown, w.watched(key).State)
}

// A full disk costs durability, and nothing else.
func TestStorageFails(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	key := w.register(newImport(w.lakeFS.Start(repo, branch, import50k)))
	w.store.set(errDisk, nil)
	w.advance(5 * time.Minute)
	for range 3 {
		w.advance(2 * time.Minute)
		if v := w.scrape().Imports[0]; v.State != collector.Succeeded {
			t.Errorf("got %s", v.State)
		}
		w.save()
	}
	if got := w.collector.Snapshot().Storage; got == nil || !got.Since.Equal(w.clock.Now().Add(-4*time.Minute)) || !strings.Contains(got.Error, errDisk.Error()) {
		t.Errorf("while writes fail: %+v", got)
	}
	other := newImport(unknownRef)
	if _, err := w.collector.Register(context.Background(), other); !errors.Is(err, errDisk) {
		t.Errorf("registering: %v", err)
	}
	if _, ok := w.collector.Watched(other.Key); ok {
		t.Error("watched without being stored")
	}
	if err := w.collector.Unregister(context.Background(), key); !errors.Is(err, errDisk) {
		t.Errorf("unregistering: %v", err)
	}
	w.watched(key)
	w.store.set(nil, nil)
	w.after(time.Minute)
	w.save()
	if got := w.store.observed(key).Outcome; got != lakefs.Succeeded {
		t.Error("not stored when there was room again")
	}
	// That there is room is seen although there is nothing to store.
	w.store.set(errDisk, nil)
	if err := w.collector.Unregister(context.Background(), key); !errors.Is(err, errDisk) {
		t.Errorf("unregistering: %v", err)
	}
	w.store.set(nil, nil)
	if err := w.close(); err != nil || w.collector.Snapshot().Storage != nil {
		t.Errorf("after the disk has room again: %v, %+v", err, w.collector.Snapshot().Storage)
	}
	equal(t, "errors", map[string]float64{"": 6}, w.counts("lakefs_import_exporter_storage_errors_total", ""))
	equal(t, "log", []string{"error", "info", "error", "info"}, w.logged("Writing to the storage"))
}

// A disk that does not answer delays nobody, and memory and disk agree when it
// does.
func TestStorageBlocks(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := w.watch(ref)
	w.advance(5 * time.Minute)
	blocked := make(chan struct{})
	w.store.set(nil, blocked)
	w.scrape()
	w.save()
	w.after(time.Second)
	equal(t, "while it hangs", collector.Succeeded, w.get(key).State)
	w.collector.Refresh(context.Background(), 0)
	w.collector.Save()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	late := newImport(unknownRef)
	if _, err := w.collector.Register(ctx, late); !errors.Is(err, collector.ErrStorageTimeout) {
		t.Errorf("registering: %v", err)
	}
	if err := w.collector.Unregister(ctx, keyOf(lakefs.Ref{Repository: repo, ID: "x"})); !errors.Is(err, collector.ErrStorageTimeout) {
		t.Errorf("unregistering: %v", err)
	}
	close(blocked)
	// What comes after is done after what was begun before.
	w.register(late)
	w.watched(late.Key)
	w.restart()
	w.watched(late.Key)
	if got := w.store.observed(key); !got.Confirmed {
		t.Errorf("stored: %+v", got)
	}
}

// A log that hangs delays only what has a line to write.
func TestLogHangs(t *testing.T) {
	writing, release := make(chan struct{}, 10), make(chan struct{})
	w := newWorldWith(t, newFakeStore(), func(o *collector.Options) {
		o.Logger = level.NewFilter(log.LoggerFunc(func(...any) error {
			writing <- struct{}{}
			<-release
			return nil
		}), level.AllowInfo())
	})
	t.Cleanup(func() { close(release) })
	w.watchNew(import50k)
	w.after(5 * time.Minute)
	w.after(time.Second)
	w.collector.Save()
	<-writing // that the import has finished
	key := keyOf(w.watchNew(import50k))
	w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: http.StatusServiceUnavailable})
	logging := wait(w.scraping)
	<-writing // that polls fail
	w.after(time.Second)
	equal(t, "polled", lakefs.ServerError, w.watched(key).Poll.Result)
	select {
	case <-logging:
		t.Error("the log does not hang")
	default:
	}
}

// The exporter does not wait for a disk that hangs when it is to end.
func TestCloseWithHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		block := make(chan struct{})
		c := newCollector(t, func(o *collector.Options) { o.Store, o.MaxRegistered = store, 1 })
		client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: "http://localhost"})
		if err != nil {
			t.Fatal(err)
		}
		c.Apply(collector.Config{Servers: []collector.Server{{Name: "prod", Client: client}}})
		store.set(nil, block)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Register(ctx, newImport(unknownRef)); !errors.Is(err, collector.ErrStorageTimeout) {
			t.Errorf("registering: %v", err)
		}
		if err := c.Close(); !errors.Is(err, collector.ErrStorageTimeout) || time.Since(start) > 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		close(block)
	})
}

func TestLoad(t *testing.T) {
	if _, err := newWorld(t).collector.Register(t.Context(), newImport(unknownRef)); err == nil {
		t.Error("registered without a store")
	}
	store := newFakeStore()
	store.fail = errDisk
	if _, err := collector.New(collector.Options{Now: time.Now, Registerer: prometheus.NewRegistry(), Store: store}); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
	// What cannot be used is skipped, and said.
	store.fail, store.skipped = nil, []error{errors.New(`import a: label "state": the name is reserved`)}
	w := newWorldWith(t, store)
	if log := w.log.important(); len(log) != 1 || !strings.Contains(log[0], "import a: label") {
		t.Errorf("log: %q", log)
	}
}

// An import is counted when its end is stored, and once only.
func TestCountedOnceAcrossRestarts(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	early := w.watch(w.lakeFS.Start("early", branch, import50k))
	late := w.watch(w.lakeFS.Start("late", branch, ending(lakefstest.Failure, time.Hour)))
	w.after(5 * time.Minute)
	w.after(time.Second)
	equal(t, "counted before it is stored", map[string]float64{}, w.finished())
	w.stop()
	equal(t, "counted", map[string]float64{"succeeded": 1}, w.finished())

	w.start()
	w.scrape()
	w.after(time.Second)
	// The other one ends while the exporter is down; a third did before it was known.
	w.stop()
	w.watch(w.lakeFS.Start("unknown", branch, lakefstest.Script{}))
	w.advance(2 * time.Hour)
	w.start()
	w.scrape()
	w.after(time.Second)
	w.stop()
	equal(t, "counted after the restart", map[string]float64{"failed": 1}, w.finished())
	for _, key := range []collector.Key{early, late} {
		if !w.store.observed(key).Counted {
			t.Errorf("%v: not stored as counted", key)
		}
	}
}

// An import that is unregistered after it was counted and registered again is
// not counted again.
func TestCountedOnceAcrossRegistrations(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	imp := newImport(w.lakeFS.Start(repo, branch, import50k))
	for range 2 {
		w.register(imp)
		w.after(5 * time.Minute)
		w.after(time.Second)
		w.unregister(imp.Key)
	}
	w.stop()
	equal(t, "counted", map[string]float64{"succeeded": 1}, w.finished())
}

// The log tells what becomes of imports, in a line each, but of discovered ones
// in one for all.
func TestLogOfImports(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	refresh, _ := w.discover(&database{})
	found := []lakefs.Ref{w.lakeFS.Start("aaa", branch, ending(lakefstest.Failure, time.Minute)), w.lakeFS.Start("bbb", branch, import50k)}
	refresh(found...)
	refresh(found...)
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := w.register(newImport(ref))
	w.register(newImport(ref))
	w.scrape()
	w.after(5 * time.Minute)
	w.after(time.Second)
	w.save()
	w.unregister(key)
	log := strings.NewReplacer(found[0].ID, "A", found[1].ID, "B", ref.ID, "C").Replace(strings.Join(w.log.important(), "\n"))
	equal(t, "log", `level=info server=prod msg="Discovered imports" new=2 all=2
level=info server=prod repository=my-repo import_id=C msg="Registered import" branch=main
level=info server=prod repository=aaa import_id=A msg="Import finished" state=failed objects=30000 duration=1m0s err="import error: error on ingest: lstat /data/nosuch: no such file or directory"
level=info server=prod repository=bbb import_id=B msg="Import finished" state=succeeded objects=50000 duration=1m40s
level=info server=prod repository=my-repo import_id=C msg="Import finished" state=succeeded objects=50000 duration=1m40s
level=info server=prod repository=my-repo import_id=C msg="Unregistered import"`, log)
}
