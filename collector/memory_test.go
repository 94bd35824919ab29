package collector

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// fakeStore is a Store in memory that can be made to fail.
type fakeStore struct {
	mu           sync.Mutex
	imports      map[Key]Registration
	observations map[Key]Observation
	writes       int
	fail         error
	block        chan struct{} // if set, PutObservations waits for it
}

func newFakeStore() *fakeStore {
	return &fakeStore{imports: map[Key]Registration{}, observations: map[Key]Observation{}}
}

func (s *fakeStore) write(do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.writes++
	do()
	return nil
}

// seen returns what is stored of an import.
func (s *fakeStore) seen(key Key) Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.observations[key]
}

func (s *fakeStore) Load() ([]Registration, map[Key]Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.imports)), maps.Clone(s.observations), s.fail
}

func (s *fakeStore) PutImport(r Registration) error {
	return s.write(func() { s.imports[r.Key] = r })
}

func (s *fakeStore) DeleteImports(keys ...Key) error {
	return s.write(func() {
		for _, key := range keys {
			delete(s.imports, key)
		}
	})
}

func (s *fakeStore) PutObservations(o map[Key]Observation) error {
	if s.block != nil {
		<-s.block
	}
	return s.write(func() { maps.Copy(s.observations, o) })
}

func (s *fakeStore) DeleteObservations(keys ...Key) error {
	return s.write(func() {
		for _, key := range keys {
			delete(s.observations, key)
		}
	})
}

// withStore gives w a collector that remembers in store, as after a restart.
func (w *world) withStore(store Store, cfg Config) {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	var err error
	w.collector, err = New(Options{
		Now: w.Now, Logger: log.NewLogfmtLogger(w.log), Registerer: w.registry,
		Store: store, Retention: 24 * time.Hour, MaxRegistered: 3,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.collector.Apply(cfg)
}

func (w *world) register(ref lakefs.Ref) Key {
	w.t.Helper()
	key := Key{"prod", ref}
	if _, err := w.collector.Register(Import{Key: key, NoProgressAfter: DefaultNoProgressAfter}); err != nil {
		w.t.Fatal(err)
	}
	return key
}

func TestFinishedImportOutlivesRestartAndExpiry(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	ref := w.lakeFS.Start(repo, branch, import50k)
	cfg := w.cfg
	cfg.Imports = []Import{{Key: Key{"prod", ref}, NoProgressAfter: DefaultNoProgressAfter}}
	w.withStore(store, cfg)
	w.advance(5 * time.Minute)
	before := w.scrape().Imports[0]
	if before.State != Succeeded || before.CommitID == "" {
		t.Fatalf("got %+v", before)
	}
	// It is stored with the scrape that saw it: there is no Close here.
	w.lakeFS.Forget(ref)
	w.lakeFS.ResetStats()
	w.withStore(store, cfg)
	after := w.scrape().Imports[0]
	if after.State != Succeeded || after.CommitID != before.CommitID || !after.PollSuccess() {
		t.Errorf("after a restart: got %+v", after)
	}
	if got := w.lakeFS.Stats().StatusRequests; got != 0 {
		t.Errorf("after a restart: %d polls of a finished import", got)
	}
}

func TestRunningImportsAreStoredOnceAMinute(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	w.withStore(store, w.cfg)
	key := w.register(w.lakeFS.Start(repo, branch, lakefstest.Script{Objects: 1e9, Rate: 100}))
	w.scrape() // the first scrape after the start stores everything
	store.writes = 0
	for range 12 { // three minutes
		w.advance(15 * time.Second)
		w.scrape()
	}
	if store.writes != 3 {
		t.Errorf("%d writes in three minutes", store.writes)
	}
	w.advance(15 * time.Second)
	want := w.scrape().Imports[0].Observation
	if store.observations[key] == want {
		t.Error("stored at once")
	}
	if err := w.collector.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, store.observations[key]); diff != "" {
		t.Errorf("after Close (-want +got):\n%s", diff)
	}
	// A restart does not restart the clocks of stalls and progress.
	w.withStore(store, w.cfg)
	got, _ := w.collector.Watched(key)
	if diff := cmp.Diff(want, got.Observation); diff != "" || got.Origin != FromAPI {
		t.Errorf("after a restart: from %q (-want +got):\n%s", got.Origin, diff)
	}
}

func TestRegister(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	w.lakeFS.AddRepository(repo)
	fromConfig := lakefs.Ref{Repository: repo, Branch: branch, ID: "in-config"}
	w.cfg.Imports = []Import{{Key: Key{"prod", fromConfig}, NoProgressAfter: DefaultNoProgressAfter}}
	w.withStore(store, w.cfg)
	imp := func(server, branch, id string) Import {
		return Import{Key: Key{server, lakefs.Ref{Repository: repo, Branch: branch, ID: id}}, NoProgressAfter: DefaultNoProgressAfter}
	}
	for _, tc := range []struct {
		name    string
		imp     Import
		created bool
		refused Refusal
		err     string
	}{
		{name: "new", imp: imp("prod", branch, "a"), created: true},
		{name: "again", imp: imp("prod", branch, "a")},
		{name: "unknown server", imp: imp("dev", branch, "a"), refused: Invalid, err: `server "dev" is not configured`},
		{
			name: "another branch", imp: imp("prod", "dev", "a"), refused: Conflict,
			err: "import a of repository my-repo is watched on branch main already: lakeFS knows imports by repository and ID alone",
		},
		{
			name: "another branch than in the config", imp: imp("prod", "dev", "in-config"), refused: Conflict,
			err: "import in-config of repository my-repo is watched on branch main already: lakeFS knows imports by repository and ID alone",
		},
		{name: "in the config", imp: imp("prod", branch, "in-config")},
		{name: "third", imp: imp("prod", branch, "b"), created: true},
		{name: "one too many", imp: imp("prod", branch, "c"), refused: Conflict, err: "3 imports are registered already, and more are not permitted"},
		{name: "known at the limit", imp: imp("prod", branch, "b")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			created, err := w.collector.Register(tc.imp)
			var refused *RefusedError
			if errors.As(err, &refused) != (tc.refused != 0) || refused != nil && (refused.Refusal != tc.refused || refused.Error() != tc.err) {
				t.Errorf("got error %v, want %q", err, tc.err)
			}
			if created != tc.created {
				t.Errorf("created is %v", created)
			}
		})
	}
	if diff := cmp.Diff([]string{"a", "b", "in-config"}, storedIDs(store)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}

	changed := imp("prod", branch, "a")
	changed.ExpectedObjects, changed.Labels = 7, map[string]string{"team": "ingest"}
	if _, err := w.collector.Register(changed); err != nil {
		t.Fatal(err)
	}
	if v, ok := w.collector.Watched(changed.Key); !ok || v.ExpectedObjects != 7 || v.Labels["team"] != "ingest" {
		t.Errorf("after a change: got %+v", v)
	}

	// The config's import keeps its settings and its place.
	if v, _ := w.collector.Watched(Key{"prod", fromConfig}); v.Origin != FromConfig {
		t.Errorf("the config's is from %q", v.Origin)
	}
	err := w.collector.Unregister(Key{"prod", fromConfig})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Refusal != Conflict || refused.Error() != "import my-repo/main/in-config stands in a config file: it can be taken out there only" {
		t.Errorf("unregistering the config's: got %v", err)
	}
	for range 2 {
		if err := w.collector.Unregister(changed.Key); err != nil {
			t.Error(err)
		}
	}
	if _, ok := w.collector.Watched(changed.Key); ok {
		t.Error("still watched")
	}
	// Without the config's, the registration comes to the fore.
	w.cfg.Imports = nil
	w.collector.Apply(w.cfg)
	if v, ok := w.collector.Watched(Key{"prod", fromConfig}); !ok || v.Origin != FromAPI {
		t.Errorf("without the config's: got %+v, %v", v, ok)
	}
	if problems, err := testutil.GatherAndLint(w.scrape()); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func storedIDs(s *fakeStore) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for key := range s.imports {
		ids = append(ids, key.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestRegisterWithoutStore(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	if _, err := w.collector.Register(Import{}); !errors.Is(err, errNoStore) {
		t.Errorf("got %v", err)
	}
	if err := w.collector.Unregister(Key{}); !errors.Is(err, errNoStore) {
		t.Errorf("got %v", err)
	}
	if err := w.collector.Close(); err != nil {
		t.Error(err)
	}
}

func TestRetention(t *testing.T) {
	for _, tc := range []struct {
		name   string
		start  func(w *world) lakefs.Ref
		later  func(w *world, ref lakefs.Ref)
		leaves time.Duration // after it was registered
	}{
		{
			name:   "finished",
			start:  func(w *world) lakefs.Ref { return w.lakeFS.Start(repo, branch, lakefstest.Script{}) },
			leaves: 24*time.Hour + time.Minute,
		},
		{
			name:   "never found",
			start:  func(*world) lakefs.Ref { return lakefs.Ref{Repository: repo, Branch: branch, ID: "x"} },
			leaves: 24*time.Hour + time.Minute,
		},
		{
			name: "lost",
			start: func(w *world) lakefs.Ref {
				return w.lakeFS.Start(repo, branch, lakefstest.Script{Objects: 1e9, Rate: 1})
			},
			later:  func(w *world, ref lakefs.Ref) { w.lakeFS.Forget(ref) },
			leaves: 25*time.Hour + time.Minute,
		},
		{
			name: "no status for long",
			start: func(w *world) lakefs.Ref {
				return w.lakeFS.Start(repo, branch, lakefstest.Script{Objects: 1e9, Rate: 1})
			},
			later:  func(w *world, _ lakefs.Ref) { w.lakeFS.Close() },
			leaves: 7*24*time.Hour + time.Minute,
		},
		{
			name: "never a status",
			start: func(w *world) lakefs.Ref {
				w.lakeFS.Close()
				return lakefs.Ref{Repository: repo, Branch: branch, ID: "x"}
			},
			leaves: 7 * 24 * time.Hour,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, store := newWorld(t), newFakeStore()
			w.lakeFS.AddRepository(repo)
			w.withStore(store, w.cfg)
			ref := tc.start(w)
			key := w.register(ref)
			registered := w.Now()
			w.advance(time.Minute)
			w.scrape()
			if tc.later != nil {
				tc.later(w, ref)
			}
			// A restart in between changes nothing.
			w.advance(time.Hour)
			w.scrape()
			if err := w.collector.Close(); err != nil {
				t.Fatal(err)
			}
			w.withStore(store, w.cfg)

			w.advance(registered.Add(tc.leaves - time.Millisecond).Sub(w.Now()))
			w.scrape()
			if _, ok := w.collector.Watched(key); !ok {
				t.Error("left too soon")
			}
			w.advance(time.Minute)
			w.scrape()
			if _, ok := w.collector.Watched(key); ok {
				t.Error("has not left")
			}
			if len(store.imports) != 0 || len(store.observations) != 0 {
				t.Errorf("still stored: %v, %v", store.imports, store.observations)
			}
			if !strings.Contains(w.log.String(), "Registered import has left") {
				t.Error("not in the log")
			}
		})
	}
}

// What the config takes out is remembered for the retention, and then no longer.
func TestImportsThatLeaveTheConfig(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	ref := w.lakeFS.Start(repo, branch, lakefstest.Script{})
	imports := []Import{{Key: Key{"prod", ref}, NoProgressAfter: DefaultNoProgressAfter}}
	with, without := w.cfg, w.cfg
	with.Imports = imports
	w.withStore(store, with)
	w.advance(time.Minute)
	w.scrape()
	w.lakeFS.Forget(ref)

	w.collector.Apply(without)
	w.advance(time.Hour)
	if got := w.scrape().Imports; len(got) != 0 {
		t.Errorf("without it: %+v", got)
	}
	w.collector.Apply(with)
	if v, _ := w.collector.Watched(imports[0].Key); v.State != Succeeded {
		t.Errorf("an hour later: %s", v.State)
	}
	// So also across a restart with a file that is not there yet.
	w.withStore(store, without)
	w.scrape()
	w.collector.Apply(with)
	if v, _ := w.collector.Watched(imports[0].Key); v.State != Succeeded {
		t.Errorf("after a restart: %s", v.State)
	}
	w.collector.Apply(without)
	w.advance(24 * time.Hour)
	w.scrape()
	if len(store.observations) != 0 {
		t.Errorf("a day later it is still stored: %v", store.observations)
	}
	w.collector.Apply(with)
	if v, _ := w.collector.Watched(imports[0].Key); v.State != Unknown {
		t.Errorf("a day later: %s", v.State)
	}
}

// A full disk costs durability, and nothing else.
func TestStorageFails(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	w.withStore(store, w.cfg)
	key := w.register(w.lakeFS.Start(repo, branch, import50k))
	w.scrape()
	store.fail = errors.New("no space left on device")
	for range 3 {
		w.advance(2 * time.Minute)
		if v := w.scrape().Imports[0]; v.State != Succeeded {
			t.Errorf("got %s", v.State)
		}
	}
	if got := testutil.ToFloat64(w.collector.metrics.storageErrors); got != 3 {
		t.Errorf("%g storage errors", got)
	}
	other := Import{Key: Key{"prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "x"}}, NoProgressAfter: DefaultNoProgressAfter}
	if _, err := w.collector.Register(other); err == nil || err.Error() != "storing import my-repo/main/x: no space left on device" {
		t.Errorf("got %v", err)
	}
	if _, ok := w.collector.Watched(other.Key); ok {
		t.Error("watched without being stored")
	}
	if err := w.collector.Unregister(key); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("got %v", err)
	}
	if _, ok := w.collector.Watched(key); !ok {
		t.Error("no longer watched, but stored")
	}
	store.fail = nil
	w.advance(time.Minute)
	w.scrape()
	if store.seen(key).Outcome != lakefs.Succeeded {
		t.Error("not stored when there was room again")
	}
	log := w.log.String()
	if strings.Count(log, "cannot be written to") != 1 || strings.Count(log, "can be written to again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// A disk that does not answer holds no scrape up beyond its deadline, and the
// next one writes what is missing.
func TestStorageBlocks(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	w.withStore(store, w.cfg)
	key := w.register(w.lakeFS.Start(repo, branch, import50k))
	w.advance(5 * time.Minute)
	store.block = make(chan struct{})
	for range 2 {
		ctx := newDeadline()
		done := make(chan *Snapshot)
		go func() { done <- w.collector.Scrape(ctx) }()
		until(func() bool { return len(w.collector.memory.slot) == 1 && !w.collector.watch.isDue(key, w.Now()) })
		close(ctx.done)
		if v := (<-done).Imports[0]; v.State != Succeeded {
			t.Errorf("got %s", v.State)
		}
	}
	close(store.block)
	until(func() bool { return store.seen(key).Outcome == lakefs.Succeeded })
	until(func() bool { return len(w.collector.memory.slot) == 0 })
}

func TestStoreDoesNotLoad(t *testing.T) {
	want := errors.New("is damaged")
	_, err := New(Options{Now: time.Now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), Store: &fakeStore{fail: want}})
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestServerLeavesTheConfig(t *testing.T) {
	w, store := newWorld(t), newFakeStore()
	w.withStore(store, w.cfg)
	key := w.register(w.lakeFS.Start(repo, branch, import50k))
	w.advance(30 * time.Second)
	w.scrape()
	w.collector.Apply(Config{})
	w.advance(30 * time.Second)
	w.lakeFS.ResetStats()
	v := w.scrape().Imports[0]
	if v.IngestedObjects != 15_000 || v.PollSuccess() || v.Poll.Message != `not polled: server "prod" is not configured` {
		t.Errorf("got %+v", v)
	}
	if got := w.lakeFS.Stats().Requests; got != 0 {
		t.Errorf("%d requests", got)
	}
	if !strings.Contains(w.log.String(), `msg="Registered imports are kept, but not polled: their server is not configured" server=prod imports=1`) {
		t.Errorf("log: %s", w.log)
	}
	if name, err := w.collector.ServerName("prod"); name != "prod" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	if v, ok := w.collector.Import(context.Background(), key); !ok || v.IngestedObjects != 15_000 {
		t.Errorf("got %+v, %v", v, ok)
	}
	if err := w.collector.Unregister(key); err != nil {
		t.Error(err)
	}
	if got := w.scrape().Imports; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
