package lakefstest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is when imports start: with a fraction of a second, as in real life.
var start = time.Date(2026, 11, 22, 10, 50, 49, 297_120_488, time.UTC)

// newServer starts a server on a clock that shows start.
func newServer(t *testing.T, opts lakefstest.Options) (*lakefstest.Server, *lakefstest.Clock) {
	t.Helper()
	clock := lakefstest.NewClock(start)
	if opts.Clock == nil {
		opts.Clock = clock.Now
	}
	server, err := lakefstest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, clock
}

// newTransport returns a transport that closes its connections with the test.
func newTransport(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// newRequest returns a request with credentials. target is method and path.
func newRequest(t *testing.T, server *lakefstest.Server, target, body string) *http.Request {
	t.Helper()
	method, path, _ := strings.Cut(target, " ")
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(lakefstest.AccessKeyID, lakefstest.SecretAccessKey)
	return req
}

// shared keeps the connections of tests that do not look at connections.
var shared http.Transport

// send returns the status, header and body of an answer.
func send(t *testing.T, req *http.Request) (int, http.Header, string) {
	t.Helper()
	resp, err := shared.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// do is send of a request with credentials.
func do(t *testing.T, server *lakefstest.Server, target, body string) (int, string) {
	t.Helper()
	status, _, answer := send(t, newRequest(t, server, target, body))
	return status, answer
}

func importPath(ref lakefs.Ref) string {
	return "/api/v1/repositories/" + ref.Repository + "/branches/" + ref.Branch + "/import?id=" + url.QueryEscape(ref.ID)
}

// statusOf returns the body of a status, or fails the test.
func statusOf(t *testing.T, server *lakefstest.Server, ref lakefs.Ref) string {
	t.Helper()
	status, body := do(t, server, "GET "+importPath(ref), "")
	if status != http.StatusOK {
		t.Fatalf("status of %s: %d %s", ref, status, body)
	}
	return body
}

const notFound = `{"message":"not found"}` + "\n"

func TestAnswers(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	server.AddRepository("empty")
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "running"}, lakefstest.Script{Objects: 1, Rate: 1}, start)
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "done"}, lakefstest.Script{}, start.Add(-time.Minute))

	const (
		noID       = `{"message":"parameter \"id\" in query has an error: empty value is not allowed"}` + "\n"
		noAuth     = `{"message":"error authenticating request"}` + "\n"
		noRepo     = `{"message":"repository not found"}` + "\n"
		noEndpoint = `{"message":"invalid API endpoint"}` + "\n"
		running    = `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}` + "\n"
		repo       = "/api/v1/repositories/my-repo"
	)
	authorization := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Authorization"] = []string{value} }
	}
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }

	for _, tc := range []struct {
		name       string
		target     string
		change     func(*http.Request)
		wantStatus int
		wantBody   string
	}{
		{"health", "GET /api/v1/healthcheck", nil, 204, ""},

		{"status", "GET " + repo + "/branches/main/import?id=running", nil, 200, running},
		{"status on a branch that is not there", "GET " + repo + "/branches/nosuch/import?id=running", nil, 200, running},
		{"status with a token", "GET " + repo + "/branches/main/import?id=running", authorization("Bearer a.b.c"), 200, running},
		{"status without credentials", "GET " + repo + "/branches/main/import?id=running", anonymous, 401, noAuth},
		{"status without credentials of what is not there", "GET /api/v1/repositories/nosuch/branches/main/import?id=x", anonymous, 401, noAuth},
		{"status of an unknown import", "GET " + repo + "/branches/main/import?id=nosuch", nil, 404, notFound},
		{"status of an import of another repository", "GET /api/v1/repositories/empty/branches/main/import?id=running", nil, 404, notFound},
		{"status in an unknown repository", "GET /api/v1/repositories/nosuch/branches/main/import?id=running", nil, 404, noRepo},
		{"status without an ID", "GET " + repo + "/branches/main/import", nil, 400, noID},
		{"status without an ID or credentials", "GET " + repo + "/branches/main/import", anonymous, 400, noID},

		{"metadata", "GET " + repo + "/metadata", nil, 200, `{".lakefs.last.import.timestamp":"1795344589"}` + "\n"},
		{"metadata without an import", "GET /api/v1/repositories/empty/metadata", nil, 200, "{}\n"},
		{"metadata of an unknown repository", "GET /api/v1/repositories/nosuch/metadata", nil, 404, noRepo},

		{"cancel of a completed import", "DELETE " + repo + "/branches/main/import?id=done", nil, 409, `{"message":"conflict found"}` + "\n"},
		{"cancel of a running import", "DELETE " + repo + "/branches/main/import?id=running", nil, 204, ""},
		{"cancel of an unknown import", "DELETE " + repo + "/branches/main/import?id=nosuch", nil, 404, notFound},
		{"cancel without credentials", "DELETE " + repo + "/branches/main/import?id=running", anonymous, 401, noAuth},

		{"unknown endpoint", "GET /api/v1/nosuch", nil, 404, noEndpoint},
		{"/api/v1 twice", "GET /api/v1" + repo + "/branches/main/import?id=running", nil, 404, noEndpoint},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := newRequest(t, server, tc.target, "")
			if tc.change != nil {
				tc.change(req)
			}
			status, header, body := send(t, req)
			if status != tc.wantStatus || body != tc.wantBody {
				t.Errorf("got %d %q, want %d %q", status, body, tc.wantStatus, tc.wantBody)
			}
			if got, json := header.Get("Content-Type"), "application/json"; (got == json) != (tc.wantBody != "") {
				t.Errorf("Content-Type %q with body %q", got, body)
			}
			if got, want := header.Get("Date"), "Sun, 22 Nov 2026 10:50:49 GMT"; got != want {
				t.Errorf("Date %q, want %q: that of the server's clock", got, want)
			}
		})
	}
}

func TestStart(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	first, second := server.Start("my-repo", "main", lakefstest.Script{}), server.Start("my-repo", "main", lakefstest.Script{})
	other, _ := newServer(t, lakefstest.Options{})
	if same := other.Start("my-repo", "main", lakefstest.Script{}); first == second || first != same {
		t.Errorf("got %s and %s, and of another server %s", first, second, same)
	}
	at := clock.Now().Add(-time.Hour)
	ref := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, at)
	if got, ok := lakefs.StartTime(ref.ID); !ok || !got.Equal(at.Truncate(time.Second)) {
		t.Errorf("start time of %s: %s, %t", ref, got, ok)
	}
	want := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e"}
	for _, n := range []int64{7, 8} { // the second takes the place of the first
		ref := server.StartAt(want, lakefstest.Script{Objects: n, End: lakefstest.Hang}, at)
		if got := statusOf(t, server, want); ref != want || !strings.Contains(got, fmt.Sprintf(`"ingested_objects":%d,`, n)) {
			t.Errorf("got ref %s, %s", ref, got)
		}
	}
}

func TestImportStart(t *testing.T) {
	const target, body = "POST /api/v1/repositories/my-repo/branches/main/import", `{"paths":[{"type":"object","path":"s3://b/a","destination":""}],"commit":{"message":""}}`
	server, clock := newServer(t, lakefstest.Options{})
	if status, _ := do(t, server, target, body); status != http.StatusNotFound {
		t.Errorf("unknown repository: %d", status)
	}
	server.AddRepository("my-repo")
	for _, bad := range []string{"", "{}", `{"paths":[]}`} {
		if status, _ := do(t, server, target, bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, status)
		}
	}
	status, answer := do(t, server, target, body)
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &created); err != nil || status != http.StatusAccepted {
		t.Fatalf("got %d %q", status, answer)
	}
	clock.Advance(time.Second)
	if got := statusOf(t, server, lakefs.Ref{Repository: "my-repo", Branch: "main", ID: created.ID}); !strings.Contains(got, `"ingested_objects":25000,`) {
		t.Errorf("got %s", got)
	}
}

func TestCancel(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	running := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10})
	failed := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Failure})
	orphan := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Crash, EndAfter: 2 * time.Second})
	done := server.Start("my-repo", "main", lakefstest.Script{})
	clock.Advance(5500 * time.Millisecond)
	before := statusOf(t, server, done)
	if !server.Cancel(running) || !server.Cancel(failed) || !server.Cancel(orphan) || server.Cancel(done) || server.Cancel(lakefs.Ref{}) {
		t.Error("the completed and the unknown one alone cannot be canceled")
	}
	// The cancel shows at once, and nothing comes after it.
	const canceled = `{"completed":false,"error":{"message":"import error: Canceled"},"ingested_objects":COUNT,"update_time":"2026-11-22T10:50:54.797120488Z"}` + "\n"
	for range 2 {
		for ref, count := range map[lakefs.Ref]string{running: "50", failed: "0", orphan: "20"} {
			if got, want := statusOf(t, server, ref), strings.Replace(canceled, "COUNT", count, 1); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		clock.Advance(time.Hour)
	}
	if got := statusOf(t, server, done); got != before {
		t.Errorf("the completed import changed from %s to %s", before, got)
	}
}

func metadata(t *testing.T, server *lakefstest.Server) string {
	t.Helper()
	_, body := do(t, server, "GET /api/v1/repositories/my-repo/metadata", "")
	return body
}

// A cancel or a restart may come when the commit is made, but not yet told of.
func TestCommitThatNoStatusTellsOf(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*lakefstest.Server, lakefs.Ref)
		want string
	}{
		{"cancel", func(s *lakefstest.Server, ref lakefs.Ref) { s.Cancel(ref) }, `{"completed":false,"error":{"message":"import error: Canceled"},"ingested_objects":0,"update_time":"2026-11-22T10:50:50.097120488Z"}` + "\n"},
		{"restart", func(s *lakefstest.Server, _ lakefs.Ref) { s.Restart() }, `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, clock := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Committing: 700 * time.Millisecond})
			clock.Advance(699 * time.Millisecond)
			if got := metadata(t, server); got != "{}\n" {
				t.Errorf("before the commit: %s", got)
			}
			clock.Advance(101 * time.Millisecond)
			tc.end(server, ref)
			clock.Advance(time.Hour)
			if got := statusOf(t, server, ref); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if got := metadata(t, server); got != `{".lakefs.last.import.timestamp":"1795344649"}`+"\n" {
				t.Errorf("got metadata %s", got)
			}
		})
	}
}

// The newest commit of a repository is remembered when its import is forgotten.
func TestMetadata(t *testing.T) {
	const want = `{".lakefs.last.import.timestamp":"1795344669"}` + "\n"
	server, clock := newServer(t, lakefstest.Options{})
	failing := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Failure})
	server.Start("other", "main", lakefstest.Script{})
	clock.Advance(time.Hour)
	newer := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, start.Add(20*time.Second))
	older := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, start.Add(10*time.Second))
	if got := metadata(t, server); got != want {
		t.Errorf("got %s", got)
	}
	for _, ref := range []lakefs.Ref{newer, older, failing} {
		server.Forget(ref)
		if status, body := do(t, server, "GET "+importPath(ref), ""); status != http.StatusNotFound || body != notFound {
			t.Errorf("forgotten: %d %s", status, body)
		}
	}
	if got := metadata(t, server); got != want {
		t.Errorf("got %s after all were forgotten", got)
	}
}

func TestRestart(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	running := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10})
	doomed := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Failure, EndAfter: time.Minute})
	failed := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Failure})
	clock.Advance(5500 * time.Millisecond)
	wantFailed := statusOf(t, server, failed)
	server.Restart()
	clock.Advance(time.Hour)
	const orphan = `{"completed":false,"ingested_objects":50,"update_time":"2026-11-22T10:50:54.297120488Z"}` + "\n"
	for ref, want := range map[lakefs.Ref]string{running: orphan, doomed: orphan, failed: wantFailed} {
		if got := statusOf(t, server, ref); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The keys of what is simulated are those of what was recorded, in their order.
func TestKeysAreThoseOfRecordings(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	simulated := map[string]bool{}
	keys := func(body string) string {
		return strings.Join(regexp.MustCompile(`"[a-z_.]+":`).FindAllString(body, -1), " ")
	}
	for _, end := range []lakefstest.End{lakefstest.Success, lakefstest.Failure} {
		ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 20, End: end})
		for range 2 {
			simulated[keys(statusOf(t, server, ref))] = true
			clock.Advance(time.Second)
		}
	}
	if len(simulated) != 3 {
		t.Errorf("got %d kinds of status, want running, succeeded and failed: %v", len(simulated), simulated)
	}
	for _, file := range recordingFiles(t) {
		for _, a := range readRecording(t, file) {
			if a.Status == http.StatusOK && !simulated[keys(a.Body)] {
				t.Errorf("%s: no simulated status has the keys of %s", filepath.Base(file), a.Body)
			}
		}
	}
}

// recordingFiles returns the recordings of a real lakeFS, which are kept beside
// the repository, or where LAKEFS_RECORDINGS says. It skips the test without them.
func recordingFiles(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("LAKEFS_RECORDINGS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "recordings")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("SKIPPED: no recordings of a real lakeFS (*.jsonl) in %s: set LAKEFS_RECORDINGS to their folder", dir)
	}
	return files
}

func readRecording(t *testing.T, file string) lakefstest.Recording {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rec, err := lakefstest.ReadRecording(f)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestTheNewestFaultHappens(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	server.Inject(lakefstest.Everything, lakefstest.Fault{Status: 501})
	remove := server.Inject(lakefstest.Everything, lakefstest.Fault{Status: 502})
	for _, want := range []int{502, 501} {
		if got, _ := do(t, server, "GET /", ""); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
		remove()
	}
}

func TestStats(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	statusOf(t, server, ref)
	do(t, server, "GET /api/v1/healthcheck", "")
	got := server.Stats()
	if got.Requests != 2 || got.StatusRequests != 1 || got.Healthchecks != 1 || got.Connections == 0 || server.StatusRequests(ref) != 1 {
		t.Errorf("got %+v", got)
	}
	server.ResetStats()
	if got := server.Stats(); got.Requests != 0 || got.StatusRequests != 0 || server.StatusRequests(ref) != 0 {
		t.Errorf("after ResetStats: %+v", got)
	}
}
