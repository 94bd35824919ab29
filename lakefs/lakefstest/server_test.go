package lakefstest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

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

func found(t *testing.T, server *lakefstest.Server, ref lakefs.Ref) bool {
	t.Helper()
	status, body := do(t, server, "GET "+importPath(ref), "")
	switch {
	case status == http.StatusOK:
	case status == http.StatusNotFound && body == notFound:
	default:
		t.Fatalf("status of %s: %d %s", ref, status, body)
	}
	return status == http.StatusOK
}

func TestAnswers(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	server.AddRepository("empty")
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "running"}, lakefstest.Script{Objects: 1, Rate: 1}, start)
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "done"}, lakefstest.Script{}, start.Add(-time.Minute))
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "failed"}, lakefstest.Script{End: lakefstest.Failure}, start.Add(-time.Minute))
	server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "orphan"}, lakefstest.Script{End: lakefstest.Crash}, start.Add(-time.Minute))

	const (
		noID       = `{"message":"parameter \"id\" in query has an error: empty value is not allowed"}` + "\n"
		noAuth     = `{"message":"error authenticating request"}` + "\n"
		noRepo     = `{"message":"repository not found"}` + "\n"
		noEndpoint = `{"message":"invalid API endpoint"}` + "\n"
		running    = `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}` + "\n"
		repo       = "/api/v1/repositories/my-repo"
	)
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
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
		{"health without credentials", "GET /api/v1/healthcheck", anonymous, 204, ""},
		{"health with wrong credentials", "GET /api/v1/healthcheck", basic("x", "y"), 204, ""},

		{"status", "GET " + repo + "/branches/main/import?id=running", nil, 200, running},
		{"status on a branch that is not there", "GET " + repo + "/branches/nosuch/import?id=running", nil, 200, running},
		{"status with a token", "GET " + repo + "/branches/main/import?id=running", authorization("Bearer a.b.c"), 200, running},
		{"status with a wrong token", "GET " + repo + "/branches/main/import?id=running", authorization("Bearer a.b"), 401, noAuth},
		{"status without credentials", "GET " + repo + "/branches/main/import?id=running", anonymous, 401, noAuth},
		{"status with a wrong key", "GET " + repo + "/branches/main/import?id=running", basic("x", lakefstest.SecretAccessKey), 401, noAuth},
		{"status with a wrong secret", "GET " + repo + "/branches/main/import?id=running", basic(lakefstest.AccessKeyID, "x"), 401, noAuth},
		{"status without credentials of what is not there", "GET /api/v1/repositories/nosuch/branches/main/import?id=x", anonymous, 401, noAuth},
		{"status of an unknown import", "GET " + repo + "/branches/main/import?id=nosuch", nil, 404, notFound},
		{"status of an import of another repository", "GET /api/v1/repositories/empty/branches/main/import?id=running", nil, 404, notFound},
		{"status in an unknown repository", "GET /api/v1/repositories/nosuch/branches/main/import?id=running", nil, 404, noRepo},
		{"status with an empty ID", "GET " + repo + "/branches/main/import?id=", nil, 400, noID},
		{"status without an ID", "GET " + repo + "/branches/main/import", nil, 400, noID},
		{"status without an ID or credentials", "GET " + repo + "/branches/main/import", anonymous, 400, noID},

		{"metadata", "GET " + repo + "/metadata", nil, 200, `{".lakefs.last.import.timestamp":"1795344589"}` + "\n"},
		{"metadata without an import", "GET /api/v1/repositories/empty/metadata", nil, 200, "{}\n"},
		{"metadata of an unknown repository", "GET /api/v1/repositories/nosuch/metadata", nil, 404, noRepo},
		{"metadata without credentials", "GET " + repo + "/metadata", anonymous, 401, noAuth},

		{"cancel of a completed import", "DELETE " + repo + "/branches/main/import?id=done", nil, 409, `{"message":"conflict found"}` + "\n"},
		{"cancel of a running import", "DELETE " + repo + "/branches/main/import?id=running", nil, 204, ""},
		{"cancel of a failed import", "DELETE " + repo + "/branches/main/import?id=failed", nil, 204, ""},
		{"cancel of an orphan", "DELETE " + repo + "/branches/main/import?id=orphan", nil, 204, ""},
		{"cancel of an unknown import", "DELETE " + repo + "/branches/main/import?id=nosuch", nil, 404, notFound},
		{"cancel in an unknown repository", "DELETE /api/v1/repositories/nosuch/branches/main/import?id=done", nil, 404, noRepo},
		{"cancel without an ID", "DELETE " + repo + "/branches/main/import", nil, 400, noID},
		{"cancel without credentials", "DELETE " + repo + "/branches/main/import?id=running", anonymous, 401, noAuth},

		{"unknown endpoint", "GET /api/v1/nosuch", nil, 404, noEndpoint},
		{"unknown endpoint without credentials", "GET /api/v1/nosuch", anonymous, 404, noEndpoint},
		{"/api/v1 twice", "GET /api/v1" + repo + "/branches/main/import?id=running", nil, 404, noEndpoint},
		{"unknown method", "PUT " + repo + "/branches/main/import?id=running", nil, 404, noEndpoint},
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

func TestPageOutsideOfTheAPI(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	for _, path := range []string{"/", "/repositories/my-repo/commits/6ff0", "/lakefs/api/v1/healthcheck"} {
		status, header, body := send(t, newRequest(t, server, "GET "+path, ""))
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/html") || !strings.Contains(body, "lakeFS") {
			t.Errorf("%s: got %d, %q, %q", path, status, header.Get("Content-Type"), body)
		}
	}
}

func TestOwnCredentials(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{AccessKeyID: "me", SecretAccessKey: "secret"})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	if status, body := do(t, server, "GET "+importPath(ref), ""); status != http.StatusUnauthorized {
		t.Errorf("with the default credentials: got %d %q", status, body)
	}
	req := newRequest(t, server, "GET "+importPath(ref), "")
	req.SetBasicAuth("me", "secret")
	if status, _, body := send(t, req); status != http.StatusOK {
		t.Errorf("got %d %q", status, body)
	}
}

func TestRealClock(t *testing.T) {
	server, err := lakefstest.New(lakefstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	before := time.Now().Truncate(time.Second)
	ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 1})
	if at, ok := lakefs.StartTime(ref.ID); !ok || at.Before(before) || at.After(time.Now()) {
		t.Errorf("start time of %s: %s, %t", ref, at, ok)
	}
}

func TestStart(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	seen := map[string]bool{}
	for range 3 {
		ref := server.Start("my-repo", "main", lakefstest.Script{})
		at, ok := lakefs.StartTime(ref.ID)
		if !ok || !at.Equal(start.Truncate(time.Second)) {
			t.Errorf("start time of %s: %s, %t", ref, at, ok)
		}
		if err := ref.Validate(); err != nil || seen[ref.ID] {
			t.Errorf("ref %s: %v, seen before: %t", ref, err, seen[ref.ID])
		}
		seen[ref.ID] = true
	}

	other, _ := newServer(t, lakefstest.Options{})
	if ref := other.Start("my-repo", "main", lakefstest.Script{}); !seen[ref.ID] {
		t.Errorf("another server gives another first ID: %s", ref.ID)
	}

	at := clock.Now().Add(-time.Hour)
	ref := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, at)
	if got, ok := lakefs.StartTime(ref.ID); !ok || !got.Equal(at.Truncate(time.Second)) {
		t.Errorf("start time of %s: %s, %t", ref, got, ok)
	}

	want := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "9c9a4a2c-7d4b-4d2a-8f0e-0c4a4f6c2d1e"}
	if got := server.StartAt(want, lakefstest.Script{Objects: 7, End: lakefstest.Hang}, at); got != want {
		t.Errorf("got ref %s, want %s", got, want)
	}
	if got := statusOf(t, server, want); !strings.Contains(got, `"ingested_objects":7,`) {
		t.Errorf("got %s", got)
	}
	server.StartAt(want, lakefstest.Script{Objects: 8, End: lakefstest.Hang}, at)
	if got := statusOf(t, server, want); !strings.Contains(got, `"ingested_objects":8,`) {
		t.Errorf("the import of the same ID did not take its place: %s", got)
	}
}

func TestImportStart(t *testing.T) {
	const (
		schema = "request body has an error: doesn't match schema #/components/schemas/ImportCreation: "
		path   = `{"type":"common_prefix","path":"s3://bucket/a/","destination":"a/"}`
	)
	server, clock := newServer(t, lakefstest.Options{Script: lakefstest.Script{Objects: 10, Rate: 1, CommitMessage: "by script"}})
	server.AddRepository("my-repo")

	for _, tc := range []struct {
		name, body string
		want       string // message
	}{
		{"empty", "", "request body has an error: value is required but missing"},
		{"not JSON", "x", "request body has an error: failed to decode request body: invalid character 'x' looking for beginning of value"},
		{"no paths", `{"commit":{"message":"m"}}`, schema + `Error at "/paths": property "paths" is missing`},
		{"no commit", `{"paths":[` + path + `]}`, schema + `Error at "/commit": property "commit" is missing`},
		{"no message", `{"paths":[` + path + `],"commit":{}}`, schema + `Error at "/commit/message": property "message" is missing`},
		{"no type", `{"paths":[{"path":"p","destination":"d"}],"commit":{"message":""}}`, schema + `Error at "/paths/0/type": property "type" is missing`},
		{"no path", `{"paths":[` + path + `,{"type":"object","destination":"d"}],"commit":{"message":""}}`, schema + `Error at "/paths/1/path": property "path" is missing`},
		{"no destination", `{"paths":[{"type":"object","path":"p"}],"commit":{"message":""}}`, schema + `Error at "/paths/0/destination": property "destination" is missing`},
		{"unknown type", `{"paths":[{"type":"x","path":"p","destination":"d"}],"commit":{"message":""}}`, schema + `Error at "/paths/0/type": value is not one of the allowed values`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := do(t, server, "POST /api/v1/repositories/my-repo/branches/main/import", tc.body)
			if want := lakefstest.Message(tc.want); status != http.StatusBadRequest || body != want {
				t.Errorf("got %d %q, want 400 %q", status, body, want)
			}
		})
	}

	status, body := do(t, server, "POST /api/v1/repositories/nosuch/branches/main/import", `{"paths":[`+path+`],"commit":{"message":"m"}}`)
	if status != http.StatusNotFound || body != lakefstest.Message("repository not found") {
		t.Errorf("unknown repository: got %d %q", status, body)
	}

	req := newRequest(t, server, "POST /api/v1/repositories/my-repo/branches/main/import", `{"paths":[`+path+`],"commit":{"message":"m"}}`)
	req.Header.Del("Authorization")
	if status, _, body := send(t, req); status != http.StatusUnauthorized {
		t.Errorf("without credentials: got %d %q", status, body)
	}

	begin := func(message string) lakefs.Ref {
		status, body := do(t, server, "POST /api/v1/repositories/my-repo/branches/main/import", `{"paths":[`+path+`],"commit":{"message":"`+message+`"}}`)
		var created struct{ ID string }
		if err := json.Unmarshal([]byte(body), &created); err != nil || status != http.StatusAccepted {
			t.Fatalf("got %d %q", status, body)
		}
		return lakefs.Ref{Repository: "my-repo", Branch: "main", ID: created.ID}
	}
	named, unnamed := begin("Import a/"), begin("")
	if at, ok := lakefs.StartTime(named.ID); !ok || !at.Equal(start.Truncate(time.Second)) {
		t.Errorf("start time of %s: %s, %t", named, at, ok)
	}
	clock.Advance(4 * time.Second)
	if got := statusOf(t, server, named); !strings.Contains(got, `"ingested_objects":4,`) {
		t.Errorf("does not follow the script: %s", got)
	}
	clock.Advance(6 * time.Second)
	for ref, want := range map[lakefs.Ref]string{named: "Import a/", unnamed: "by script"} {
		if got := statusOf(t, server, ref); !strings.Contains(got, `"message":"`+want+`",`) {
			t.Errorf("want commit message %q: %s", want, got)
		}
	}
}

func TestImportStartDefaultScript(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	server.AddRepository("my-repo")
	status, body := do(t, server, "POST /api/v1/repositories/my-repo/branches/main/import", `{"paths":[],"commit":{"message":""}}`)
	if status != http.StatusAccepted {
		t.Fatalf("got %d %q", status, body)
	}
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(body), &created); err != nil {
		t.Fatal(err)
	}
	ref := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: created.ID}
	for _, want := range []string{`"ingested_objects":25000,`, `"ingested_objects":50000,`, `"ingested_objects":60000,`} {
		clock.Advance(time.Second)
		if got := statusOf(t, server, ref); !strings.Contains(got, want) {
			t.Errorf("want %s in %s", want, got)
		}
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
	for _, tc := range []struct {
		name string
		ref  lakefs.Ref
		want bool
	}{
		{"running", running, true},
		{"failed", failed, true},
		{"orphan", orphan, true},
		{"completed", done, false},
		{"unknown", lakefs.Ref{Repository: "my-repo", ID: "nosuch"}, false},
		{"recording", server.Play(lakefs.Ref{Repository: "my-repo"}, lakefstest.Recording{{Status: 200}}), false},
	} {
		if got := server.Cancel(tc.ref); got != tc.want {
			t.Errorf("cancel of %s: got %t, want %t", tc.name, got, tc.want)
		}
	}
	if got := statusOf(t, server, done); got != before {
		t.Errorf("the status of the completed import changed from %s to %s", before, got)
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

	if !server.Cancel(running) {
		t.Error("a cancelled import was not cancelled again")
	}
	if got := statusOf(t, server, running); !strings.Contains(got, `"2026-11-22T12:50:54.797120488Z"`) {
		t.Errorf("the second cancel is not the last update: %s", got)
	}
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
			metadata := func() string {
				_, body := do(t, server, "GET /api/v1/repositories/my-repo/metadata", "")
				return body
			}
			clock.Advance(699 * time.Millisecond)
			if got := metadata(); got != "{}\n" {
				t.Errorf("before the commit: %s", got)
			}
			clock.Advance(101 * time.Millisecond)
			tc.end(server, ref)
			clock.Advance(time.Hour)
			if got := statusOf(t, server, ref); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if got := metadata(); got != `{".lakefs.last.import.timestamp":"1795344649"}`+"\n" {
				t.Errorf("got metadata %s", got)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	metadata := func(want string) {
		t.Helper()
		status, body := do(t, server, "GET /api/v1/repositories/my-repo/metadata", "")
		if status != http.StatusOK || body != want+"\n" {
			t.Errorf("got %d %s, want %s", status, body, want)
		}
	}
	failing := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Failure})
	server.Start("other", "main", lakefstest.Script{})
	server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Recording{{Status: 200, Body: "{}"}})
	clock.Advance(time.Hour)
	metadata(`{}`)
	newer := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, start.Add(20*time.Second))
	older := server.StartAt(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Script{}, start.Add(10*time.Second))
	metadata(`{".lakefs.last.import.timestamp":"1795344669"}`)
	for _, ref := range []lakefs.Ref{newer, older, failing} {
		server.Forget(ref)
	}
	metadata(`{".lakefs.last.import.timestamp":"1795344669"}`)
}

func TestForget(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	if !found(t, server, ref) {
		t.Error("not found before Forget")
	}
	server.Forget(ref)
	server.Forget(ref)
	if found(t, server, ref) {
		t.Error("found after Forget")
	}
}

func TestRestart(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	running := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10})
	failed := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Failure})
	done := server.Start("my-repo", "main", lakefstest.Script{})
	hung := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Hang, EndAtObjects: 15})
	doomed := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Failure, EndAfter: time.Minute})
	toCancel := server.Start("my-repo", "main", lakefstest.Script{Objects: 1000, Rate: 10, End: lakefstest.Cancel, EndAfter: time.Minute})
	playing := server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Recording{
		{Status: 200, Body: "first"}, {After: time.Minute, Status: 200, Body: "second"},
	})
	clock.Advance(5500 * time.Millisecond)
	wantFailed, wantDone := statusOf(t, server, failed), statusOf(t, server, done)

	server.Restart()
	clock.Advance(time.Second)
	server.Restart()
	clock.Advance(time.Hour)
	const orphan = `{"completed":false,"ingested_objects":COUNT,"update_time":"2026-11-22T10:50:54.297120488Z"}` + "\n"
	for _, tc := range []struct {
		name string
		ref  lakefs.Ref
		want string
	}{
		{"running", running, strings.Replace(orphan, "COUNT", "50", 1)},
		{"hung", hung, strings.Replace(orphan, "COUNT", "15", 1)},
		{"dead before it could fail", doomed, strings.Replace(orphan, "COUNT", "50", 1)},
		{"cancelled as an orphan", toCancel, `{"completed":false,"error":{"message":"import error: Canceled"},"ingested_objects":50,"update_time":"2026-11-22T10:51:49.297120488Z"}` + "\n"},
		{"failed", failed, wantFailed},
		{"done", done, wantDone},
		{"recording", playing, "second"},
	} {
		if got := statusOf(t, server, tc.ref); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
	if after := server.Start("my-repo", "main", lakefstest.Script{Objects: 1}); !strings.Contains(statusOf(t, server, after), "2026-11-22T11:50:55") {
		t.Error("an import started after the restart does not run")
	}
}

func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	add := func(server *lakefstest.Server) map[string]lakefs.Ref {
		return map[string]lakefs.Ref{
			"done":     server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Rate: 1}),
			"failed":   server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Rate: 1, End: lakefstest.Failure}),
			"canceled": server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Rate: 1, End: lakefstest.Cancel}),
			"orphan":   server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Rate: 1, End: lakefstest.Crash}),
			"hung":     server.Start("my-repo", "main", lakefstest.Script{Objects: 10, Rate: 1, End: lakefstest.Hang}),
			"playing":  server.Play(lakefs.Ref{Repository: "my-repo", Branch: "main"}, lakefstest.Recording{{Status: 200}}),
		}
	}
	all := []string{"done", "failed", "canceled", "orphan", "hung", "playing"}
	alive := []string{"hung", "playing"}
	for _, tc := range []struct {
		name  string
		after []time.Duration // at which something is asked; the last one counts
		// restart is before the last one.
		restart bool
		want    []string
	}{
		{"at once", []time.Duration{0}, false, all},
		{"the first job finds them too young", []time.Duration{day}, false, all},
		{"the first job found them too young", []time.Duration{2*day - 1}, false, all},
		{"the second job", []time.Duration{2 * day}, false, alive},
		{"the second job after the first", []time.Duration{day, 2*day - 1, 2 * day}, false, alive},
		{"many jobs later", []time.Duration{1000 * day}, false, alive},
		{"a restart that finds them too young", []time.Duration{day}, true, all},
		{"a restart when they are old enough", []time.Duration{day + 11*time.Second}, true, alive},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, clock := newServer(t, lakefstest.Options{})
			refs := add(server)
			for _, after := range tc.after {
				clock.Set(start.Add(after))
				if tc.restart {
					server.Restart()
				}
				do(t, server, "GET /api/v1/repositories/my-repo/metadata", "")
			}
			want := map[string]bool{}
			for _, name := range tc.want {
				want[name] = true
			}
			for name, ref := range refs {
				if got := found(t, server, ref); got != want[name] {
					t.Errorf("%s: found %t, want %t", name, got, want[name])
				}
			}
			if !want["done"] {
				if _, body := do(t, server, "GET /api/v1/repositories/my-repo/metadata", ""); body != `{".lakefs.last.import.timestamp":"1795344659"}`+"\n" {
					t.Errorf("the commit is forgotten: %s", body)
				}
			}
		})
	}

	t.Run("the job runs each day from a restart on", func(t *testing.T) {
		server, clock := newServer(t, lakefstest.Options{})
		clock.Set(start.Add(12 * time.Hour))
		server.Restart()
		orphan := server.Start("my-repo", "main", lakefstest.Script{End: lakefstest.Crash})
		for after, want := range map[time.Duration]bool{48 * time.Hour: true, 60*time.Hour - 1: true} {
			clock.Set(start.Add(after))
			if got := found(t, server, orphan); got != want {
				t.Errorf("after %s: found %t, want %t", after, got, want)
			}
		}
		clock.Set(start.Add(60 * time.Hour))
		if found(t, server, orphan) {
			t.Error("found two days after the restart")
		}
	})
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

func TestStats(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	a := server.Start("my-repo", "main", lakefstest.Script{})
	b := server.Start("my-repo", "main", lakefstest.Script{})
	unknown := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "nosuch"}
	otherBranch := a
	otherBranch.Branch = "other"

	transport := newTransport(t)
	ask := func(path, agent string) {
		t.Helper()
		req := newRequest(t, server, "GET "+path, "")
		req.Header.Set("User-Agent", agent)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	ask("/api/v1/healthcheck", "one")
	ask(importPath(a), "two")
	ask(importPath(otherBranch), "three")
	ask(importPath(unknown), "four")
	ask("/api/v1/nosuch", "five")

	got := server.Stats()
	if agent := got.LastHeader.Get("User-Agent"); agent != "five" {
		t.Errorf("User-Agent of the last request is %q", agent)
	}
	got.LastHeader.Set("User-Agent", "changed")
	if agent := server.Stats().LastHeader.Get("User-Agent"); agent != "five" {
		t.Error("LastHeader is shared")
	}
	got.LastHeader = nil
	want := lakefstest.Stats{Requests: 5, StatusRequests: 3, Healthchecks: 1, MaxInFlight: 1, Connections: 1}
	if !equalStats(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for ref, want := range map[lakefs.Ref]int{a: 2, otherBranch: 2, b: 0, unknown: 1} {
		if got := server.StatusRequests(ref); got != want {
			t.Errorf("%s: asked %d times, want %d", ref, got, want)
		}
	}

	server.ResetStats()
	if got := server.Stats(); !equalStats(got, lakefstest.Stats{}) || got.LastHeader != nil || server.StatusRequests(a) != 0 {
		t.Errorf("after ResetStats: %+v", got)
	}
}

func equalStats(a, b lakefstest.Stats) bool {
	a.LastHeader, b.LastHeader = nil, nil
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestInFlight(t *testing.T) {
	const n = 8
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	hold := make(chan struct{})
	arrived := make(chan struct{}, n)
	server.Inject(func(r *http.Request) bool {
		if !lakefstest.Statuses(r) {
			return false
		}
		arrived <- struct{}{}
		return true
	}, lakefstest.Fault{Hold: hold})

	answers := make(chan int, n)
	transport := newTransport(t)
	for range n {
		req := newRequest(t, server, "GET "+importPath(ref), "")
		go func() {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				answers <- 0
				return
			}
			resp.Body.Close()
			answers <- resp.StatusCode
		}()
	}
	for range n {
		<-arrived
	}
	if got := server.Stats(); got.InFlight != n || got.MaxInFlight != n || got.Connections != n {
		t.Errorf("got %+v, want %d in flight", got, n)
	}
	server.ResetStats()
	if got := server.Stats(); got.InFlight != n || got.MaxInFlight != n {
		t.Errorf("after ResetStats: got %+v, want %d in flight", got, n)
	}
	if got := server.Stats(); got.Healthchecks != 0 {
		t.Errorf("got %+v", got)
	}
	close(hold)
	for range n {
		if status := <-answers; status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	}
	server.Close() // waits for all of them
	if got := server.Stats(); got.InFlight != 0 || got.MaxInFlight != n {
		t.Errorf("at the end: got %+v", got)
	}
}

func TestClose(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	server.Close()
	server.Close()
	resp, err := newTransport(t).RoundTrip(newRequest(t, server, "GET /api/v1/healthcheck", ""))
	if err == nil {
		resp.Body.Close()
		t.Errorf("a closed server answers %d", resp.StatusCode)
	}
}
