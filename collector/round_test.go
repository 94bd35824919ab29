package collector

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// until waits for something that is about to happen, without a deadline of its
// own: the one of the test will do.
func until(condition func() bool) {
	for !condition() {
		runtime.Gosched()
	}
}

// deadline is a context whose deadline comes when the test says so.
type deadline struct {
	context.Context
	done chan struct{}
}

func newDeadline() *deadline {
	return &deadline{context.Background(), make(chan struct{})}
}

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// watchMany starts n imports and watches them.
func (w *world) watchMany(n int, script lakefstest.Script) []lakefs.Ref {
	refs := make([]lakefs.Ref, n)
	for i := range refs {
		refs[i] = w.lakeFS.Start(fmt.Sprintf("repo-%02d", i), branch, script)
		w.cfg.Imports = append(w.cfg.Imports, Import{Key: Key{"prod", refs[i]}, NoProgressAfter: DefaultNoProgressAfter})
	}
	w.collector.Apply(w.cfg)
	return refs
}

// hold makes requests that match wait in lakeFS until release is called.
func (w *world) hold(match lakefstest.Match) (release func()) {
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	w.t.Cleanup(release)
	w.lakeFS.Inject(func(r *http.Request) bool {
		if match(r) {
			<-gate
		}
		return false
	}, lakefstest.Fault{})
	return release
}

func (w *world) server() *server { return w.collector.allServers()[0] }

// waiters returns how many scrapes wait for the round under way.
func (s *server) waiters() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round == nil {
		return 0
	}
	return s.round.waiters
}

func TestOverlappingScrapesShareARound(t *testing.T) {
	w := newWorld(t)
	w.watchMany(50, import50k)
	release := w.hold(lakefstest.Statuses)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for _, v := range w.scrape().Imports {
				if !v.PollSuccess() {
					t.Errorf("%s: poll failed: %s", v.Key, v.Poll.Message)
				}
			}
		})
	}
	until(func() bool { return w.server().waiters() == 2 })
	// However long the round takes, it does not poll an import twice.
	w.advance(10 * time.Second)
	release()
	wg.Wait()
	if got := w.lakeFS.Stats().StatusRequests; got != 50 {
		t.Errorf("two scrapes of 50 imports reached lakeFS with %d requests", got)
	}
	if got := w.lakeFS.Stats().MaxInFlight; got > 32 {
		t.Errorf("%d requests were under way at once", got)
	}
}

func TestPollsLessThanASecondApartShareAnAnswer(t *testing.T) {
	w := newWorld(t)
	refs := w.watchMany(3, import50k)
	w.scrape()
	w.advance(999 * time.Millisecond)
	w.scrape()
	w.collector.Import(context.Background(), Key{"prod", refs[0]})
	if got := w.lakeFS.Stats().StatusRequests; got != 3 {
		t.Errorf("within a second: %d requests for 3 imports", got)
	}
	w.advance(time.Millisecond)
	w.collector.Import(context.Background(), Key{"prod", refs[0]})
	if got := w.lakeFS.StatusRequests(refs[0]); got != 2 {
		t.Errorf("after a second: import polled %d times", got)
	}
	w.scrape()
	if got := w.lakeFS.Stats().StatusRequests; got != 6 {
		t.Errorf("after a second: %d requests for 3 imports", got)
	}
	// A clock that is set back does not stop the polls.
	w.advance(-time.Hour)
	w.scrape()
	if got := w.lakeFS.Stats().StatusRequests; got != 9 {
		t.Errorf("after the clock was set back: %d requests for 3 imports", got)
	}
}

// An import that a running round does not cover is polled all the same, and
// one that it covered too long ago is polled again for who asks for it alone.
func TestJoiningARound(t *testing.T) {
	w := newWorld(t)
	refs := w.watchMany(2, import50k)
	release := w.hold(lakefstest.StatusOf(refs[1]))
	var wg sync.WaitGroup
	wg.Go(func() { w.scrape() })
	until(func() bool { v, _ := w.collector.watch.view(Key{"prod", refs[0]}, w.Now(), nil); return v.Seen() })
	w.advance(2 * time.Second)

	added := w.lakeFS.Start("added", branch, import50k)
	w.watch(added)
	wg.Go(func() {
		if got := w.scrape(); !got.Imports[0].Seen() || got.Imports[0].Repository != "added" {
			t.Errorf("the import that was added was not polled: %+v", got.Imports[0])
		}
	})
	until(func() bool { return w.server().waiters() == 2 })
	wg.Go(func() {
		v, ok := w.collector.Import(context.Background(), Key{"prod", refs[0]})
		if !ok || !v.StatusAt.Equal(w.Now()) {
			t.Errorf("import of two seconds ago: got %v, %v, want a new status", v.StatusAt, ok)
		}
	})
	until(func() bool { return w.server().waiters() == 3 })
	release()
	wg.Wait()
	got := []int{w.lakeFS.StatusRequests(refs[0]), w.lakeFS.StatusRequests(refs[1]), w.lakeFS.StatusRequests(added)}
	if diff := cmp.Diff([]int{2, 1, 1}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestFinishedImportsAreNotPolled(t *testing.T) {
	w := newWorld(t)
	w.watchMany(4, ending(lakefstest.Cancel, 5*time.Second))
	w.advance(time.Minute)
	w.scrape()
	w.lakeFS.ResetStats()
	for range 3 {
		w.advance(time.Minute)
		w.scrape()
		w.collector.Import(context.Background(), w.cfg.Imports[0].Key)
	}
	got := w.lakeFS.Stats()
	if got.StatusRequests != 0 || got.Healthchecks != 3 {
		t.Errorf("got %d requests for finished imports and %d health checks, want 0 and 3", got.StatusRequests, got.Healthchecks)
	}
}

// With time for 10 of 50 imports a round, all are polled within five rounds,
// although a request is under way at each deadline.
func TestDeadlineOldestFirst(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1
	refs := w.watchMany(50, import50k)

	const perRound = 10
	var (
		mu    sync.Mutex
		asked int
		round *deadline
	)
	w.lakeFS.Inject(func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if asked == perRound+1 {
			close(round.done)
		}
		return asked > perRound
	}, lakefstest.Fault{Break: lakefstest.BlackHole})

	for n := 1; n <= 5; n++ {
		mu.Lock()
		asked, round = 0, newDeadline()
		mu.Unlock()
		w.advance(15 * time.Second)
		snapshot := w.collector.Scrape(round)
		seen, succeeded := 0, 0
		for _, v := range snapshot.Imports {
			if v.Seen() {
				seen++
			}
			if v.PollSuccess() {
				succeeded++
			} else if v.Poll.Result != "timeout" || !v.Poll.At.Equal(w.Now()) {
				t.Errorf("round %d: %s: result %q at %v", n, v.Key, v.Poll.Result, v.Poll.At)
			}
		}
		if seen != perRound*n || succeeded != perRound {
			t.Errorf("round %d: %d of %d imports were seen so far, %d in this round", n, seen, len(refs), succeeded)
		}
		if !snapshot.Servers[0].Up {
			t.Errorf("round %d: not up, although lakeFS answered", n)
		}
	}
	if diff := cmp.Diff(map[string]float64{"success": 50, "timeout": 5}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
}

// Imports that never get an answer do not keep the others from being polled.
func TestDeadlineNoStarvation(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 2
	refs := w.watchMany(6, import50k)
	slow := map[string]bool{refs[0].ID: true, refs[1].ID: true}
	var (
		mu   sync.Mutex
		hung int
		ctx  *deadline
	)
	w.lakeFS.Inject(func(r *http.Request) bool {
		if !slow[r.URL.Query().Get("id")] {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if hung++; hung == 2 {
			close(ctx.done)
		}
		return true
	}, lakefstest.Fault{Break: lakefstest.BlackHole})
	for n := range 3 {
		mu.Lock()
		hung, ctx = 0, newDeadline()
		mu.Unlock()
		w.advance(15 * time.Second)
		snapshot := w.collector.Scrape(ctx)
		seen := 0
		for _, v := range snapshot.Imports {
			if v.Seen() {
				seen++
			}
		}
		if want := []int{0, 0, 4}[n]; seen != want {
			t.Errorf("round %d: %d imports seen, want %d", n+1, seen, want)
		}
	}
}

// A client that hangs up is neither a failure nor a timeout.
func TestHangUp(t *testing.T) {
	w := newWorld(t)
	refs := w.watchMany(3, import50k)
	w.scrape()
	before := w.polls()
	w.advance(15 * time.Second)
	remove := w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Break: lakefstest.BlackHole})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.collector.Scrape(ctx)
	}()
	until(func() bool { return w.lakeFS.Stats().StatusRequests == 6 })
	cancel()
	<-done
	remove()
	if diff := cmp.Diff(before, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
	v, _ := w.collector.watch.view(Key{"prod", refs[0]}, w.Now(), nil)
	if !v.PollSuccess() {
		t.Errorf("poll failed: %s", v.Poll.Message)
	}
	// Whoever comes next is not held up by what was left behind.
	for _, v := range w.scrape().Imports {
		if !v.StatusAt.Equal(w.Now()) {
			t.Errorf("%s was not polled anew", v.Key)
		}
	}
}

// One waiter that leaves does not take the round away from the others.
func TestHangUpOfOneOfTwo(t *testing.T) {
	w := newWorld(t)
	w.watchMany(3, import50k)
	release := w.hold(lakefstest.Statuses)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { w.collector.Scrape(ctx) })
	wg.Go(func() {
		for _, v := range w.scrape().Imports {
			if !v.PollSuccess() {
				t.Errorf("%s: %s", v.Key, v.Poll.Message)
			}
		}
	})
	until(func() bool { return w.server().waiters() == 2 })
	cancel()
	until(func() bool { return w.server().waiters() == 1 })
	release()
	wg.Wait()
	if diff := cmp.Diff(map[string]float64{"success": 3}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
}

func TestRateLimit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header http.Header
		pause  time.Duration
	}{
		{"none", nil, 30 * time.Second},
		{"seconds", http.Header{"Retry-After": {"90"}}, 90 * time.Second},
		{"too long", http.Header{"Retry-After": {"86400"}}, 5 * time.Minute},
		{"garbage", http.Header{"Retry-After": {"soon"}}, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Servers[0].MaxConcurrentRequests = 1
			w.watchMany(5, import50k)
			remove := w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{
				Status: http.StatusTooManyRequests, Header: tc.header, Body: lakefstest.Message("too many requests"),
			})
			snapshot := w.scrape()
			remove()
			if got := w.lakeFS.Stats().Requests; got != 1 {
				t.Errorf("the round went on for %d requests", got)
			}
			if want := w.Now().Add(tc.pause); !snapshot.Servers[0].PausedUntil.Equal(want) || !snapshot.Servers[0].Up {
				t.Errorf("server: got %+v, want a pause until %v, and up", snapshot.Servers[0], want)
			}
			for _, v := range snapshot.Imports {
				if v.PollSuccess() || v.Poll.Result != "rate_limited" {
					t.Errorf("%s: got %+v", v.Key, v.Poll)
				}
			}
			if diff := cmp.Diff(map[string]float64{"rate_limited": 1}, w.polls()); diff != "" {
				t.Errorf("polls (-want +got):\n%s", diff)
			}

			w.advance(tc.pause - time.Millisecond)
			w.collector.Apply(w.cfg) // a reload does not end the pause
			w.collector.Import(context.Background(), w.cfg.Imports[0].Key)
			if up := w.scrape().Servers[0].Up; w.lakeFS.Stats().Requests != 1 || !up {
				t.Errorf("in the pause: %d requests, up %v", w.lakeFS.Stats().Requests, up)
			}
			w.advance(time.Millisecond)
			if got := w.scrape(); w.lakeFS.Stats().Requests != 6 || !got.Imports[0].PollSuccess() {
				t.Errorf("after the pause: %d requests in all", w.lakeFS.Stats().Requests)
			}
		})
	}
}

func TestUp(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	up := func(when string, want bool) {
		t.Helper()
		w.advance(15 * time.Second)
		if got := w.scrape().Servers[0].Up; got != want {
			t.Errorf("%s: up is %v", when, got)
		}
	}
	up("with nothing to poll", true)
	if got := w.lakeFS.Stats().Healthchecks; got != 1 {
		t.Errorf("%d health checks", got)
	}
	remove := w.lakeFS.Inject(lakefstest.Healthchecks, lakefstest.Fault{Body: "<html>"})
	up("with a page for a health check", false)
	remove()
	w.watchMany(2, import50k)
	remove = w.lakeFS.Inject(lakefstest.Healthchecks, lakefstest.Fault{Status: 500})
	up("with statuses", true)
	remove()
	remove = w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 401, Body: lakefstest.Message("error authenticating request")})
	up("with wrong keys", true)
	remove()
	remove = w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 500, Body: lakefstest.Message("internal")})
	up("with a server error", false)
	remove()
	up("again", true)
	remove = w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: 502, Body: "<h1>502 Bad Gateway</h1>"})
	up("behind a broken proxy", false)
	remove()
	up("at last", true)

	// What is wrong is in the log, once for as long as it stays the same.
	var got []string
	for line := range strings.Lines(w.log.String()) {
		_, message, _ := strings.Cut(strings.TrimSpace(line), "server=prod ")
		got = append(got, message)
	}
	want := []string{
		`msg="Polls fail" results="bad_response=1" err="HTTP status 200: not an answer of lakeFS; body begins \"<html>\""`,
		`msg="Polls succeed again"`,
		`msg="Polls fail" results="unauthorized=2" err="HTTP status 401: error authenticating request"`,
		`msg="Polls fail" results="server_error=2" err="HTTP status 500: internal"`,
		`msg="Polls succeed again"`,
		`msg="Polls fail" results="server_error=2" err="HTTP status 502"`,
		`msg="Polls succeed again"`,
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, "Poll failed") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// A server that never answers costs its own imports an answer, and no others.
func TestOneBadServer(t *testing.T) {
	good, bad := newWorld(t), newWorld(t)
	goodRefs := good.watchMany(3, import50k)
	badRef := bad.lakeFS.Start(repo, branch, import50k)
	good.cfg.Servers = append(good.cfg.Servers, Server{Name: "bad", Client: bad.client, Timeout: time.Minute, MaxConcurrentRequests: 1})
	good.watch(badRef, func(i *Import) { i.Server = "bad" })
	bad.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})

	ctx := newDeadline()
	done := make(chan *Snapshot)
	go func() { done <- good.collector.Scrape(ctx) }()
	until(func() bool {
		return bad.lakeFS.Stats().Requests == 1 && good.polls()["success"] == 3 && good.collector.servers["prod"].waiters() == 0
	})
	close(ctx.done)
	snapshot := <-done
	got := map[string]bool{}
	for _, v := range snapshot.Imports {
		got[v.Server+" "+v.ID] = v.PollSuccess()
	}
	want := map[string]bool{"bad " + badRef.ID: false}
	for _, ref := range goodRefs {
		want["prod "+ref.ID] = true
	}
	if !maps.Equal(got, want) || snapshot.Servers[0].Up || !snapshot.Servers[1].Up {
		t.Errorf("got %v and %+v, want %v", got, snapshot.Servers, want)
	}
}

// A request that lakeFS does not answer in time is a timeout, and is not sent
// again sooner than any other.
func TestTimeout(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].Timeout = time.Millisecond
	w.watch(w.lakeFS.Start(repo, branch, import50k))
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
	v := w.scrape().Imports[0]
	if v.PollSuccess() || v.Poll.Result != "timeout" || v.Poll.Message != "no answer before the deadline" {
		t.Errorf("got %+v", v.Poll)
	}
	w.scrape()
	if diff := cmp.Diff(map[string]float64{"timeout": 1}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	refs := w.watchMany(2, import50k)
	w.advance(30 * time.Second)
	w.scrape()

	// Another client, other labels, one import less: the other keeps its memory.
	w.cfg.Servers[0].Client = w.newClient("wrong")
	w.cfg.Imports = w.cfg.Imports[:1]
	w.cfg.Imports[0].Labels = map[string]string{"team": "ingest"}
	w.collector.Apply(w.cfg)
	w.advance(30 * time.Second)
	snapshot := w.scrape()
	if len(snapshot.Imports) != 1 {
		t.Fatalf("%d imports", len(snapshot.Imports))
	}
	v := snapshot.Imports[0]
	if v.ID != refs[0].ID || v.IngestedObjects != 15_000 || v.PollSuccess() || v.Labels["team"] != "ingest" {
		t.Errorf("got %+v", v)
	}
	if !strings.Contains(text(t, snapshot), `lakefs_import_ingested_objects{branch="main",import_id="`+v.ID+`",repository="repo-00",server="prod",team="ingest"} 15000`) {
		t.Error("no series with the new label")
	}

	// A server that leaves takes its series along, even if a poll is under way.
	release := w.hold(lakefstest.Statuses)
	w.advance(time.Minute)
	done := make(chan struct{})
	go func() { defer close(done); w.scrape() }()
	until(func() bool { return w.server().waiters() == 1 })
	w.collector.Apply(Config{})
	<-done
	release()
	if diff := cmp.Diff(map[string]float64{}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
	if got := w.scrape(); len(got.Imports) != 0 || len(got.Servers) != 0 {
		t.Errorf("got %+v", got)
	}
}

// fakeFiles is a Source that hands out what the test sets.
type fakeFiles struct {
	set   FileSet
	loads int
}

func (f *fakeFiles) Load() FileSet {
	f.loads++
	return f.set
}

func TestFiles(t *testing.T) {
	w := newWorld(t)
	refs := []lakefs.Ref{w.lakeFS.Start("repo-0", branch, import50k), w.lakeFS.Start("repo-1", branch, import50k)}
	files := &fakeFiles{}
	w.cfg.Files = files
	fromConfig := w.watch(refs[0], func(i *Import) { i.Labels = map[string]string{"from": "config"} })
	w.scrape()

	fromFile := fromConfig
	fromFile.Labels = map[string]string{"from": "file"}
	other := fromFile
	other.Ref = refs[1]
	files.set = FileSet{Version: 1, Imports: []Import{fromFile, other}, Failed: map[string]bool{"a.yml": false, "b.yml": true}}
	snapshot := w.scrape()
	got := map[string]string{}
	for _, v := range snapshot.Imports {
		got[v.Repository] = string(v.Origin) + " " + v.Labels["from"]
	}
	if diff := cmp.Diff(map[string]string{"repo-0": "config config", "repo-1": "file file"}, got); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
	for _, line := range []string{
		`lakefs_import_exporter_imports{source="file"} 1`,
		`lakefs_import_exporter_import_file_error{file="a.yml"} 0`,
		`lakefs_import_exporter_import_file_error{file="b.yml"} 1`,
	} {
		if !strings.Contains(text(t, snapshot), line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}

	// Without the config's, the file's holds, and the memory stays.
	w.cfg.Imports = nil
	w.collector.Apply(w.cfg)
	snapshot = w.collector.Recent(context.Background(), time.Hour)
	if v := snapshot.Imports[0]; v.Origin != FromFile || !v.Seen() || v.Labels["from"] != "file" {
		t.Errorf("got %+v", v)
	}
	files.set = FileSet{Version: 2}
	if got := w.scrape().Imports; len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRecent(t *testing.T) {
	w := newWorld(t)
	w.watchMany(1, import50k)
	for range 3 {
		w.collector.Recent(context.Background(), 5*time.Second)
		w.advance(2 * time.Second)
	}
	if got := w.lakeFS.Stats().StatusRequests; got != 1 {
		t.Errorf("%d polls within five seconds", got)
	}
	w.collector.Recent(context.Background(), 5*time.Second)
	if got := w.lakeFS.Stats().StatusRequests; got != 2 {
		t.Errorf("%d polls within six seconds", got)
	}
}

func TestImportNotWatched(t *testing.T) {
	w := newWorld(t)
	w.watchMany(1, import50k)
	for _, key := range []Key{{"prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "x"}}, {"other", w.cfg.Imports[0].Ref}} {
		if _, ok := w.collector.Import(context.Background(), key); ok {
			t.Errorf("%v: is watched", key)
		}
	}
	if got := w.lakeFS.Stats().Requests; got != 0 {
		t.Errorf("%d requests", got)
	}
}

func TestServerName(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	one := w.collector
	w.cfg.Servers = append(w.cfg.Servers, Server{Name: "dev", Client: w.client, Timeout: time.Second, MaxConcurrentRequests: 1})
	two := newWorld(t).collector
	two.Apply(w.cfg)
	for _, tc := range []struct {
		c                *Collector
		name, want, fail string
	}{
		{c: one, name: "", want: "prod"},
		{c: one, name: "prod", want: "prod"},
		{c: one, name: "http://x", fail: `server "http://x" is not configured: must be one of ["prod"]`},
		{c: two, name: "dev", want: "dev"},
		{c: two, name: "", fail: `server is missing: must be one of ["dev" "prod"]`},
	} {
		got, err := tc.c.ServerName(tc.name)
		if got != tc.want || (err != nil || tc.fail != "") && (err == nil || err.Error() != tc.fail) {
			t.Errorf("%q: got %q, %v", tc.name, got, err)
		}
	}
}
