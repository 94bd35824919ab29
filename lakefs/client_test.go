package lakefs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"go.uber.org/goleak"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const userAgent = "lakefs_import_exporter/test"

// start is what the clock of every lakeFS here shows at first.
var start = time.Date(2026, 11, 22, 10, 50, 49, 297_120_488, time.UTC)

// someRef is for servers that answer whatever they are asked for.
var someRef = lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "dc1chj1ksduerdki88b0"}

const running = `{"completed":false,"ingested_objects":5,"update_time":"2026-11-22T10:50:49Z"}`

func newServer(t *testing.T, opts lakefstest.Options) (*lakefstest.Server, *lakefstest.Clock) {
	t.Helper()
	clock := lakefstest.NewClock(start)
	opts.Clock = clock.Now
	server, err := lakefstest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server, clock
}

// newClient returns a client with the credentials of lakefstest; change may
// change its settings.
func newClient(t testing.TB, endpoint string, change ...func(*config.HTTPClientConfig)) *lakefs.Client {
	t.Helper()
	settings := config.DefaultHTTPClientConfig
	settings.BasicAuth = &config.BasicAuth{Username: lakefstest.AccessKeyID, Password: lakefstest.SecretAccessKey}
	for _, c := range change {
		c(&settings)
	}
	client, err := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: endpoint, HTTP: settings, UserAgent: userAgent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// setup returns a lakeFS with an import that is running, and a client of it.
func setup(t *testing.T, change ...func(*config.HTTPClientConfig)) (*lakefstest.Server, *lakefs.Client, lakefs.Ref) {
	t.Helper()
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 100, Rate: 1})
	return server, newClient(t, server.URL, change...), ref
}

// wantError fails the test if err is not an *Error of a kind.
func wantError(t *testing.T, err error, kind lakefs.Kind) *lakefs.Error {
	t.Helper()
	var e *lakefs.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want an *Error of kind %s", err, err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %s (%v), want %s", e.Kind, e, kind)
	}
	return e
}

// wantStatus fails the test if there is no status.
func wantStatus(t *testing.T, client *lakefs.Client, ref lakefs.Ref) *lakefs.ImportStatus {
	t.Helper()
	status, err := client.ImportStatus(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestImportStatus(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	client := newClient(t, server.URL)
	ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 100, Rate: 50})

	clock.Advance(time.Second)
	status, now := wantStatus(t, client, ref), start.Add(time.Second)
	if status.Outcome() != lakefs.Running || *status.IngestedObjects != 50 || !status.UpdateTime.Equal(now) || !status.Date.Equal(now.Truncate(time.Second)) {
		t.Errorf("got %+v with %d objects", status, *status.IngestedObjects)
	}

	clock.Advance(time.Minute)
	for _, branch := range []string{"main", "nosuch", lakefs.UnknownBranch} {
		ref.Branch = branch
		status = wantStatus(t, client, ref)
		if status.Outcome() != lakefs.Succeeded || len(status.CommitID) != 64 || len(status.MetarangeID) != 64 {
			t.Errorf("on branch %s: did not succeed: %+v", branch, status)
		}
	}
}

// TestAnswers goes through the table of answers in lakeFS's documentation, and
// through what is in front of lakeFS.
func TestAnswers(t *testing.T) {
	const html = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
	answer := func(status int, body string) lakefstest.Fault { return lakefstest.Fault{Status: status, Body: body} }
	message := func(status int, text string) lakefstest.Fault { return answer(status, lakefstest.Message(text)) }
	for _, tc := range []struct {
		name  string
		fault lakefstest.Fault
		kind  lakefs.Kind
		text  string // of the error, behind the status
	}{
		{"unknown import", message(404, "not found"), lakefs.NotFound, "not found"},
		{"repository is being deleted", message(410, "repository in deletion"), lakefs.NotFound, "repository in deletion"},
		{"wrong keys", message(401, "error authenticating request"), lakefs.Unauthorized, "error authenticating request"},
		{"insufficient permissions", message(401, "insufficient permissions: not allowed to fs:ReadBranch"), lakefs.Unauthorized, "insufficient permissions"},
		{"rate limited", message(429, "Too many attempts, try again later"), lakefs.RateLimited, "Too many attempts, try again later"},
		{"store throttles", message(503, "Throughput exceeded. Slow down and retry"), lakefs.ServerError, "Throughput exceeded. Slow down and retry"},
		{"another 4xx of lakeFS", message(400, "x"), lakefs.BadRequest, "unrecognized message (1 bytes)"},
		{"403 of a gateway", message(403, "Forbidden"), lakefs.Unauthorized, "unrecognized message (9 bytes)"},
		{"502 of a proxy", answer(502, html), lakefs.ServerError, ""},
		{"invalid API endpoint", message(404, "invalid API endpoint"), lakefs.BadResponse, "not an answer of lakeFS: application/json, 35 bytes (is endpoint_url right?)"},
		{"404 with HTML", answer(404, html), lakefs.BadResponse, "not an answer of lakeFS: text/html, 74 bytes (is endpoint_url right?)"},
		{"404 of a gateway", message(404, "Resource not found"), lakefs.BadResponse, "not an answer of lakeFS: application/json, 33 bytes (is endpoint_url right?)"},
		{"404 of a gateway, with more", answer(404, `{"statusCode":404,"message":"not found"}`), lakefs.BadResponse, "not an answer of lakeFS: application/json, 40 bytes (is endpoint_url right?)"},
		{"200 with HTML", answer(200, html), lakefs.BadResponse, "not the JSON of lakeFS: not an object: text/html, 74 bytes (is endpoint_url right?)"},
		{"over 1 MiB", lakefstest.Fault{Status: 200, Padding: 1 << 40}, lakefs.BadResponse, "body is over 1 MiB: text/plain, 1048577 bytes (is endpoint_url right?)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, client, ref := setup(t)
			server.Inject(lakefstest.Everything, tc.fault)
			status, err := client.ImportStatus(t.Context(), ref)
			if status != nil {
				t.Errorf("got status %+v", status)
			}
			e := wantError(t, err, tc.kind)
			fromLakeFS := strings.HasPrefix(tc.fault.Body, `{"message":`) && tc.fault.Status < 500 && tc.name != "404 of a gateway"
			if e.StatusCode != tc.fault.Status || e.FromLakeFS() != fromLakeFS {
				t.Errorf("got %d, %q, from lakeFS %t", e.StatusCode, e.Message, e.FromLakeFS())
			}
			if _, text, _ := strings.Cut(strings.TrimPrefix(e.Error(), "HTTP status "), ": "); text != tc.text {
				t.Errorf("got  %s\nwant %s", text, tc.text)
			}
			if !e.Date.Equal(start.Truncate(time.Second)) || e.RetryAfter != 0 {
				t.Errorf("got date %s, RetryAfter %s", e.Date, e.RetryAfter)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	const want = "[not_found unauthorized bad_request rate_limited server_error bad_response timeout connection credentials]"
	if got := fmt.Sprint(lakefs.Kinds()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBrokenConnections(t *testing.T) {
	for broken, kind := range map[lakefstest.Break]lakefs.Kind{
		lakefstest.Cut: lakefs.Connection, lakefstest.Reset: lakefs.Connection, lakefstest.Truncate: lakefs.BadResponse,
	} {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, lakefstest.Fault{Break: broken})
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, kind)
	}
	server, client, ref := setup(t)
	_, err := newClient(t, strings.Replace(server.URL, "http", "https", 1)).ImportStatus(t.Context(), ref)
	if e := wantError(t, err, lakefs.Connection); e.Error() != "server does not speak TLS (is endpoint_url right?)" {
		t.Errorf("got %v", e)
	}
	server.Close()
	_, err = client.ImportStatus(t.Context(), ref)
	if wantError(t, err, lakefs.Connection); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

func TestRequest(t *testing.T) {
	hostile := lakefs.Ref{Repository: "a/b?c#d", Branch: "e f%2F", ID: "x&y=z/../#"}
	for _, tc := range []struct {
		prefix string
		ref    lakefs.Ref
		want   string
	}{
		{"", someRef, "/api/v1/repositories/my-repo/branches/main/import?id=dc1chj1ksduerdki88b0"},
		{"/a%2Fb/lakefs/api/v1/", someRef, "/a%2Fb/lakefs/api/v1/repositories/my-repo/branches/main/import?id=dc1chj1ksduerdki88b0"},
		{"", hostile, "/api/v1/repositories/a%2Fb%3Fc%23d/branches/e%20f%252F/import?id=x%26y%3Dz%2F..%2F%23"},
	} {
		var got string
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = fmt.Sprint(r.Method, " ", r.RequestURI, r.Header["User-Agent"], r.Header["Accept"], r.Header["Accept-Encoding"], r.Header["X-Scope"])
		}))
		client := newClient(t, server.URL+tc.prefix, func(c *config.HTTPClientConfig) {
			c.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{
				"x-scope": {Values: []string{"a", "b"}, Secrets: []config.Secret{"c"}},
			}}
		})
		_, err := client.ImportStatus(t.Context(), tc.ref)
		wantError(t, err, lakefs.BadResponse)
		server.Close()
		if want := "GET " + tc.want + "[" + userAgent + "] [application/json] [] [a b c]"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	server, client, _ := setup(t, func(c *config.HTTPClientConfig) { c.BasicAuth.Password = "wrong" })
	if date, err := client.Healthcheck(t.Context()); err != nil || !date.Equal(start.Truncate(time.Second)) {
		t.Errorf("got %s, %v", date, err)
	}
	server.Inject(lakefstest.Healthchecks, lakefstest.Fault{Status: 200, Body: "{}"})
	_, err := client.Healthcheck(t.Context())
	wantError(t, err, lakefs.BadResponse)
}

func TestLastImport(t *testing.T) {
	server, clock := newServer(t, lakefstest.Options{})
	client := newClient(t, server.URL)
	server.AddRepository("empty")
	server.Start("my-repo", "main", lakefstest.Script{})
	clock.Advance(time.Minute)
	for _, tc := range []struct {
		repository, body string
		want             time.Time
		kind             lakefs.Kind
	}{
		{repository: "my-repo", want: start.Truncate(time.Second)},
		{repository: "empty"},
		{repository: "nosuch", kind: lakefs.NotFound},
		{repository: "my-repo", body: `{".lakefs.last.import.timestamp": "yesterday"}`, kind: lakefs.BadResponse},
		{repository: "my-repo", body: `{".lakefs.last.import.timestamp": "0"}`, kind: lakefs.BadResponse},
		{repository: "my-repo", body: `{".lakefs.last.import.timestamp": 1795344655}`, kind: lakefs.BadResponse},
		{repository: "my-repo", body: "null", kind: lakefs.BadResponse},
	} {
		t.Run(tc.repository+tc.body, func(t *testing.T) {
			if tc.body != "" {
				defer server.Inject(lakefstest.Everything, lakefstest.Fault{Body: tc.body})()
			}
			got, err := client.LastImport(t.Context(), tc.repository)
			if tc.kind != "" {
				wantError(t, err, tc.kind)
			} else if err != nil || !got.At.Equal(tc.want) || !got.Date.Equal(clock.Now().Truncate(time.Second)) {
				t.Errorf("got %+v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestConnectionsAreReused(t *testing.T) {
	const concurrent, rounds = 32, 4
	server, client, ref := setup(t)
	for round := range rounds {
		hold, arrived := make(chan struct{}), make(chan struct{}, concurrent)
		fault := lakefstest.Fault{Hold: hold}
		if round%2 == 1 {
			fault.Status, fault.Padding = 502, 100_000
		}
		remove := server.Inject(func(*http.Request) bool {
			arrived <- struct{}{}
			return true
		}, fault)
		var polls sync.WaitGroup
		for range concurrent {
			polls.Go(func() { _, _ = client.ImportStatus(t.Context(), ref) })
		}
		for range concurrent {
			<-arrived
		}
		close(hold)
		polls.Wait()
		remove()
	}
	if stats := server.Stats(); stats.Connections > concurrent || stats.StatusRequests != concurrent*rounds {
		t.Errorf("%d connections for %d requests", stats.Connections, stats.StatusRequests)
	}
}

func TestRetryAfter(t *testing.T) {
	date := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	server, client, ref := setup(t)
	for value, want := range map[string]time.Duration{
		"":                     0,
		"120":                  2 * time.Minute,
		"0":                    time.Second,
		"soon":                 0,
		"99999999999999999999": 0,
		date(90 * time.Second): 90 * time.Second, // by the server's clock
		date(-time.Hour):       time.Second,
	} {
		remove := server.Inject(lakefstest.Everything, lakefstest.Fault{Status: 429, Header: http.Header{"Retry-After": {value}}})
		_, err := client.ImportStatus(t.Context(), ref)
		if got := wantError(t, err, lakefs.RateLimited).RetryAfter; got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
		remove()
	}
}

func TestContext(t *testing.T) {
	for place, begun := range map[string]string{"before the answer": "", "within the body": `{"completed":`} {
		t.Run(place, func(t *testing.T) {
			begin := make(chan struct{}, 2)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if begun != "" {
					_, _ = w.Write([]byte(begun))
					_ = http.NewResponseController(w).Flush()
				}
				begin <- struct{}{}
				<-r.Context().Done()
			}))
			defer server.Close()
			client := newClient(t, server.URL)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-begin; cancel() }()
			_, err := client.ImportStatus(ctx, someRef)
			if e := (*lakefs.Error)(nil); errors.As(err, &e) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %T %v, want context.Canceled", err, err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err = client.ImportStatus(ctx, someRef)
			wantError(t, err, lakefs.Timeout)
		})
	}
}

// rawServer answers a request with these bytes, and tells when the client has
// closed the connection.
func rawServer(t *testing.T, answer string) (url string, closed <-chan struct{}) {
	t.Helper()
	ended := make(chan struct{}, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, conn)
		ended <- struct{}{}
	}))
	t.Cleanup(server.Close)
	return server.URL, ended
}
