package collector_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

var logged = regexp.MustCompile(`level=(\w+) .*?(?:failed="?([^"]*)"? |$)`)

// logged returns what the log says with a text: the level of each line, and how
// many polls failed in which way.
func (w *world) logged(text string) []string {
	var all []string
	for _, line := range w.log.important() {
		if strings.Contains(line, text) {
			m := logged.FindStringSubmatch(line)
			all = append(all, strings.TrimSpace(m[1]+" "+m[2]))
		}
	}
	return all
}

// What a server is like is judged by scrapes, and logged once for as long as the
// cause is the same.
func TestServerStatus(t *testing.T) {
	w := newWorld(t)
	check := func(when string, up, authorized bool) {
		t.Helper()
		for range 2 {
			if s := w.after(15 * time.Second).Servers[0]; s.Up != up || s.Authorized != authorized || s.ClockSkew != 0 {
				t.Errorf("%s: up %v, authorized %v, want %v and %v; skew %s", when, s.Up, s.Authorized, up, authorized, s.ClockSkew)
			}
		}
	}
	with := func(match lakefstest.Match, f lakefstest.Fault, when string, up, authorized bool) {
		t.Helper()
		defer w.lakeFS.Inject(match, f)()
		check(when, up, authorized)
	}
	if s := w.collector.Snapshot().Servers[0]; s.Up || !s.Authorized || s.ClockSkewKnown {
		t.Errorf("before the first scrape: %+v", s)
	}
	check("with nothing to poll", true, true)
	if got := w.lakeFS.Stats(); got.Healthchecks != 2 || got.Requests != 4 {
		t.Errorf("%d health checks of %d requests, want 2 of 4", got.Healthchecks, got.Requests)
	}
	refused := lakefstest.Fault{Status: 401, Body: lakefstest.Message("error authenticating request")}
	keyed := func(r *http.Request) bool { return !lakefstest.Healthchecks(r) }
	with(keyed, refused, "with wrong keys and nothing to poll", true, false)
	with(keyed, lakefstest.Fault{Status: 403, Body: lakefstest.Message("insufficient permissions: x")}, "with keys of few rights", true, true)
	with(lakefstest.Healthchecks, lakefstest.Fault{Body: "<html>"}, "with a page for a health check", false, true)
	keys := w.watchMany(2, lakefstest.Script{Objects: 1e9, Rate: 1})
	with(lakefstest.Healthchecks, lakefstest.Fault{Status: 500}, "with statuses", true, true)
	with(lakefstest.Everything, refused, "with wrong keys", true, false)
	itsClock := http.Header{"Date": {w.Now().Add(time.Hour).Format(http.TimeFormat)}} // not lakeFS's
	with(lakefstest.Everything, lakefstest.Fault{Status: 502, Body: "<h1>Bad Gateway</h1>", Header: itsClock}, "behind a broken proxy", false, false)
	with(lakefstest.Everything, lakefstest.Fault{Status: 403, Body: "<h1>Forbidden</h1>"}, "refused by a proxy", false, false)
	check("again", true, true)
	one := lakefstest.StatusOf(lakefs.Ref{Repository: keys[0].Repository, ID: keys[0].ID})
	with(one, refused, "without rights to one of two", true, true)
	with(lakefstest.Everything, lakefstest.Fault{Status: 500, Body: lakefstest.Message("internal server error")}, "with a server error", false, true)
	with(one, lakefstest.Fault{Status: 500}, "with one error of two", true, true)
	with(lakefstest.Everything, lakefstest.Fault{Status: 404, Body: lakefstest.Message("not found")}, "with no import known", true, true)
	check("at last", true, true)
	equal(t, "log", []string{
		"warn unauthorized=1", "info", "warn bad_response=1", "info", "warn unauthorized=2", "warn server_error=2", "warn unauthorized=2", "info",
		"warn unauthorized=1", "warn server_error=2", "warn not_found=2", "info",
	}, w.logged("Polls "))
}

// A server that is healthy is up, even if the request that tries its keys hangs.
func TestHungCheckOfKeys(t *testing.T) {
	w := newWorld(t)
	w.cfg.Servers[0].MaxConcurrentRequests = 1 // health first
	w.collector.Apply(w.cfg)
	g := w.hold(func(r *http.Request) bool { return !lakefstest.Healthchecks(r) })
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	g.await(1)
	end()
	if s := (<-scrape).Servers[0]; !s.Up || !s.Authorized {
		t.Errorf("up %v, authorized %v", s.Up, s.Authorized)
	}
}

// A probe and a GET change nothing of how a server stands, and log nothing.
func TestServerIsJudgedByScrapesAlone(t *testing.T) {
	good := lakefstest.Fault{}
	bad := lakefstest.Fault{Status: 502, Body: "<h1>Bad Gateway</h1>"}
	refused := lakefstest.Fault{Status: 401, Body: lakefstest.Message("error authenticating request")}
	for _, tc := range []struct{ scraped, then lakefstest.Fault }{{good, bad}, {bad, good}, {refused, good}, {good, refused}} {
		w := newWorld(t)
		key := w.watchMany(1, import50k)[0]
		w.lakeFS.Inject(lakefstest.Everything, tc.scraped)
		before, log := w.scrape().Servers, len(w.log.important())
		w.lakeFS.Inject(lakefstest.Everything, tc.then)
		w.theirs.Advance(time.Hour)
		for _, do := range []ask{w.getting(key), w.probing(key)} {
			w.advance(10 * time.Second)
			do(t.Context())
		}
		equal(t, "server", before, w.collector.Snapshot().Servers)
		if got := w.log.important()[log:]; len(got) > 0 {
			t.Errorf("log: %q", got)
		}
	}
}

// filesFunc is a collector.Files.
type filesFunc func(ctx context.Context, changed func(collector.FileSet))

func (f filesFunc) Watch(ctx context.Context, changed func(collector.FileSet)) { f(ctx, changed) }

// withFiles applies a config whose files have the content set now, and returns
// what changes them.
func (w *world) withFiles(set collector.FileSet) (change func(collector.FileSet)) {
	w.cfg.Files = filesFunc(func(ctx context.Context, changed func(collector.FileSet)) {
		change = changed
		changed(set)
		<-ctx.Done()
	})
	w.collector.Apply(w.cfg)
	return change
}

func TestFiles(t *testing.T) {
	w := newWorld(t)
	w.watch(w.lakeFS.Start("repo-0", branch, import50k))
	fromFile := collector.FileSet{
		Imports: []*collector.Import{new(newImport(w.lakeFS.Start("repo-1", branch, import50k)))},
		Errors:  map[string]string{"a.yml": "", "b.yml": "entry 1: id is missing"},
	}
	change := w.withFiles(collector.FileSet{})
	w.scrape()
	change(fromFile)
	s := w.scrape()
	equal(t, "origins", `lakefs_import_exporter_imports{source="config"} 1
lakefs_import_exporter_imports{source="file"} 1
lakefs_import_exporter_imports{source="api"} 0
lakefs_import_exporter_imports{source="discovery"} 0`, lines(t, s, "lakefs_import_exporter_imports{"))
	equal(t, "files", `lakefs_import_exporter_import_file_error{file="a.yml"} 0
lakefs_import_exporter_import_file_error{file="b.yml"} 1`, lines(t, s, "lakefs_import_exporter_import_file_error{"))
	equal(t, "errors of files", fromFile.Errors, s.FileErrors)

	check := func(when string, imports, files int) {
		t.Helper()
		s := w.collector.Snapshot()
		equal(t, when, []int{imports, files}, []int{len(s.Imports), len(s.FileErrors)})
	}
	change(collector.FileSet{})
	check("without the files", 1, 0)
	// A file system that answers late changes nothing after a reload.
	w.withFiles(fromFile)
	change(collector.FileSet{})
	check("after a stale change", 2, 2)
	w.cfg.Files = nil
	w.collector.Apply(w.cfg)
	check("without files in the config", 1, 0)
}

// A file system that hangs delays a reload by a second at most, and nobody else.
func TestHangingFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCollector(t)
		defer c.Close()
		hang, ended := make(chan struct{}), make(chan struct{})
		files := filesFunc(func(context.Context, func(collector.FileSet)) {
			defer func() { ended <- struct{}{} }()
			<-hang // whatever becomes of the context
		})
		start := time.Now()
		applied := make(chan struct{})
		go func() {
			defer close(applied)
			c.Apply(collector.Config{Files: files})
		}()
		synctest.Wait()
		c.Poll(t.Context()) // while Apply waits
		c.Snapshot()
		if took := time.Since(start); took != 0 {
			t.Errorf("a scrape took %s", took)
		}
		<-applied
		c.Apply(collector.Config{Files: files})
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("two reloads took %s", took)
		}
		close(hang)
		<-ended
		<-ended
	})
}

// What is watched for several reasons has the settings of the first, and its
// memory whatever the reason. Branch and labels are attributes: other ones begin
// other series.
func TestPrecedence(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	ref := w.lakeFS.Start(repo, branch, import50k)
	from := func(origin collector.Origin) collector.Import {
		return newImport(ref, func(i *collector.Import) { i.Labels = map[string]string{"team": origin.String()} })
	}
	check := func(when string, want collector.Origin, branch string) {
		t.Helper()
		series := fmt.Sprintf(`lakefs_import_ingested_objects{branch="%s",import_id="%s",repository="my-repo",server="prod",team="%s"} 15000`, branch, ref.ID, want)
		s := w.collector.Snapshot()
		equal(t, when, []string{want.String(), series}, []string{s.Imports[0].Origin.String(), lines(t, s, "lakefs_import_ingested_objects{")})
	}
	refresh, _ := w.discover(&database{team: "discovery"})
	refresh(ref)
	w.after(30 * time.Second)
	check("discovered", collector.FromDiscovery, lakefs.UnknownBranch)
	if created, err := w.collector.Register(t.Context(), from(collector.FromAPI)); created || err != nil {
		t.Errorf("registering a discovered import: created %v, %v", created, err)
	}
	check("registered", collector.FromAPI, branch)
	w.withFiles(collector.FileSet{Imports: []*collector.Import{new(from(collector.FromFile))}})
	check("in a file too", collector.FromFile, branch)
	w.cfg.Imports = []*collector.Import{new(from(collector.FromConfig))}
	w.collector.Apply(w.cfg)
	check("in the config too", collector.FromConfig, branch)
	w.register(from(collector.FromAPI))
	check("registered again", collector.FromConfig, branch)
	w.cfg.Imports = []*collector.Import{new(from(collector.FromConfig))}
	w.cfg.Imports[0].Branch = "dev"
	w.collector.Apply(w.cfg)
	check("through another branch", collector.FromConfig, "dev")
	w.cfg.Imports = nil
	change := w.withFiles(collector.FileSet{Imports: []*collector.Import{new(from(collector.FromFile))}})
	check("no longer in the config", collector.FromFile, branch)
	change(collector.FileSet{})
	check("no longer in a file", collector.FromAPI, branch)
	w.unregister(keyOf(ref))
	check("unregistered", collector.FromDiscovery, lakefs.UnknownBranch)
	var conflict collector.ConflictError
	if err := w.collector.Unregister(t.Context(), keyOf(ref)); !errors.As(err, &conflict) {
		t.Errorf("unregistering a discovered import: %v", err)
	}
}

// Registered imports stay when their server has left the config, and are not
// polled.
func TestServerLeavesTheConfig(t *testing.T) {
	w := newWorldWith(t, newFakeStore())
	key := w.register(newImport(w.lakeFS.Start(repo, branch, import50k)))
	w.after(30 * time.Second)
	requests := w.lakeFS.Stats().Requests
	counters := func() int {
		n, _ := testutil.GatherAndCount(w.registry, "lakefs_imports_finished_total")
		return n
	}
	equal(t, "counters", 3, counters())
	w.collector.Apply(collector.Config{})
	w.after(30 * time.Second)
	if v := w.get(key); v.IngestedObjects != 15_000 || v.PollSuccess() || v.Poll.Message == "" || v.CommitURL() != "" {
		t.Errorf("got %+v", v)
	}
	if got := w.lakeFS.Stats().Requests; got != requests {
		t.Errorf("%d requests", got-requests)
	}
	if log := w.log.important(); !strings.Contains(log[len(log)-1], "level=warn") || !strings.Contains(log[len(log)-1], "server=prod imports=1") {
		t.Errorf("log: %q", log)
	}
	if name, err := w.collector.ServerName("prod"); name != "prod" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	w.collector.Apply(w.cfg)
	equal(t, "counters of the server that is back", 3, counters())
	w.unregister(key)
	if got := w.scrape().Imports; len(got) > 0 {
		t.Errorf("still watched: %+v", got)
	}
}

func TestRepositories(t *testing.T) {
	w := newWorld(t)
	w.lakeFS.AddRepository("empty")
	w.lakeFS.AddRepository(repo)
	w.cfg.Repositories = []collector.Repository{
		{Server: "prod", Name: repo, MaxImportAge: 26 * time.Hour, Labels: map[string]string{"team": "ingest"}},
		{Server: "prod", Name: "empty", MaxImportAge: time.Hour},
		{Server: "prod", Name: "unknown"},
	}
	w.collector.Apply(w.cfg)
	const (
		maxAges = `lakefs_repository_max_import_age_seconds{repository="empty",server="prod"} 3600
lakefs_repository_max_import_age_seconds{repository="my-repo",server="prod",team="ingest"} 93600
`
		lastImport = `lakefs_repository_last_import_timestamp_seconds{repository="my-repo",server="prod",team="ingest"} 1795344642
`
		success = `lakefs_repository_poll_success{repository="empty",server="prod"} %d
lakefs_repository_poll_success{repository="my-repo",server="prod",team="ingest"} %[1]d
lakefs_repository_poll_success{repository="unknown",server="prod"} 0`
	)
	check := func(when, want string) {
		t.Helper()
		equal(t, when, want, lines(t, w.after(15*time.Second), "lakefs_repository_"))
	}
	check("before an import", maxAges+fmt.Sprintf(success, 1))
	w.lakeFS.Start(repo, branch, lakefstest.Script{})
	check("after an import", lastImport+maxAges+fmt.Sprintf(success, 1))
	w.lakeFS.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusUnauthorized, Body: lakefstest.Message("insufficient permissions")})
	check("without permission", lastImport+maxAges+fmt.Sprintf(success, 0))
	w.collector.Apply(w.cfg)
	check("after a reload", lastImport+maxAges+fmt.Sprintf(success, 0))

	// They are asked once a second at most, in the place of health checks.
	before := w.lakeFS.Stats()
	w.scrape()
	if got := w.lakeFS.Stats(); got.Requests != before.Requests || got.Healthchecks != 0 {
		t.Errorf("%d requests within a second, %d health checks", got.Requests-before.Requests, got.Healthchecks)
	}
	equal(t, "polls", map[string]float64{"success": 4, "not_found": 2, "unauthorized": 6}, w.polls())

	w.advance(15 * time.Second)
	g := w.hold(lakefstest.Everything)
	end, scrape := begin(context.DeadlineExceeded, w.scraping)
	g.await(3)
	end()
	for _, v := range (<-scrape).Repositories {
		if v.PollSuccess() || v.Poll.Result != "timeout" {
			t.Errorf("%s: at the deadline: %+v", v.Name, v.Poll)
		}
	}
	g.release()
	w.after(15 * time.Second)
	with := w.cfg
	w.cfg.Repositories = nil
	w.collector.Apply(w.cfg)
	equal(t, "without any", "", lines(t, w.collector.Snapshot(), "lakefs_repository_"))
	w.collector.Apply(with)
	for _, v := range w.scrape().Repositories { // within a second: the answer is shared
		if v.PollSuccess() != (v.Name != "unknown") {
			t.Errorf("%s: configured again: %+v", v.Name, v.Poll)
		}
	}
}

// Every import and repository falls to exactly one shard, about as many to each,
// and the same to each in every process.
func TestShards(t *testing.T) {
	const n, total = 900, 3
	w := newWorld(t)
	for i := range n {
		w.cfg.Imports = append(w.cfg.Imports, new(newImport(lakefs.Ref{Repository: repo, Branch: branch, ID: fmt.Sprint(i)})))
		w.cfg.Repositories = append(w.cfg.Repositories, collector.Repository{Server: "prod", Name: fmt.Sprintf("repo-%d", i)})
	}
	owners := map[string]uint64{}
	for index := range uint64(total) {
		w.start(func(o *collector.Options) { o.Shard = collector.Shard{Index: index, Total: total} })
		s := w.collector.Snapshot()
		for _, v := range s.Imports {
			owners[v.ID] |= 1 << index
		}
		for _, v := range s.Repositories {
			owners[v.Name] |= 1 << index
		}
		if got := len(s.Imports); got < n/total*7/10 || got > n/total*13/10 {
			t.Errorf("shard %d has %d of %d imports", index, got, n)
		}
		equal(t, "shards", map[string]float64{"": total}, w.counts("lakefs_import_exporter_total_shards", ""))
	}
	for name, bits := range owners {
		if bits&(bits-1) != 0 {
			t.Errorf("%s has several owners: %b", name, bits)
		}
	}
	if len(owners) != 2*n {
		t.Errorf("%d of %d have an owner", len(owners), 2*n)
	}
	// If this changes, an update moves imports from exporter to exporter.
	equal(t, "owners", []uint64{1, 4, 2, 1}, []uint64{owners["0"], owners["1"], owners["2"], owners["repo-0"]})
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValidate(t *testing.T) {
	imp := func(change func(*collector.Import)) interface{ Validate() error } {
		i := newImport(unknownRef, change)
		return &i
	}
	labels := func(name, value string) interface{ Validate() error } {
		return imp(func(i *collector.Import) {
			i.Labels = map[string]string{"good": "größe 🪣\n", "Job": "x", "le_": "", name: value}
		})
	}
	const pattern = ": must match ^[a-zA-Z_][a-zA-Z0-9_]*$"
	for _, tc := range []struct {
		name string
		of   interface{ Validate() error }
		want string
	}{
		{"no shards", collector.Shard{}, ""},
		{"last shard", collector.Shard{Index: 2, Total: 3}, ""},
		{"one shard too far", collector.Shard{Index: 3, Total: 3}, "shard 3: must be less than the total of 3 shards"},
		{"repository", &collector.Repository{Name: repo, MaxImportAge: time.Hour, Labels: map[string]string{"team": "a"}}, ""},
		{"bad repository", &collector.Repository{Name: "My Repo"}, `repository "My Repo": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{"negative age", &collector.Repository{Name: repo, MaxImportAge: -time.Hour}, "max_import_age -1h0m0s: must be positive"},
		{"repository's label", &collector.Repository{Name: repo, Labels: map[string]string{"job": "a"}}, `label "job": the name is reserved`},
		{"import", imp(func(*collector.Import) {}), ""},
		{"no server", imp(func(i *collector.Import) { i.Server = "" }), "server is missing"},
		{"bad ID", imp(func(i *collector.Import) { i.ID = "../x" }), `id "../x": must match ^[A-Za-z0-9_-]{1,128}$`},
		{"negative expectation", imp(func(i *collector.Import) { i.ExpectedObjects = -1 }), "expected_objects -1: must be positive"},
		{"no threshold", imp(func(i *collector.Import) { i.NoProgressAfter = 0 }), "no_progress_after 0s: must be positive"},
		{"negative duration", imp(func(i *collector.Import) { i.MaxDuration = -time.Minute }), "max_duration -1m0s: must be positive"},
		{"good label", labels("_x", `"`), ""},
		{"empty label name", labels("", "x"), `label ""` + pattern},
		{"digit first", labels("9a", "x"), `label "9a"` + pattern},
		{"line break", labels("a\n", "x"), `label "a\n"` + pattern},
		{"two underscores", labels("__name__", "x"), `label "__name__": names that begin with __ are reserved`},
		{"value that is no text", labels("a", "\xff"), `label "a": value "\xff" is not valid UTF-8`},
	} {
		if got := message(tc.of.Validate()); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	for name := range strings.FieldsSeq(`server repository branch import_id commit_id metarange_id message reason state outcome source
		result file job instance cluster namespace le quantile alertname severity`) {
		if got, want := message(labels(name, "x").Validate()), `label "`+name+`": the name is reserved`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
