package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// list is a list of imports as a script reads it.
type list struct {
	Servers      []struct{ Name string }
	Repositories []struct{ Server, Repository string }
	Imports      []listed
}

type listed struct {
	Server, Repository, Branch, State, Source string
	ID                                        string `json:"import_id"`
	Poll                                      struct {
		Success         bool
		Result, Message string
	}
}

func TestFilters(t *testing.T) {
	w, prod := newAPIWorld(t, memoryStore{})
	w.Config.Repositories = []collector.Repository{{Server: "prod", Name: "other-repo", Labels: map[string]string{"team": "web"}}, {Server: "dev", Name: repo}}
	labels := func(labels map[string]string) func(*collector.Import) {
		return func(i *collector.Import) { i.Labels = labels }
	}
	for id, script := range map[string]lakefstest.Script{"running": import50k, "failed": {End: lakefstest.Failure}} {
		ref := prod.StartAt(lakefs.Ref{Repository: "other-repo", Branch: "dev", ID: id}, script, w.Clock.Now())
		w.Watch("prod", ref, labels(map[string]string{"team": "web", "tier": id}))
	}
	w.Watch("dev", lakefs.Ref{Repository: repo, Branch: lakefs.UnknownBranch, ID: "on-dev"}, labels(map[string]string{"team": "ingest"}))
	w.ask(http.MethodPut, apiPath+"by-api?server=dev", "")
	w.Clock.Advance(time.Minute)
	const everything = "by-api on-dev in-config failed running; dev prod; dev/my-repo prod/other-repo"
	for query, want := range map[string]string{
		"":                                 everything,
		"state=&server=&label=":            everything,
		"server=dev":                       "by-api on-dev; dev; dev/my-repo",
		"state=running&state=failed":       "failed running; dev prod; dev/my-repo prod/other-repo",
		"repository=other-repo":            "failed running; dev prod; prod/other-repo",
		"branch=-":                         "on-dev; dev prod; dev/my-repo prod/other-repo",
		"source=api":                       "by-api; dev prod; dev/my-repo prod/other-repo",
		"label=team=ingest&label=team=web": "on-dev failed running; dev prod; prod/other-repo",
		"label=team=web&label=tier=failed": "failed; dev prod; ",
		"label=team=&server=prod":          "; prod; ",
	} {
		listed := getJSON[list](w, "/api/v1/imports?"+query)
		var imports, servers, repositories []string
		for _, i := range listed.Imports {
			imports = append(imports, i.ID)
		}
		for _, s := range listed.Servers {
			servers = append(servers, s.Name)
		}
		for _, r := range listed.Repositories {
			repositories = append(repositories, r.Server+"/"+r.Repository)
		}
		if got := strings.Join(imports, " ") + "; " + strings.Join(servers, " ") + "; " + strings.Join(repositories, " "); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"state=nosuch", "status=failed", "label=team", "state=failed&state=nosuch"} {
		if status, body := w.get("/api/v1/imports?" + query); status != http.StatusBadRequest || !strings.HasPrefix(body, `{"message":"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// What costs lakeFS a request: a look at all imports one in five seconds, a look
// at one import one a second.
func TestPollsOfTheAPI(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	ref := lakeFS.Start(repo, branch, import50k)
	w.Watch("prod", ref)
	for _, step := range []struct {
		advance time.Duration
		path    string
		polls   int
	}{
		{0, "/api/v1/imports", 1},
		{5 * time.Second, "/api/v1/imports", 1},
		{time.Millisecond, "/api/v1/imports", 2},
		{999 * time.Millisecond, importPath, 2},
		{time.Millisecond, importPath, 3},
		{0, "/metrics", 3},
		{time.Second, "/metrics", 4},
	} {
		w.Clock.Advance(step.advance)
		w.get(step.path)
		if got := lakeFS.StatusRequests(ref); got != step.polls {
			t.Errorf("%s after %s: %d polls, want %d", step.path, step.advance, got, step.polls)
		}
	}
}

// A request names the branch of the import, or none.
func TestBranchOfAnImport(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	w.Watch("prod", lakefs.Ref{Repository: repo, Branch: branch, ID: "known"})
	w.Watch("prod", lakefs.Ref{Repository: repo, Branch: lakefs.UnknownBranch, ID: "unknown"})
	for path, want := range map[string]int{
		"main/known": 200, "-/known": 200, "other/known": 404, "-/unknown": 200, "other/unknown": 200, "-/nosuch": 404,
	} {
		lakeFS.ResetStats()
		w.Clock.Advance(time.Second)
		status, body := w.get("/api/v1/imports/my-repo/" + path)
		if status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if polls := lakeFS.Stats().StatusRequests; (polls == 1) != (want == 200) {
			t.Errorf("%s: %d polls", path, polls)
		}
	}
}

func TestWait(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	start := func(script lakefstest.Script) lakefs.Ref {
		ref := lakeFS.Start(repo, branch, script)
		w.Watch("prod", ref)
		return ref
	}
	finished, running, hanging := start(lakefstest.Script{}), start(import50k), start(import50k)
	ending := start(lakefstest.Script{Objects: 10, Rate: 1})
	lakeFS.Inject(lakefstest.StatusOf(hanging), lakefstest.Fault{Break: lakefstest.BlackHole})
	w.Clock.Advance(2 * time.Second)

	for query, want := range map[string]int{"1m": 200, "0s": 200, "61s": 400, "soon": 400, "30": 400} {
		if status, body := w.get(pathOf(finished) + "?wait=" + query); status != want {
			t.Errorf("wait=%s: %d %s", query, status, body)
		}
	}
	for _, ref := range []lakefs.Ref{running, hanging} { // it is not over
		if got := getJSON[listed](w, pathOf(ref)+"?wait=50ms"); got.State == "succeeded" {
			t.Errorf("%+v", got)
		}
	}

	// It ends while requests wait, which are not held up by one that hangs.
	var waiting atomic.Int32
	var requests sync.WaitGroup
	for range 5 {
		waiting.Add(1)
		requests.Go(func() {
			defer waiting.Add(-1)
			if got := getJSON[listed](w, pathOf(ending)+"?wait=1m"); got.State != "succeeded" {
				t.Errorf("answered with %+v", got)
			}
		})
	}
	eventually(t, func() bool {
		w.Clock.Advance(100 * time.Millisecond)
		return waiting.Load() == 0
	})
	requests.Wait()
}

// eventually returns when done returns true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(testPatience); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestImportAPI(t *testing.T) {
	w, prod := newAPIWorld(t, memoryStore{})
	ref := prod.Start(repo, branch, import50k)
	path := apiPath + ref.ID + "?server=prod"
	w.Clock.Advance(30 * time.Second)

	view := func(rest string) string {
		return `{"server":"prod","repository":"my-repo","branch":"main","import_id":"` + ref.ID + `","source":"api",` + rest + "}\n"
	}
	const (
		started = `"started_at":"2026-11-22T10:50:27Z"`
		now     = `"2026-11-22T10:50:57.374205733Z"`
	)
	notWatched := `{"message":"import my-repo/main/` + ref.ID + ` of server \"prod\" is not watched"}` + "\n"
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{
			name: "new", method: http.MethodPut, path: path, body: `{"expected_objects": 50000, "no_progress_after": "2h", "max_duration": "6h", "labels": {"team": "ingest"}}`,
			status: 201, want: view(`"labels":{"team":"ingest"},"state":"unknown","expected_objects":50000,` + started + `,"poll":{"success":false}`),
		},
		{
			name: "polled", method: http.MethodGet, path: path,
			status: 200, want: view(`"labels":{"team":"ingest"},"state":"running","ingested_objects":15000,"expected_objects":50000,"progress":0.3,` +
				`"objects_per_second":493.8401,"eta_seconds":70.8731,` + started + `,"updated_at":` + now + `,` +
				`"last_status_at":` + now + `,"progress_at":` + now + `,"poll":{"success":true,"result":"success","at":` + now + `}`),
		},
		{
			name: "again, which replaces what was there", method: http.MethodPut, path: "/api/v1/imports/my-repo/-/" + ref.ID + "?server=prod",
			status: 200, want: view(`"state":"running","ingested_objects":15000,"objects_per_second":493.8401,` + started +
				`,"updated_at":` + now + `,"last_status_at":` + now + `,"progress_at":` + now + `,"poll":{"success":true,"result":"success","at":` + now + `}`),
		},
		{
			name: "lakeFS does not know it yet", method: http.MethodPut, path: apiPath + "b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35?server=prod", body: "{}",
			status: 201, want: `{"server":"prod","repository":"my-repo","branch":"main","import_id":"b6e2f7a0-51c9-4d7e-9f0a-2c1d8e4b7a35","source":"api","state":"unknown","poll":{"success":false}}` + "\n",
		},
		{name: "another branch deleted", method: http.MethodDelete, path: "/api/v1/imports/my-repo/other/" + ref.ID + "?server=prod", status: 204},
		{name: "which changes nothing", method: http.MethodPut, path: path, status: 200},
		{name: "deleted", method: http.MethodDelete, path: "/api/v1/imports/my-repo/-/" + ref.ID + "?server=prod", status: 204},
		{name: "deleted again", method: http.MethodDelete, path: path, status: 204},
		{name: "gone", method: http.MethodGet, path: path, status: 404, want: notWatched},
	} {
		t.Run(step.name, func(t *testing.T) {
			status, body := w.ask(step.method, step.path, step.body)
			if status != step.status {
				t.Errorf("status %d, want %d: %s", status, step.status, body)
			}
			if diff := cmp.Diff(step.want, body); step.want != "" && diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportAPIErrors(t *testing.T) {
	w, _ := newAPIWorld(t, memoryStore{})
	for _, path := range []string{"a?server=prod", "b?server=prod", "c?server=dev"} {
		if status, body := w.ask(http.MethodPut, apiPath+path, ""); status != 201 {
			t.Fatal(status, body)
		}
	}
	_, before := w.get("/api/v1/imports")
	const x = apiPath + "x?server=prod"
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		message                  string // a part of it
	}{
		{name: "no server", path: apiPath + "x", status: 400, message: `server is missing: must be one of dev, prod`},
		{name: "unknown server", path: apiPath + "x?server=http://evil", status: 400, message: `server \"http://evil\" is not configured`},
		{name: "bad repository", path: "/api/v1/imports/My-Repo/main/x?server=prod", status: 400, message: `repository \"My-Repo\"`},
		{name: "slash in a branch", path: "/api/v1/imports/my-repo/a%2Fb/x?server=prod", status: 400, message: `branch \"a/b\"`},
		{name: "too long a branch", path: "/api/v1/imports/my-repo/" + strings.Repeat("x", 1025) + "/x?server=prod", status: 400, message: `branch`},
		{name: "bad ID", path: apiPath + "x%20y?server=prod", status: 400, message: `id \"x y\"`},
		{name: "not JSON", path: x, body: "expected_objects=7", status: 400, message: "body: "},
		{name: "unknown key", path: x, body: `{"expected": 7}`, status: 400, message: "expected"},
		{name: "forbidden label", path: x, body: `{"labels": {"job": "x"}}`, status: 400, message: `label \"job\"`},
		{name: "too large", path: x, body: `{"labels": {"a": "` + strings.Repeat("x", 1<<16) + `"}}`, status: 413, message: "body: "},
		{name: "one too many", path: apiPath + "d?server=prod", status: 409, message: "import limit reached (3, see --web.max-imports)"},
		{name: "delete what the config wants", method: http.MethodDelete, path: apiPath + "in-config?server=prod", status: 409, message: "import my-repo/main/in-config is in the config file"},
		{name: "delete on an unknown server", method: http.MethodDelete, path: apiPath + "a?server=x", status: 400, message: `server \"x\" is not configured`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodPut
			}
			status, body := w.ask(method, tc.path, tc.body)
			if status != tc.status || !strings.Contains(body, tc.message) || tc.message != "" && !strings.HasPrefix(body, `{"message":"`) {
				t.Errorf("%d %s, want %d %s", status, body, tc.status, tc.message)
			}
		})
	}
	if _, after := w.get("/api/v1/imports"); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// A change that is not stored is not made, and the answer says why. A disk that
// hangs keeps neither a client waiting nor a scrape.
func TestImportAPIWithoutADisk(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for _, tc := range []struct {
		name   string
		store  memoryStore
		status int
	}{
		{"full", memoryStore{err: errors.New("no space left on device")}, 500},
		{"hangs", memoryStore{hang: hang}, 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, _ := newAPIWorld(t, tc.store)
			for _, method := range []string{http.MethodPut, http.MethodDelete} {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				answer := httptest.NewRecorder()
				w.handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, method, registeredPath, nil))
				if answer.Code != tc.status || !strings.HasPrefix(answer.Body.String(), `{"message":"`) {
					t.Errorf("%s: %d %s", method, answer.Code, answer.Body)
				}
			}
			if status, _ := w.get("/metrics"); status != 200 {
				t.Errorf("metrics: status %d", status)
			}
			if status, _ := w.get(registeredPath); status != 404 {
				t.Errorf("it is watched all the same: status %d", status)
			}
		})
	}
}
