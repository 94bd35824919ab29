package collector_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// A pipeline that waits for the end of its import unregisters it right after
// the first answer that tells of it.
func TestCountedWhenUnregisteredAtOnce(t *testing.T) {
	store := newFakeStore()
	w := newWorld(t, store.option)
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := w.register(newImport(ref))
	w.after(30 * time.Second)
	w.advance(5 * time.Minute)
	if v := w.get(key); !v.Finished() {
		t.Fatal("not finished")
	}
	if err := w.collector.Unregister(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	w.after(15 * time.Second)
	_ = w.close()
	equal(t, "counted", map[string]float64{"succeeded": 1}, w.finished())
}

// An import that leaves right after the first answer that tells of its end is
// counted.
func TestCountedWhenRemovedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.watchNew(import50k)
	w.after(30 * time.Second)
	w.after(5 * time.Minute)
	w.cfg.Imports = nil
	w.collector.Apply(w.cfg)
	w.after(15 * time.Second)
	w.after(15 * time.Second)
	equal(t, "counted", map[string]float64{"succeeded": 1}, w.finished())
}

// Where lakeFS answers only two requests before a pause, each import has its
// turn all the same.
func TestRateLimitStarvesNobody(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	w.watchMany(6, ending(lakefstest.Hang, time.Minute))
	var n atomic.Int64
	w.lakeFS.Inject(func(*http.Request) bool {
		w.advance(10 * time.Millisecond)
		return n.Add(1) > 2
	}, lakefstest.Fault{Status: 429, Header: http.Header{"Retry-After": {"20"}}, Body: lakefstest.Message("Too many attempts, try again later")})
	for range 20 {
		n.Store(0)
		w.scrape()
		w.after(15 * time.Second) // paused
		w.advance(15 * time.Second)
	}
	for _, v := range w.collector.Snapshot().Imports {
		if !v.Seen() {
			t.Errorf("%v never got a status in 20 rounds of 2 answers each", v.Repository)
		}
	}
}

// Counters of a server that is removed and configured again exist at 0 before
// they count.
func TestCountersOfReturningServer(t *testing.T) {
	store := newFakeStore()
	w := newWorld(t, store.option)
	w.register(newImport(w.lakeFS.Start(repo, branch, import50k)))
	w.after(30 * time.Second)
	has := func() bool {
		fs, _ := w.registry.Gather()
		for _, f := range fs {
			if f.GetName() == "lakefs_imports_finished_total" {
				return len(f.Metric) == 3
			}
		}
		return false
	}
	if !has() {
		t.Fatal("before")
	}
	w.collector.Apply(collector.Config{})
	w.collector.Apply(w.cfg)
	w.after(time.Second)
	if !has() {
		t.Error("no series of lakefs_imports_finished_total at 0 after the server was removed and re-added")
	}
}

// Import files that keep changing do not keep their earlier contents in memory.
func TestMemoryOfChangingFiles(t *testing.T) {
	w := newWorld(t)
	const window, generations = 500, 500
	change := w.withFiles(collector.FileSet{})
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	set := func(g int) {
		imports := make([]collector.Import, window)
		for i := range imports {
			imports[i] = newImport(lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprintf("%d", g+i)})
		}
		change(fileSet(imports...))
	}
	set(0)
	before := heap()
	for g := range generations {
		set(g)
	}
	after := heap()
	if after > before+20 {
		t.Error("leak")
	}
}

// A probe of a watched import that has finished asks for lakeFS's health.
func TestProbeOfFinishedImportIsUp(t *testing.T) {
	w := newWorld(t)
	ref := w.watchNew(import50k)
	key := keyOf(ref)
	w.advance(5 * time.Minute)
	w.get(key)
	w.advance(2 * time.Second)
	if s := w.probe(key); !s.Servers[0].Up {
		t.Error("up 0 when polled by probe")
	}
	w.advance(2 * time.Second)
	if s := w.probe(key); !s.Servers[0].Up {
		t.Error("lakefs_up 0 for a finished watched import, nothing asked")
	}
}

// lakeFS is up when it asks for a pause.
func TestProbeDuringPauseIsUp(t *testing.T) {
	w := newWorld(t)
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := keyOf(ref)
	if s := w.probe(key); !s.Servers[0].Up {
		t.Fatal("up")
	}
	w.advance(2 * time.Second)
	remove := w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 429, Body: lakefstest.Message("Too many attempts, try again later")})
	w.probe(key)
	remove()
	w.advance(2 * time.Second)
	if s := w.probe(key); !s.Servers[0].Up {
		t.Error("lakefs_up 0 while paused")
	}
}

// The clock of a proxy is not lakeFS's.
func TestSkewIsNotThatOfAProxy(t *testing.T) {
	w := newWorld(t)
	w.watchNew(import50k)
	w.after(time.Second)
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusBadGateway, Body: "<h1>Bad Gateway</h1>", Header: http.Header{"Date": {w.Now().Add(time.Hour).Format(http.TimeFormat)}}})
	w.after(15 * time.Second)
	if s := w.collector.Snapshot().Servers[0].ClockSkew; s != 0 {
		t.Error("skew by a proxy's Date:", s)
	}
}

// A probe through a branch that the keys may not read does not spoil the poll of
// a watched import.
func TestProbeThroughAnotherBranch(t *testing.T) {
	w := newWorld(t)
	ref := w.watchNew(import50k)
	w.lakeFS.Inject(func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/branches/secret/") }, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("insufficient permissions: x")})
	w.after(15 * time.Second)
	w.advance(15 * time.Second)
	w.collector.Probe(t.Context(), keyOf(ref), "secret")
	s := w.scrape()
	if v := s.Imports[0]; !v.PollSuccess() || !s.Servers[0].Authorized {
		t.Errorf("after a probe by a branch without rights: %+v, authorized %v", v.Poll, s.Servers[0].Authorized)
	}
}

// A repository that is removed and configured again within a second has the
// answer of its last poll.
func TestReturningRepository(t *testing.T) {
	w := newWorld(t)
	w.lakeFS.AddRepository(repo)
	w.cfg.Repositories = []collector.Repository{{Server: "prod", Name: repo}}
	w.collector.Apply(w.cfg)
	w.scrape()
	without := w.cfg
	without.Repositories = nil
	w.collector.Apply(without)
	w.collector.Apply(w.cfg)
	s := w.scrape()
	if !s.Repositories[0].PollSuccess() {
		t.Error("poll_success 0")
	}
}

// An import that moves from the config to an import file keeps its last poll.
func TestPollOfMovedImport(t *testing.T) {
	w := newWorld(t)
	w.watchNew(import50k)
	w.after(20 * time.Second)
	before := w.after(20 * time.Second).Imports[0]
	imports := w.cfg.Imports
	w.cfg.Imports = nil
	w.withFiles(fileSet(imports...))
	after := w.collector.Recent(t.Context(), 5*time.Second).Imports[0]
	if !after.PollSuccess() {
		t.Errorf("poll before %+v, after %+v", before.Poll, after.Poll)
	}
}

// As many imports that lakeFS does not answer for as there are requests at once
// delay no GET of another.
func TestHungImportsDelayNoGET(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 4
	keys := w.watchMany(9, import50k)
	healthy := keys[8]
	g := w.hold(func(r *http.Request) bool { return lakefstest.Statuses(r) && r.URL.Query().Get("id") != healthy.ID })
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	g.await(3)
	if v := w.get(healthy); !v.PollSuccess() { // or else it waits for the others
		t.Errorf("poll: %+v", v.Poll)
	}
	end()
	<-scrape
	g.release()
}

// More probes than lakeFS answers delay no scrape.
func TestProbesDelayNoScrape(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 2
	keys := w.watchMany(2, import50k)
	g := w.hold(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Query().Get("id"), "probed") })
	var probes []<-chan *collector.Snapshot
	for i := range 20 {
		probes = append(probes, wait(w.probing(keyOf(lakefs.Ref{Repository: repo, ID: fmt.Sprint("probed-", i)}))))
	}
	for range 3 {
		s := w.after(15 * time.Second)
		everyImport(t, s, "a status of now", func(v *collector.ImportView) bool { return v.StatusAt.Equal(s.At) })
	}
	w.get(keys[0])
	g.release()
	for _, p := range probes {
		<-p
	}
}

// What a probe learned is forgotten when it is too old to be shared, although
// nobody asks again.
func TestMemoryOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const probes, branchBytes = 4111, 1024
		client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: "http://127.0.0.1:1"}) // nothing listens there
		if err != nil {
			t.Fatal(err)
		}
		c, err := collector.New(collector.Options{Now: time.Now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Apply(collector.Config{Servers: []collector.Server{{Name: "prod", Client: client, Timeout: time.Minute, MaxConcurrentRequests: 1}}})
		var branches []weak.Pointer[byte]
		for i := range probes {
			branch := strings.Repeat("b", branchBytes)
			branches = append(branches, weak.Make(unsafe.StringData(branch)))
			c.Probe(t.Context(), collector.Key{Server: "prod", Repository: repo, ID: fmt.Sprint(i)}, branch)
		}
		inMemory := func() (n int) {
			runtime.GC()
			for _, b := range branches {
				if b.Value() != nil {
					n++
				}
			}
			return n
		}
		if got := inMemory(); got != probes { // the clock of the test stands still
			t.Errorf("%d of %d probes are shared for a second", got, probes)
		}
		time.Sleep(3 * time.Second)
		if got := inMemory(); got > 1 {
			t.Errorf("%d probes are still in memory", got)
		}
	})
}

// An import or repository that is added during a scrape was not asked for: it
// has no series before the next one.
func TestImportAddedDuringAScrape(t *testing.T) {
	w := newWorld(t)
	w.watchMany(1, import50k)
	w.lakeFS.AddRepository(repo)
	g := w.hold(lakefstest.Statuses)
	scrape := wait(w.scraping)
	g.await(1)
	added := w.watchNew(import50k)
	w.cfg.Repositories = []collector.Repository{{Server: "prod", Name: repo}}
	w.collector.Apply(w.cfg)
	g.release()
	s := <-scrape
	if got := lines(t, s, "lakefs_"); strings.Contains(got, added.ID) || strings.Contains(got, "repository_poll_success") || !strings.Contains(got, `state="unknown"} 1`) {
		t.Errorf("during the scrape:\n%s", got)
	}
	s = w.after(time.Second)
	allSucceed(t, s)
	if got := lines(t, s, "lakefs_"); !strings.Contains(got, added.ID) || !strings.Contains(got, "repository_poll_success") {
		t.Errorf("in the next scrape:\n%s", got)
	}
}

// The log tells what becomes of imports, in a line each, but of discovered ones
// in one for all.
func TestLogOfImports(t *testing.T) {
	store := newFakeStore()
	w := newWorld(t, store.option)
	refresh, _ := w.discover(&database{})
	found := []lakefs.Ref{w.lakeFS.Start("aaa", branch, ending(lakefstest.Failure, time.Minute)), w.lakeFS.Start("bbb", branch, import50k)}
	refresh(found...)
	refresh(found...)
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := w.register(newImport(ref))
	w.register(newImport(ref))
	<-store.updates
	<-store.updates
	w.scrape()
	w.after(5 * time.Minute)
	w.after(time.Second)
	w.save(store)
	if err := w.collector.Unregister(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	log := strings.NewReplacer(found[0].ID, "A", found[1].ID, "B", ref.ID, "C").Replace(strings.Join(w.log.important(), "\n"))
	equal(t, "log", `level=info server=prod msg="Discovered imports" new=2 all=2
level=info server=prod repository=my-repo import_id=C msg="Registered import" branch=main
level=info server=prod repository=aaa import_id=A msg="Import finished" state=failed objects=30000 duration=1m0s err="import error: error on ingest: lstat /data/nosuch: no such file or directory"
level=info server=prod repository=bbb import_id=B msg="Import finished" state=succeeded objects=50000 duration=1m40s
level=info server=prod repository=my-repo import_id=C msg="Import finished" state=succeeded objects=50000 duration=1m40s
level=info server=prod repository=my-repo import_id=C msg="Unregistered import"`, log)
}

// Probes of many imports at once: none fails, and none costs more than one
// request.
func TestFortyProbesASecond(t *testing.T) {
	w := newWorld(t)
	const imports, probes = 200, 510
	keys := make([]collector.Key, imports)
	for i := range keys {
		keys[i] = keyOf(w.lakeFS.Start(fmt.Sprintf("repo-%03d", i), branch, import50k))
	}
	for i := range probes {
		if i%40 == 0 {
			w.advance(time.Second)
		}
		if v := w.probe(keys[i%imports]).Imports[0]; !v.PollSuccess() {
			t.Errorf("probe %d: %+v", i, v.Poll)
		}
	}
	if got := w.lakeFS.Stats().StatusRequests; got > probes {
		t.Errorf("%d requests for %d probes", got, probes)
	}
}
