package collector_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
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
	"lakefs_import_exporter/internal/testworld"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestOneRequestForAllWhoAskAtOnce(t *testing.T) {
	w := newWorld(t)
	keys := w.watchMany(3, import50k)
	g := w.hold(lakefstest.Statuses)
	answers := []<-chan *collector.Snapshot{wait(w.scraping), wait(w.scraping), wait(w.probing(keys[0])), wait(w.getting(keys[0]))}
	w.advance(10 * time.Second) // however long the request takes, there is no other
	g.release()
	for _, a := range answers {
		allSucceed(t, <-a)
	}
	if got := w.lakeFS.Stats().StatusRequests; got != 3 {
		t.Errorf("%d requests for 3 imports", got)
	}
}

func TestNoRequestWithinASecondOfTheLast(t *testing.T) {
	w := newWorld(t)
	key := w.watchMany(1, lakefstest.Script{Objects: 1e9, Rate: 1})[0]
	asks := map[string]ask{"scrape": w.scraping, "probe": w.probing(key), "GET": w.getting(key)}
	for first := range asks {
		for second := range asks {
			w.advance(time.Minute)
			w.lakeFS.ResetStats()
			for _, step := range []struct {
				after    time.Duration
				who      string
				requests int
			}{
				{0, first, 1},
				{999 * time.Millisecond, second, 1},
				{time.Millisecond, second, 2},
				{time.Millisecond, first, 2},
				{-30 * time.Second, second, 3}, // a clock that is set back does not stop polls
			} {
				w.advance(step.after)
				allSucceed(t, asks[step.who](context.Background()))
				if got := w.lakeFS.Stats().StatusRequests; got != step.requests {
					t.Errorf("%s and %s: %s %s later: %d requests, want %d", first, second, step.who, step.after, got, step.requests)
				}
			}
		}
	}
}

func TestMaxConcurrentRequests(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 3
	keys := w.watchMany(20, import50k)
	g := w.hold(lakefstest.Statuses)
	answers := []<-chan *collector.Snapshot{wait(w.scraping)}
	for _, key := range keys[10:] {
		answers = append(answers, wait(w.probing(key)))
	}
	g.await(3)
	g.release()
	for _, a := range answers {
		allSucceed(t, <-a)
	}
	if got := w.lakeFS.Stats(); got.MaxInFlight != 3 || got.StatusRequests != 20 {
		t.Errorf("%d requests at once, %d in all, want 3 and 20", got.MaxInFlight, got.StatusRequests)
	}
}

// Those who ask for one import and scrapes take turns, so that neither is starved.
func TestTurns(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	keys := w.watchMany(6, import50k)
	g := w.hold(lakefstest.Statuses)
	answers := []<-chan *collector.Snapshot{wait(w.scraping)}
	g.await(1) // the newest
	// Two that the scrape has in its queue too, and two that it has not.
	x, y := keyOf(lakefs.Ref{Repository: repo, ID: "x"}), keyOf(lakefs.Ref{Repository: repo, ID: "y"})
	for _, do := range []ask{w.getting(keys[0]), w.getting(keys[1]), w.probing(x), w.probing(y)} {
		answers = append(answers, wait(do))
	}
	g.release()
	for _, a := range answers {
		<-a
	}
	equal(t, "order", []string{keys[0].ID, keys[4].ID, keys[1].ID, keys[3].ID, "x", keys[2].ID, "y"}, g.await(7))
	if len(g.arrived) > 0 {
		t.Errorf("%d requests more", len(g.arrived))
	}
}

func TestHungImportDelaysNoOther(t *testing.T) {
	w := newWorld(t)
	keys := w.watchMany(3, import50k)
	g := w.hold(func(r *http.Request) bool { return r.URL.Query().Get("id") == keys[0].ID })
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	hung := wait(w.getting(keys[0]))
	for _, key := range keys[1:] {
		w.get(key) // the scrape's request ends before the clock goes on
	}
	for range 3 {
		w.advance(5 * time.Second)
		if v := w.get(keys[1]); !v.StatusAt.Equal(w.Now()) {
			t.Errorf("polled at %v, want now", v.StatusAt)
		}
		allSucceed(t, w.probe(keys[2]))
	}
	end()
	s := <-scrape
	everyImport(t, s, "success but for the first", func(v *collector.ImportView) bool { return v.PollSuccess() == (v.Key != keys[0]) })
	if !s.Servers[0].Up {
		t.Error("not up")
	}
	g.release()
	allSucceed(t, <-hung)
}

func TestDeadline(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	keys := w.watchMany(4, import50k)
	before := w.after(30 * time.Second)

	w.advance(15 * time.Second)
	g := w.hold(func(r *http.Request) bool { return r.URL.Query().Get("id") != keys[0].ID })
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	g.await(1) // keys[1]; keys[0] is answered
	end()
	after := <-scrape
	if !after.Imports[0].PollSuccess() || !after.Servers[0].Up {
		t.Errorf("got %+v, up %v", after.Imports[0].Poll, after.Servers[0].Up)
	}
	for i, v := range after.Imports[1:] {
		if v.PollSuccess() || v.Poll.Result != "timeout" || !v.Poll.At.Equal(w.Now()) || v.State != collector.Running {
			t.Errorf("%v: %s, %+v, want a timeout of now", v.Key, v.State, v.Poll)
		}
		equal(t, "what was seen", before.Imports[i+1].Observation, v.Observation)
	}

	// What was sent goes on. What nobody waits for any more is not sent.
	get := wait(w.getting(keys[1]))
	g.release()
	allSucceed(t, <-get)
	w.probe(keyOf(unknownRef))
	equal(t, "requests after the deadline", []string{unknownRef.ID}, g.await(1))

	// Those that were not reached are first.
	w.advance(15 * time.Second)
	order := w.hold(lakefstest.Statuses)
	order.release()
	allSucceed(t, w.scrape())
	equal(t, "first two of the next scrape", []string{keys[2].ID, keys[3].ID}, slices.Sorted(slices.Values(order.await(2))))
}

// A scrape that finds no answer at its deadline does not overwrite one that
// comes at that moment.
func TestSkippedPollDoesNotOverwriteSuccess(t *testing.T) {
	w := newWorld(t)
	key := w.watchMany(1, import50k)[0]
	g := w.hold(lakefstest.Statuses)
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	get := wait(w.getting(key))
	g.await(1)
	// The scrape asks what time it is when it notes what it missed.
	noting, proceed := make(chan struct{}), make(chan struct{})
	w.onNow.Store(new(func() { close(noting); <-proceed }))
	end()
	<-noting
	g.release()
	<-get
	close(proceed)
	allSucceed(t, <-scrape)
}

// Nothing is learned from a scrape whose client hung up. Its requests go on.
func TestHangUp(t *testing.T) {
	w := newWorld(t)
	w.watchMany(3, import50k)
	before, log := w.scrape(), len(w.log.important())
	w.advance(15 * time.Second)
	g := w.hold(lakefstest.Statuses)
	hangUp, hungUp := begin(context.Canceled, w.scraping)
	other := wait(w.scraping)
	g.await(3)
	hangUp()
	after := <-hungUp
	equal(t, "server", before.Servers, after.Servers)
	allSucceed(t, after) // by the poll before
	if got := w.log.important()[log:]; len(got) > 0 {
		t.Errorf("log: %q", got)
	}
	// The page does not take it for news: it waits with the other scrape.
	page := wait(func(ctx context.Context) *collector.Snapshot {
		w.collector.Refresh(ctx, 10*time.Second)
		return w.collector.Snapshot()
	})
	g.release()
	for _, s := range []*collector.Snapshot{<-other, <-page} {
		everyImport(t, s, "a status of now", func(v *collector.ImportView) bool { return v.StatusAt.Equal(w.Now()) })
	}
	if got := w.lakeFS.Stats().StatusRequests; got != 6 {
		t.Errorf("%d requests, want 6", got)
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(t)
	w.watchMany(1, import50k)
	for _, want := range []int{1, 1, 1, 2} { // after 0, 2, 4 and 6 seconds
		w.collector.Refresh(context.Background(), 5*time.Second)
		if got := w.lakeFS.Stats().StatusRequests; got != want {
			t.Errorf("%d polls, want %d", got, want)
		}
		w.advance(2 * time.Second)
	}
}

func TestRateLimit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header http.Header
		pause  time.Duration
	}{
		{"no header", nil, 30 * time.Second},
		{"seconds", http.Header{"Retry-After": {"90"}}, 90 * time.Second},
		{"too long", http.Header{"Retry-After": {"86400"}}, 5 * time.Minute},
		{"garbage", http.Header{"Retry-After": {"soon"}}, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Servers[0].MaxConcurrentRequests = 1
			keys := w.watchMany(5, import50k)
			remove := w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{
				Status: http.StatusTooManyRequests, Header: tc.header, Body: lakefstest.Message("too many requests"),
			})
			s := w.scrape()
			remove()
			everyImport(t, s, "rate_limited", func(v *collector.ImportView) bool { return !v.PollSuccess() && v.Poll.Result == "rate_limited" })
			if s := s.Servers[0]; !s.PausedUntil.Equal(w.Now().Add(tc.pause)) || !s.Up {
				t.Errorf("paused until %v, up %v, want a pause of %s, and up", s.PausedUntil, s.Up, tc.pause)
			}
			w.advance(tc.pause - time.Millisecond)
			w.collector.Apply(w.cfg) // a reload does not end the pause
			w.get(keys[0])
			if s := w.probe(keys[0]); !s.Servers[0].Up {
				t.Error("a probe during the pause: not up")
			}
			if s := w.scrape(); !s.Servers[0].Up || w.lakeFS.Stats().Requests != 1 {
				t.Errorf("before the end of the pause: up %v, %d requests, want 1", s.Servers[0].Up, w.lakeFS.Stats().Requests)
			}
			equal(t, "polls", map[string]float64{"rate_limited": 1}, w.polls())
			allSucceed(t, w.after(time.Second))
		})
	}
}

// A server that never answers costs its own imports an answer, and no others.
func TestOneBadServer(t *testing.T) {
	w, bad := newWorld(t), newWorld(t)
	w.cfg.Servers = append(w.cfg.Servers, bad.server("bad", ""))
	w.watch(unknownRef, func(i *collector.Import) { i.Server = "bad" })
	keys := w.watchMany(3, import50k)
	g := bad.hold(lakefstest.Everything)
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	g.await(1)
	for _, key := range keys {
		w.get(key)
	}
	end()
	s := <-scrape
	everyImport(t, s, "success on the good server alone", func(v *collector.ImportView) bool { return v.PollSuccess() == (v.Server == "prod") })
	equal(t, "up", "lakefs_up{server=\"bad\"} 0\nlakefs_up{server=\"prod\"} 1", lines(t, s, "lakefs_up"))
}

func TestTimeout(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].Timeout = time.Millisecond
	w.watchMany(1, import50k)
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
	for range 2 { // not sent again sooner than any other
		if v := w.scrape().Imports[0]; v.PollSuccess() || v.Poll.Result != "timeout" || v.Poll.Message == "" {
			t.Errorf("got %+v", v.Poll)
		}
	}
	equal(t, "polls", map[string]float64{"timeout": 1}, w.polls())
}

// Removing a server ends the wait of those who wait for it, and its series.
func TestRemovedServerReleasesWaiters(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	keys := w.watchMany(3, import50k)
	g := w.hold(lakefstest.Statuses)
	answers := []<-chan *collector.Snapshot{wait(w.scraping), wait(w.getting(keys[1])), wait(w.probing(keys[2]))}
	g.await(1)
	w.collector.Apply(collector.Config{})
	for _, a := range answers {
		<-a
	}
	equal(t, "polls", map[string]float64{}, w.polls())
	if s := w.scrape(); len(s.Imports)+len(s.Servers) > 0 {
		t.Errorf("still there: %+v", s)
	}
}

// An import is finished from the first answer that says so, and polled until
// lakeFS has said the same again.
func TestFinished(t *testing.T) {
	for _, tc := range []struct {
		name  string
		later func(w *world, ref lakefs.Ref) // after the first answer
		polls int                            // until the import is settled
		want  collector.State
	}{
		{"second answer agrees", func(*world, lakefs.Ref) {}, 2, collector.Succeeded},
		{"second answer disagrees", func(w *world, _ lakefs.Ref) {
			w.answer(`"completed":false,"ingested_objects":5,"error":{"message":"import error: Canceled"}`)
		}, 3, collector.Canceled},
		{"lakeFS forgets it", func(w *world, ref lakefs.Ref) { w.lakeFS.Forget(ref) }, 2, collector.Succeeded},
		{"a poll fails in between", func(w *world, _ lakefs.Ref) {
			defer w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 502})()
			w.after(time.Second)
		}, 3, collector.Succeeded},
		{"a reload without it in between", func(w *world, _ lakefs.Ref) {
			w.collector.Apply(collector.Config{Servers: w.cfg.Servers})
			w.collector.Apply(w.cfg)
			w.scrape()
		}, 2, collector.Succeeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			ref := w.watchNew(import50k)
			finished := func(v *collector.ImportView) bool { return v.Finished() }
			everyImport(t, w.after(5*time.Minute), "finished by the first answer", finished)
			w.scrape() // within a second: the same answer does not confirm itself
			tc.later(w, ref)
			for range 5 {
				everyImport(t, w.after(time.Second), "finished", finished)
				w.get(keyOf(ref))
			}
			s := w.probe(keyOf(ref))
			if v := s.Imports[0]; v.State != tc.want || !v.PollSuccess() || !s.Servers[0].Up {
				t.Errorf("got %s, %+v, up %v, want %s", v.State, v.Poll, s.Servers[0].Up, tc.want)
			}
			if got := w.lakeFS.StatusRequests(ref); got != tc.polls {
				t.Errorf("%d requests, want %d", got, tc.polls)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	ref := w.lakeFS.Start(repo, branch, import50k)
	key := keyOf(ref)
	w.advance(30 * time.Second)
	testworld.Golden(t, "probe/running.prom", text(t, w.probe(key)))

	// There is no memory: a failed poll leaves no last values.
	w.advance(time.Second)
	remove := w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 502, Body: "<h1>Bad Gateway</h1>"})
	testworld.Golden(t, "probe/failed.prom", text(t, w.probe(key)))
	remove()
	w.lakeFS.Forget(ref)
	w.advance(time.Second)
	testworld.Golden(t, "probe/not_found.prom", text(t, w.probe(key)))

	// That it is watched too, with labels, does not show.
	w.watch(ref, expect50k, func(i *collector.Import) { i.Labels = map[string]string{"team": "ingest"} })
	w.advance(time.Second)
	testworld.Golden(t, "probe/not_found.prom", text(t, w.probe(key)))
	if got := w.probe(collector.Key{Server: "dev"}); got != nil {
		t.Errorf("on an unknown server: %+v", got)
	}

	// At its deadline a probe has nothing to tell, and says so.
	w.advance(15 * time.Second)
	w.hold(lakefstest.Everything)
	end, result := begin(context.DeadlineExceeded, w.probing(key))
	end()
	s := <-result
	if v := s.Imports[0]; v.PollSuccess() || v.Seen() || v.Poll.Result != "timeout" || s.Servers[0].Up {
		t.Errorf("at the deadline: %+v, up %v", v.Poll, s.Servers[0].Up)
	}
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
		<-time.After(3 * time.Second)
		if got := inMemory(); got > 1 {
			t.Errorf("%d probes are still in memory", got)
		}
	})
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
