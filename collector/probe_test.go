package collector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestProbe(t *testing.T) {
	w := newWorld(t)
	ref := w.lakeFS.Start(repo, branch, import50k)
	// That it is watched too, with labels, does not show.
	w.watch(ref, func(i *Import) { i.Labels = map[string]string{"team": "ingest"}; i.ExpectedObjects = 7 })
	key := Key{"prod", ref}
	probe := func() *Snapshot { return w.collector.Probe(context.Background(), key) }

	w.advance(30 * time.Second)
	snapshot := probe()
	golden(t, "probe/running.prom", text(t, snapshot))
	if problems, err := testutil.GatherAndLint(snapshot); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}

	// Within a second the answer is shared, also that of a failure.
	w.advance(999 * time.Millisecond)
	probe()
	if got := w.lakeFS.StatusRequests(ref); got != 1 {
		t.Errorf("%d requests within a second", got)
	}
	w.advance(time.Millisecond)
	remove := w.lakeFS.Inject(lakefstest.Statuses, lakefstest.Fault{Status: 502, Body: "<h1>Bad Gateway</h1>"})
	golden(t, "probe/failed.prom", text(t, probe()))
	remove()
	probe()
	if got := w.lakeFS.StatusRequests(ref); got != 2 {
		t.Errorf("%d requests within a second and another", got)
	}

	// A finished import is asked about again: there is no memory.
	w.advance(5 * time.Minute)
	if v := probe().Imports[0]; v.State != Succeeded {
		t.Errorf("got %s", v.State)
	}
	w.lakeFS.Forget(ref)
	w.advance(time.Second)
	golden(t, "probe/not_found.prom", text(t, probe()))
	if got := len(w.collector.Snapshot().Imports); got != 1 {
		t.Errorf("%d imports are watched", got)
	}
	if got := w.collector.Probe(context.Background(), Key{"dev", ref}); len(got.Imports) != 0 {
		t.Errorf("on an unknown server: %+v", got)
	}
}

func TestProbesShareAPoll(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	key := Key{"prod", w.lakeFS.Start(repo, branch, import50k)}
	release := w.hold(lakefstest.Statuses)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if v := w.collector.Probe(context.Background(), key).Imports[0]; !v.PollSuccess() || !v.Seen() {
				t.Errorf("got %+v", v)
			}
		})
	}
	until(func() bool { return w.server().waiters() == 3 })
	release()
	wg.Wait()
	if got := w.lakeFS.Stats().StatusRequests; got != 1 {
		t.Errorf("%d requests for three probes", got)
	}
}

// At its deadline a probe has nothing to tell, and says so.
func TestProbeDeadline(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	key := Key{"prod", w.lakeFS.Start(repo, branch, import50k)}
	w.collector.Probe(context.Background(), key)
	w.advance(15 * time.Second)
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
	ctx := newDeadline()
	done := make(chan *Snapshot)
	go func() { done <- w.collector.Probe(ctx, key) }()
	until(func() bool { return w.lakeFS.Stats().StatusRequests == 2 })
	close(ctx.done)
	snapshot := <-done
	if v := snapshot.Imports[0]; v.PollSuccess() || v.Seen() || v.Poll.Result != "timeout" || snapshot.Servers[0].Up {
		t.Errorf("got %+v, %+v", v, snapshot.Servers)
	}
}

func TestProbesAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.collector.Apply(w.cfg)
	w.lakeFS.AddRepository(repo)
	for i := range 100 {
		w.collector.Probe(context.Background(), Key{"prod", lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprint(i)}})
		w.advance(time.Second)
	}
	if got := len(w.collector.probes.entries); got > 62 {
		t.Errorf("%d of the last minute's 60 probes are remembered", got)
	}
}

func TestRepositories(t *testing.T) {
	w := newWorld(t)
	w.lakeFS.AddRepository("empty")
	w.lakeFS.AddRepository(repo)
	w.cfg.Repositories = []Repository{
		{Server: "prod", Name: repo, MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "ingest"}},
		{Server: "prod", Name: "empty", MaxImportAge: time.Hour},
		{Server: "prod", Name: "no-limit"},
	}
	w.collector.Apply(w.cfg)
	lines := func() (got []string) {
		w.advance(15 * time.Second)
		for line := range strings.Lines(text(t, w.scrape())) {
			if strings.HasPrefix(line, "lakefs_repository_") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		return got
	}
	const (
		maxAges = `lakefs_repository_max_import_age_seconds{repository="empty",server="prod"} 3600
lakefs_repository_max_import_age_seconds{repository="my-repo",server="prod",team="ingest"} 93600`
		lastImport = `lakefs_repository_last_import_timestamp_seconds{repository="my-repo",server="prod",team="ingest"} 1.795344642e+09`
	)
	check := func(when, want string) {
		t.Helper()
		if diff := cmp.Diff(want, strings.Join(lines(), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("before an import", maxAges)
	w.lakeFS.Start(repo, branch, lakefstest.Script{})
	check("after an import", lastImport+"\n"+maxAges)
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("insufficient permissions")})
	check("without permission", lastImport+"\n"+maxAges)
	w.collector.Apply(w.cfg)
	check("after a reload", lastImport+"\n"+maxAges)

	// They take the place of health checks, and are asked once a second at most.
	if got := w.lakeFS.Stats().Healthchecks; got != 0 {
		t.Errorf("%d health checks", got)
	}
	before := w.lakeFS.Stats().Requests
	w.scrape()
	if got := w.lakeFS.Stats().Requests; got != before {
		t.Errorf("%d requests within a second", got-before)
	}
	if diff := cmp.Diff(map[string]float64{"success": 4, "not_found": 2, "unauthorized": 6}, w.polls()); diff != "" {
		t.Errorf("polls (-want +got):\n%s", diff)
	}
	w.cfg.Repositories = nil
	w.collector.Apply(w.cfg)
	check("without any", "")
}

func TestRepositoryValidate(t *testing.T) {
	for _, tc := range []struct {
		repository Repository
		want       string
	}{
		{Repository{Name: "my-repo", MaxImportAge: time.Hour, Labels: map[string]string{"team": "a"}}, ""},
		{Repository{Name: "My Repo"}, `repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{Repository{Name: "my-repo", MaxImportAge: -time.Hour}, "max_import_age -1h0m0s: must be positive"},
		{Repository{Name: "my-repo", Labels: map[string]string{"job": "a"}}, `label "job": the name is reserved`},
	} {
		got := ""
		if err := tc.repository.Validate(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.repository, got, tc.want)
		}
	}
}

// Every import and repository falls to exactly one of the shards, about as many
// to each, and the same to each in every process.
func TestShards(t *testing.T) {
	const n, total = 3000, 3
	imports := make([]Import, n)
	repositories := make([]Repository, n)
	for i := range imports {
		imports[i].Key = Key{"prod", lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprint(i)}}
		repositories[i] = Repository{Server: "prod", Name: fmt.Sprintf("repo-%d", i)}
	}
	owners := map[Key]int{}
	for index := range uint64(total) {
		s := Shard{Index: index, Total: total}
		got := s.imports(imports)
		for _, imp := range got {
			owners[imp.Key]++
		}
		for _, r := range s.repositories(repositories) {
			owners[repositoryKey(r)]++
		}
		if len(got) < n/total*8/10 || len(got) > n/total*12/10 {
			t.Errorf("shard %d has %d of %d imports", index, len(got), n)
		}
	}
	for key, n := range owners {
		if n != 1 {
			t.Errorf("%v has %d owners", key, n)
		}
	}
	if len(owners) != 2*n {
		t.Errorf("%d of %d have an owner", len(owners), 2*n)
	}
	// If this changes, an update moves imports from exporter to exporter.
	if got := (Shard{Index: 2, Total: 3}).imports(imports[:8]); len(got) != 3 || got[0].ID != "0" || got[1].ID != "5" || got[2].ID != "6" {
		t.Errorf("shard 2 of 3 has %v", got)
	}
	if got := (Shard{}).imports(imports); len(got) != n {
		t.Errorf("one of one has %d of %d", len(got), n)
	}
}

func TestShardValidate(t *testing.T) {
	for s, want := range map[Shard]string{
		{}:                   "",
		{Total: 1}:           "",
		{Index: 2, Total: 3}: "",
		{Index: 3, Total: 3}: "shard 3: must be below the 3 shards in all",
		{Index: 1}:           "shard 1: must be below the 1 shards in all",
	} {
		got := ""
		if err := s.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%+v: got %q, want %q", s, got, want)
		}
	}
}

func TestShardOfCollector(t *testing.T) {
	w := newWorld(t)
	w.collector.shard = Shard{Index: 1, Total: 2}
	w.watchMany(20, import50k)
	all := 20
	mine := len(w.scrape().Imports)
	if got := w.lakeFS.Stats().StatusRequests; got != mine || mine == 0 || mine == all {
		t.Errorf("%d requests, %d of %d imports", got, mine, all)
	}
}
