package lakefs_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

const userAgent = "lakefs_import_exporter/test"

// start is what the clock of every lakeFS here shows at first.
var start = time.Date(2026, 11, 22, 10, 50, 49, 297_120_488, time.UTC)

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
func newClient(t *testing.T, endpoint string, change ...func(*config.HTTPClientConfig)) *lakefs.Client {
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
	ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 100, Rate: 50, CommitMessage: "Import a/"})

	clock.Advance(time.Second)
	status := wantStatus(t, client, ref)
	if status.Outcome() != lakefs.Running || status.Outcome().Finished() || status.Completed {
		t.Errorf("not running: %+v", status)
	}
	if *status.IngestedObjects != 50 || !status.UpdateTime.Equal(start.Add(time.Second)) {
		t.Errorf("got %d objects at %s", *status.IngestedObjects, status.UpdateTime)
	}
	if status.MetarangeID != "" || status.Commit != nil || status.Error != nil {
		t.Errorf("has an end: %+v", status)
	}

	clock.Advance(time.Minute)
	status = wantStatus(t, client, ref)
	if status.Outcome() != lakefs.Succeeded || !status.Outcome().Finished() || !status.Completed {
		t.Errorf("did not succeed: %+v", status)
	}
	c := status.Commit
	if c == nil || c.Message != "Import a/" || c.Committer != "admin" || c.CreationDate != start.Add(2*time.Second).Unix() ||
		len(c.ID) != 64 || len(c.Parents) != 1 || c.Generation == 0 || c.Version != 1 || c.Metadata[".lakefs.merge.strategy"] != "source-wins" {
		t.Errorf("got commit %+v", c)
	}
	if status.MetarangeID == "" || status.MetarangeID != c.MetarangeID {
		t.Errorf("metarange is %q, that of the commit %q", status.MetarangeID, c.MetarangeID)
	}

	ref.Branch = "nosuch"
	if got := wantStatus(t, client, ref); got.Outcome() != lakefs.Succeeded {
		t.Errorf("on a branch that is not there: %+v", got)
	}
}

// TestAnswers goes through the table of answers in lakeFS's documentation, and
// through what stands in front of lakeFS.
func TestAnswers(t *testing.T) {
	const html = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
	message := lakefstest.Message
	for _, tc := range []struct {
		name        string
		ref         lakefs.Ref       // the running import if empty
		fault       lakefstest.Fault // none if zero
		credentials bool             // wrong ones
		prefix      string           // of the path
		kind        lakefs.Kind
		status      int
		message     string
		fromLakeFS  bool
		text        string // of the error
	}{
		{
			name: "empty ID", ref: lakefs.Ref{Repository: "my-repo", Branch: "main"},
			kind: lakefs.BadRequest, status: 400, message: `parameter "id" in query has an error: empty value is not allowed`, fromLakeFS: true,
			text: `HTTP status 400: parameter "id" in query has an error: empty value is not allowed`,
		},
		{
			name: "wrong keys", credentials: true,
			kind: lakefs.Unauthorized, status: 401, message: "error authenticating request", fromLakeFS: true,
			text: "HTTP status 401: error authenticating request",
		},
		{
			name: "insufficient permissions", fault: lakefstest.Fault{Status: 401, Body: message("insufficient permissions: not allowed to fs:ReadBranch")},
			kind: lakefs.Unauthorized, status: 401, message: "insufficient permissions: not allowed to fs:ReadBranch", fromLakeFS: true,
			text: "HTTP status 401: insufficient permissions: not allowed to fs:ReadBranch",
		},
		{
			name: "401 of a proxy", fault: lakefstest.Fault{Status: 401, Body: html},
			kind: lakefs.Unauthorized, status: 401, text: "HTTP status 401",
		},
		{
			name: "403 of a proxy", fault: lakefstest.Fault{Status: 403, Body: html},
			kind: lakefs.Unauthorized, status: 403, text: "HTTP status 403",
		},
		{
			name: "unknown import", ref: lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "nosuch"},
			kind: lakefs.NotFound, status: 404, message: "not found", fromLakeFS: true, text: "HTTP status 404: not found",
		},
		{
			name: "unknown repository", ref: lakefs.Ref{Repository: "nosuch", Branch: "main", ID: "x"},
			kind: lakefs.NotFound, status: 404, message: "repository not found", fromLakeFS: true, text: "HTTP status 404: repository not found",
		},
		{
			name: "invalid API endpoint", fault: lakefstest.Fault{Status: 404, Body: message("invalid API endpoint")},
			kind: lakefs.BadResponse, status: 404, message: "invalid API endpoint", fromLakeFS: true,
			text: "HTTP status 404: invalid API endpoint (is endpoint_url right?)",
		},
		{
			name: "404 with HTML", fault: lakefstest.Fault{Status: 404, Body: html},
			kind: lakefs.BadResponse, status: 404, text: `HTTP status 404: not an answer of lakeFS; body begins "<html><head><title>502 Bad Gateway</title>`,
		},
		{
			name: "404 without a body", fault: lakefstest.Fault{Status: 404},
			kind: lakefs.BadResponse, status: 404, text: `HTTP status 404: not an answer of lakeFS; body begins ""`,
		},
		{
			name: "404 of a gateway", fault: lakefstest.Fault{Status: 404, Body: message("no Route matched with those values")},
			kind: lakefs.BadResponse, status: 404, text: `HTTP status 404: not an answer of lakeFS; body begins "{\"message\":\"no Route matched with those values\"}`,
		},
		{
			name: "404 with JSON of something else", fault: lakefstest.Fault{Status: 404, Body: `{"error":"not found"}`},
			kind: lakefs.BadResponse, status: 404, text: `HTTP status 404: not an answer of lakeFS; body begins "{\"error\":\"not found\"}"`,
		},
		{
			name: "wrong base URL, where lakeFS has its web interface", prefix: "/lakefs",
			kind: lakefs.BadResponse, status: 200, text: "HTTP status 200: not the JSON of lakeFS: invalid character '<' looking for beginning of value; body begins \"<!doctype html>",
		},
		{
			name: "repository is being deleted", fault: lakefstest.Fault{Status: 410, Body: message("repository in deletion")},
			kind: lakefs.NotFound, status: 410, message: "repository in deletion", fromLakeFS: true, text: "HTTP status 410: repository in deletion",
		},
		{
			name: "rate limited", fault: lakefstest.Fault{Status: 429, Body: message("Too many attempts, try again later")},
			kind: lakefs.RateLimited, status: 429, message: "Too many attempts, try again later", fromLakeFS: true, text: "HTTP status 429: Too many attempts, try again later",
		},
		{
			name: "store throttles", fault: lakefstest.Fault{Status: 503, Body: message("Throughput exceeded. Slow down and retry")},
			kind: lakefs.ServerError, status: 503, message: "Throughput exceeded. Slow down and retry", text: "HTTP status 503: Throughput exceeded. Slow down and retry",
		},
		{
			name: "500", fault: lakefstest.Fault{Status: 500, Body: message("import error")},
			kind: lakefs.ServerError, status: 500, message: "import error", text: "HTTP status 500: import error",
		},
		{
			name: "502 of a proxy", fault: lakefstest.Fault{Status: 502, Body: html},
			kind: lakefs.ServerError, status: 502, text: "HTTP status 502",
		},
		{
			name: "another 4xx", fault: lakefstest.Fault{Status: 418, Body: html},
			kind: lakefs.BadRequest, status: 418, text: "HTTP status 418",
		},
		{
			name: "another 2xx", fault: lakefstest.Fault{Status: 202, Body: message("later")},
			kind: lakefs.BadResponse, status: 202, message: "later", fromLakeFS: true, text: `HTTP status 202: not an answer of lakeFS; body begins "{\"message\":\"later\"}\n"`,
		},
		{
			name: "redirect to nowhere", fault: lakefstest.Fault{Status: 302},
			kind: lakefs.BadResponse, status: 302, text: `HTTP status 302: redirect to nowhere was not followed; body begins ""`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, _, ref := setup(t)
			if tc.ref != (lakefs.Ref{}) {
				ref = tc.ref
			}
			client := newClient(t, server.URL+tc.prefix, func(c *config.HTTPClientConfig) {
				if tc.credentials {
					c.BasicAuth = &config.BasicAuth{Username: "wrong", Password: "wrong"}
				}
			})
			server.Inject(lakefstest.Everything, tc.fault)
			status, err := client.ImportStatus(t.Context(), ref)
			if status != nil {
				t.Errorf("got status %+v", status)
			}
			e := wantError(t, err, tc.kind)
			if e.StatusCode != tc.status || e.Message != tc.message || e.FromLakeFS() != tc.fromLakeFS {
				t.Errorf("got %d, %q, from lakeFS %t; want %d, %q, %t", e.StatusCode, e.Message, e.FromLakeFS(), tc.status, tc.message, tc.fromLakeFS)
			}
			if !strings.HasPrefix(e.Error(), tc.text) {
				t.Errorf("got  %s\nwant %s", e.Error(), tc.text)
			}
			if e.RetryAfter != 0 {
				t.Errorf("got RetryAfter %s", e.RetryAfter)
			}
		})
	}
}

// TestUnusableBodies is about answers of status 200 that are no statuses.
func TestUnusableBodies(t *testing.T) {
	const good = `{"completed":false,"ingested_objects":5,"update_time":"2026-11-22T10:50:49Z"}`
	for _, tc := range []struct {
		name  string
		fault lakefstest.Fault
		want  string // in the error
	}{
		{"empty", lakefstest.Fault{Status: 200}, "unexpected end of JSON input"},
		{"HTML", lakefstest.Fault{Body: "<html>Sign in</html>"}, "<html>Sign in</html>"},
		{"null", lakefstest.Fault{Body: "null"}, "update_time is missing"},
		{"array", lakefstest.Fault{Body: "[]"}, "is a JSON array"},
		{"string", lakefstest.Fault{Body: `"x"`}, "is a JSON string"},
		{"message only", lakefstest.Fault{Body: lakefstest.Message("ok")}, "update_time is missing"},
		{"truncated JSON", lakefstest.Fault{Body: good[:40]}, `{\"completed\":false,\"ingested_objects\":5,`},
		{"two values", lakefstest.Fault{Body: good + good}, "after top-level value"},
		{"no update_time", lakefstest.Fault{Body: `{"completed":false,"ingested_objects":5}`}, "update_time is missing"},
		{"update_time null", lakefstest.Fault{Body: `{"completed":false,"update_time":null}`}, "update_time is missing"},
		{"update_time not a time", lakefstest.Fault{Body: `{"completed":false,"update_time":"yesterday"}`}, "yesterday"},
		{"update_time a number", lakefstest.Fault{Body: `{"completed":false,"update_time":1795344649}`}, "1795344649"},
		{"update_time before year 0", lakefstest.Fault{Body: `{"completed":false,"update_time":"0000-01-01T00:00:00+01:00"}`}, "update_time is out of range: year -1"},
		{"update_time after year 9999", lakefstest.Fault{Body: `{"completed":false,"update_time":"9999-12-31T23:59:59-01:00"}`}, "update_time is out of range: year 10000"},
		{"no completed", lakefstest.Fault{Body: `{"ingested_objects":5,"update_time":"2026-11-22T10:50:49Z"}`}, "completed is missing"},
		{"completed a string", lakefstest.Fault{Body: strings.Replace(good, "false", `"false"`, 1)}, "completed"},
		{"count a string", lakefstest.Fault{Body: strings.Replace(good, ":5", `:"5"`, 1)}, "ingested_objects"},
		{"count a fraction", lakefstest.Fault{Body: strings.Replace(good, ":5", ":5.5", 1)}, "ingested_objects"},
		{"count over 64 bits", lakefstest.Fault{Body: strings.Replace(good, ":5", ":99999999999999999999", 1)}, "ingested_objects"},
		{"count below zero", lakefstest.Fault{Body: strings.Replace(good, ":5", ":-5", 1)}, "ingested_objects is negative: -5"},
		{"error a string", lakefstest.Fault{Body: strings.Replace(good, "{", `{"error":"x",`, 1)}, "error"},
		{"commit a string", lakefstest.Fault{Body: strings.Replace(good, "{", `{"commit":"x",`, 1)}, "commit"},
		{"over 1 MiB", lakefstest.Fault{Padding: 1 << 20}, "body is over 1 MiB"},
		{"over 1 MiB by far", lakefstest.Fault{Padding: 1 << 40}, "body is over 1 MiB"},
		{"whole, but shorter than promised", lakefstest.Fault{Break: lakefstest.Truncate}, "body is cut short"},
		{"gzip that nobody asked for", lakefstest.Fault{Body: "\x1f\x8b\x08", Header: http.Header{"Content-Encoding": {"gzip"}}}, `\x1f\x8b\b`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, client, ref := setup(t)
			server.Inject(lakefstest.Everything, tc.fault)
			status, err := client.ImportStatus(t.Context(), ref)
			if status != nil {
				t.Errorf("got status %+v", status)
			}
			e := wantError(t, err, lakefs.BadResponse)
			if e.StatusCode != http.StatusOK || !strings.Contains(e.Error(), tc.want) {
				t.Errorf("got %d, %q, want %q in it", e.StatusCode, e.Error(), tc.want)
			}
			begin := tc.fault.Body
			if begin == "" && tc.fault.Status == 0 {
				begin = `{"completed":false,"ingested_objects":0,`
			}
			if quoted := fmt.Sprintf("body begins %q", begin[:min(len(begin), 20)]); !strings.Contains(e.Error(), strings.TrimSuffix(quoted, `"`)) {
				t.Errorf("got %q, want %s in it", e.Error(), quoted)
			}
			if len(e.Error()) > 600 {
				t.Errorf("the error is %d bytes long: %s", len(e.Error()), e.Error())
			}
		})
	}

	t.Run("just 1 MiB", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, lakefstest.Fault{Body: good, Padding: 1<<20 - int64(len(good))})
		if got := wantStatus(t, client, ref); *got.IngestedObjects != 5 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestUpdateTime(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  time.Time
	}{
		{"2026-11-22T10:50:49.297120488Z", start},
		{"2026-11-22T10:50:49Z", start.Truncate(time.Second)},
		{"2026-11-22T12:50:49.297120488+02:00", start},
		{"2026-11-22T11:50:49.297120488Z", start.Add(time.Hour)}, // an hour ahead of the clock
		{"0001-01-01T00:00:00Z", time.Time{}},
		{"0000-01-01T00:00:00Z", time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"9999-12-31T23:59:59Z", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, lakefstest.Fault{Body: `{"completed":false,"update_time":"` + tc.value + `"}`})
		status := wantStatus(t, client, ref)
		if !status.UpdateTime.Equal(tc.want) || status.UpdateTime.Location() != time.UTC {
			t.Errorf("%s: got %s", tc.value, status.UpdateTime)
		}
		if status.IngestedObjects != nil {
			t.Errorf("%s: got %d objects where there are none", tc.value, *status.IngestedObjects)
		}
	}
}

func TestConnectionFailures(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Close()
		_, err := client.ImportStatus(t.Context(), ref)
		e := wantError(t, err, lakefs.Connection)
		if !errors.Is(err, syscall.ECONNREFUSED) || e.StatusCode != 0 || e.Message != "" || e.FromLakeFS() {
			t.Errorf("got %+v", e)
		}
		if strings.Contains(e.Error(), ref.ID) {
			t.Errorf("repeats the URL: %s", e)
		}
	})
	for name, fault := range map[string]lakefstest.Fault{
		"cut":               {Break: lakefstest.Cut},
		"reset in the body": {Break: lakefstest.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			server, client, ref := setup(t)
			defer server.Inject(lakefstest.Everything, fault)()
			_, err := client.ImportStatus(t.Context(), ref)
			if e := wantError(t, err, lakefs.Connection); e.StatusCode != 0 || e.FromLakeFS() {
				t.Errorf("got %+v", e)
			}
			if fault.Break == lakefstest.Cut { // a 204 has no body to be reset in
				wantError(t, client.Healthcheck(t.Context()), lakefs.Connection)
			}
		})
	}
	t.Run("not HTTP", func(t *testing.T) {
		server, _, ref := setup(t)
		client := newClient(t, strings.Replace(server.URL, "http:", "https:", 1))
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, lakefs.Connection)
	})
}

// A header has an end, or its connection has.
func TestHeaderSize(t *testing.T) {
	server, client, ref := setup(t)
	remove := server.Inject(lakefstest.Everything, lakefstest.Fault{Header: http.Header{"X-Filler": {strings.Repeat("x", 1<<20)}}})
	wantStatus(t, client, ref)
	remove()
	proxy, err := lakefstest.NewProxy(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	client = newClient(t, "http://"+proxy.Addr)
	for _, trouble := range []lakefstest.Trouble{lakefstest.EndlessHeader, lakefstest.Forward, lakefstest.EndlessHeader} {
		if err := proxy.Set(trouble); err != nil {
			t.Fatal(err)
		}
		if trouble == lakefstest.Forward {
			wantStatus(t, client, ref)
			continue
		}
		_, err := client.ImportStatus(t.Context(), ref)
		if e := wantError(t, err, lakefs.BadResponse); e.Error() != "answer is over 2 MiB" || e.FromLakeFS() {
			t.Errorf("got %+v", e)
		}
	}
}

// newCertificate returns a certificate for 127.0.0.1, and as PEM what trusts it.
func newCertificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &tls.Config{Certificates: s.TLS.Certificates}, string(ca)
}

func TestTLS(t *testing.T) {
	serverTLS, ca := newCertificate(t)
	server, _ := newServer(t, lakefstest.Options{TLS: serverTLS})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, ca)

	for _, tc := range []struct {
		name   string
		config config.TLSConfig
		want   lakefs.Kind // 0: a status
	}{
		{"trusted", config.TLSConfig{CA: ca}, 0},
		{"trusted by file", config.TLSConfig{CAFile: caFile}, 0},
		{"not verified", config.TLSConfig{InsecureSkipVerify: true}, 0},
		{"unknown authority", config.TLSConfig{}, lakefs.Connection},
		{"wrong name", config.TLSConfig{CA: ca, ServerName: "other.example.org"}, lakefs.Connection},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig = tc.config })
			server.ResetStats()
			_, err := client.ImportStatus(t.Context(), ref)
			if tc.want == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, tc.want)
			var cert *tls.CertificateVerificationError
			if !errors.As(err, &cert) || e.StatusCode != 0 {
				t.Errorf("got %+v", e)
			}
			if got := server.Stats().Requests; got != 0 {
				t.Errorf("%d requests were sent to a server that is not trusted", got)
			}
		})
	}

	t.Run("HTTP where HTTPS is spoken", func(t *testing.T) {
		client := newClient(t, strings.Replace(server.URL, "https:", "http:", 1))
		_, err := client.ImportStatus(t.Context(), ref)
		if e := wantError(t, err, lakefs.BadRequest); e.StatusCode != http.StatusBadRequest || e.FromLakeFS() {
			t.Errorf("got %+v", e)
		}
	})

	t.Run("authority file is gone", func(t *testing.T) {
		client := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig.CAFile = caFile })
		wantStatus(t, client, ref)
		if err := os.Remove(caFile); err != nil {
			t.Fatal(err)
		}
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, lakefs.Credentials)
	})
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSecretFiles(t *testing.T) {
	user, password := filepath.Join(t.TempDir(), "user"), filepath.Join(t.TempDir(), "password")
	writeFile(t, user, "old user\n")
	writeFile(t, password, "old secret\n")
	server, client, ref := setup(t, func(c *config.HTTPClientConfig) {
		c.BasicAuth = &config.BasicAuth{UsernameFile: user, PasswordFile: password}
	})
	sent := func() (string, string) {
		t.Helper()
		u, p, ok := (&http.Request{Header: server.Stats().LastHeader}).BasicAuth()
		if !ok {
			t.Fatal("nothing was sent")
		}
		return u, p
	}

	_, err := client.ImportStatus(t.Context(), ref)
	wantError(t, err, lakefs.Unauthorized)
	if u, p := sent(); u != "old user" || p != "old secret" {
		t.Errorf("sent %q, %q", u, p)
	}

	// Key ID and secret rotate together.
	writeFile(t, user, lakefstest.AccessKeyID)
	writeFile(t, password, lakefstest.SecretAccessKey)
	wantStatus(t, client, ref)
	if u, p := sent(); u != lakefstest.AccessKeyID || p != lakefstest.SecretAccessKey {
		t.Errorf("sent %q, %q", u, p)
	}

	for _, name := range []string{user, password} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		server.ResetStats()
		_, err = client.ImportStatus(t.Context(), ref)
		e := wantError(t, err, lakefs.Credentials)
		if !errors.Is(err, os.ErrNotExist) || e.StatusCode != 0 || e.FromLakeFS() || !strings.Contains(e.Error(), name) {
			t.Errorf("got %+v", e)
		}
		wantError(t, client.Healthcheck(t.Context()), lakefs.Credentials)
		if got := server.Stats().Requests; got != 0 {
			t.Errorf("%d requests were sent", got)
		}
		writeFile(t, name, string(content))
		wantStatus(t, client, ref)
	}
}

func TestToken(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	client := newClient(t, server.URL, func(c *config.HTTPClientConfig) {
		c.BasicAuth = nil
		c.Authorization = &config.Authorization{Type: "Bearer", Credentials: "a.b.c"}
	})
	wantStatus(t, client, ref)
}

// tokenServer hands out the token a.b.c, after wait has returned. It counts how
// often.
func tokenServer(t *testing.T, wait func()) (url string, tokens *atomic.Int32) {
	t.Helper()
	tokens = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tokens.Add(1)
		wait()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"a.b.c","token_type":"bearer"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, tokens
}

// withOAuth2 has a client use auth, and nothing else.
func withOAuth2(auth config.OAuth2) func(*config.HTTPClientConfig) {
	return func(c *config.HTTPClientConfig) { c.BasicAuth, c.OAuth2 = nil, &auth }
}

// A secret that could not be read at first does not make the others race.
func TestOAuth2WithoutSecretAtFirst(t *testing.T) {
	const requests = 32
	lakeFS, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	ref := lakeFS.Start("my-repo", "main", lakefstest.Script{})
	token, tokens := tokenServer(t, func() {})
	file := filepath.Join(t.TempDir(), "secret")
	client := newClient(t, lakeFS.URL, withOAuth2(config.OAuth2{ClientID: "id", ClientSecretFile: file, TokenURL: token}))
	for range 2 {
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, lakefs.Credentials)
	}
	writeFile(t, file, "secret")
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			if _, err := client.ImportStatus(t.Context(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := tokens.Load(); got != 1 {
		t.Errorf("asked for %d tokens", got)
	}
}

// However many requests are the first, one token is asked for.
func TestOAuth2AtOnce(t *testing.T) {
	const clients, requests = 20, 32
	lakeFS, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
	ref := lakeFS.Start("my-repo", "main", lakefstest.Script{})
	var begun sync.WaitGroup
	token, tokens := tokenServer(t, begun.Wait)
	for range clients { // It takes some luck for requests to be at once.
		client := newClient(t, lakeFS.URL, withOAuth2(config.OAuth2{ClientID: "id", ClientSecret: "secret", TokenURL: token}))
		begun.Add(requests)
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				begun.Done()
				if _, err := client.ImportStatus(t.Context(), ref); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	if got := tokens.Load(); got != clients {
		t.Errorf("%d clients asked for %d tokens", clients, got)
	}
}

func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		name   string
		prefix string
		ref    lakefs.Ref
		want   string
	}{
		{"plain", "", lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "dc1chj1ksduerdki88b0"}, "/api/v1/repositories/my-repo/branches/main/import?id=dc1chj1ksduerdki88b0"},
		{"prefix", "/a%2Fb/lakefs/api/v1/", lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "1"}, "/a%2Fb/lakefs/api/v1/repositories/my-repo/branches/main/import?id=1"},
		{"names are escaped", "", lakefs.Ref{Repository: "a/b?c#d", Branch: "e f%2F", ID: "x&y=z/../#"}, "/api/v1/repositories/a%2Fb%3Fc%23d/branches/e%20f%252F/import?id=x%26y%3Dz%2F..%2F%23"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, _, _ := setup(t)
			client := newClient(t, server.URL+tc.prefix)
			var got string
			server.Inject(func(r *http.Request) bool { got = r.Method + " " + r.RequestURI; return true }, lakefstest.Fault{Status: 500})
			_, err := client.ImportStatus(t.Context(), tc.ref)
			wantError(t, err, lakefs.ServerError)
			if want := "GET " + tc.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			header := server.Stats().LastHeader
			for name, want := range map[string]string{"User-Agent": userAgent, "Accept": "application/json"} {
				if got := header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestHealthcheck(t *testing.T) {
	server, client, _ := setup(t)
	if err := client.Healthcheck(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.BasicAuth.Password = "wrong" })
	if err := wrong.Healthcheck(t.Context()); err != nil {
		t.Errorf("with wrong credentials: %v", err)
	}
	if got := server.Stats(); got.Healthchecks != 2 || got.Requests != 2 {
		t.Errorf("got %+v", got)
	}
	wantError(t, newClient(t, server.URL+"/lakefs").Healthcheck(t.Context()), lakefs.BadResponse)

	for _, tc := range []struct {
		fault lakefstest.Fault
		want  lakefs.Kind
	}{
		{lakefstest.Fault{Status: 503}, lakefs.ServerError},
		{lakefstest.Fault{Status: 200, Body: "{}"}, lakefs.BadResponse},
		{lakefstest.Fault{Status: 429}, lakefs.RateLimited},
		{lakefstest.Fault{Status: 404, Body: lakefstest.Message("invalid API endpoint")}, lakefs.BadResponse},
	} {
		remove := server.Inject(lakefstest.Healthchecks, tc.fault)
		wantError(t, client.Healthcheck(t.Context()), tc.want)
		remove()
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Run("at full concurrency", func(t *testing.T) {
		const concurrent, rounds = 32, 10
		server, client, ref := setup(t)
		// A few imports are unknown: their answers must be read to the end too.
		refs := make([]lakefs.Ref, concurrent)
		for i := range refs {
			refs[i] = ref
			if i%4 == 0 {
				refs[i].ID = "nosuch"
			}
		}
		for range rounds {
			hold, arrived := make(chan struct{}), make(chan struct{}, concurrent)
			remove := server.Inject(func(*http.Request) bool {
				arrived <- struct{}{}
				return true
			}, lakefstest.Fault{Hold: hold})
			var polls sync.WaitGroup
			for _, r := range refs {
				polls.Go(func() {
					_, err := client.ImportStatus(t.Context(), r)
					if notFound := r.ID == "nosuch"; (err != nil) != notFound {
						t.Errorf("%s: got %v", r, err)
					}
				})
			}
			for range concurrent {
				<-arrived
			}
			close(hold)
			polls.Wait()
			remove()
		}
		stats := server.Stats()
		if stats.Connections > concurrent || stats.MaxInFlight != concurrent || stats.StatusRequests != concurrent*rounds {
			t.Errorf("%d connections for %d requests, at most %d at once", stats.Connections, stats.StatusRequests, stats.MaxInFlight)
		}
	})

	for name, fault := range map[string]lakefstest.Fault{
		"status":        {},
		"large status":  {Padding: 500_000},
		"error":         {Status: 404, Body: lakefstest.Message("not found")},
		"large error":   {Status: 502, Body: "<html>", Padding: 500_000},
		"unusable":      {Body: "<html>", Padding: 500_000},
		"redirect":      {Status: 302, Header: http.Header{"Location": {"http://192.0.2.1/"}}, Padding: 500_000},
		"without body":  {Status: 500},
		"wrong type":    {Body: "[]"},
		"rate limiting": {Status: 429, Header: http.Header{"Retry-After": {"5"}}, Body: "slow down"},
	} {
		t.Run("after "+name, func(t *testing.T) {
			server, client, ref := setup(t)
			server.Inject(lakefstest.Everything, fault)
			for range 5 {
				_, _ = client.ImportStatus(t.Context(), ref)
				_ = client.Healthcheck(t.Context())
			}
			if got := server.Stats(); got.Connections != 1 || got.Requests != 10 {
				t.Errorf("%d connections for %d requests", got.Connections, got.Requests)
			}
		})
	}

	until := func(t *testing.T, server *lakefstest.Server, client *lakefs.Client, ref lakefs.Ref) {
		for range 2 {
			wantStatus(t, client, ref)
			client.CloseIdleConnections()
		}
		if got := server.Stats().Connections; got != 2 {
			t.Errorf("got %d connections, want 2", got)
		}
	}
	t.Run("until they are closed", func(t *testing.T) {
		server, client, ref := setup(t)
		until(t, server, client, ref)
	})
	t.Run("until they are closed, with OAuth 2", func(t *testing.T) {
		token, _ := tokenServer(t, func() {})
		server, _ := newServer(t, lakefstest.Options{Token: "a.b.c"})
		client := newClient(t, server.URL, withOAuth2(config.OAuth2{ClientID: "id", ClientSecret: "secret", TokenURL: token}))
		until(t, server, client, server.Start("my-repo", "main", lakefstest.Script{}))
	})
}

// Over HTTP/2 all requests share a connection, and large answers do not hurt
// each other.
func TestHTTP2(t *testing.T) {
	const concurrent, requests, padding = 32, 3, 300_000
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("asked by %s", r.Proto)
		}
		_, _ = io.WriteString(w, `{"completed":false,"ingested_objects":5,"update_time":"2026-11-22T10:50:49Z"}`+strings.Repeat(" ", padding))
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	client := newClient(t, server.URL, func(c *config.HTTPClientConfig) { c.TLSConfig.CA = string(ca) })
	ref := lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "dc1chj1ksduerdki88b0"}
	wantStatus(t, client, ref)
	var all sync.WaitGroup
	for range concurrent {
		all.Go(func() {
			for range requests {
				if _, err := client.ImportStatus(t.Context(), ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := connections.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

func TestRedirects(t *testing.T) {
	const good = `{"completed":false,"ingested_objects":5,"update_time":"2026-11-22T10:50:49Z"}`
	redirect := func(to string) lakefstest.Fault {
		return lakefstest.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}}
	}

	t.Run("to another host", func(t *testing.T) {
		for _, auth := range []string{"basic_auth", "authorization", "no"} {
			t.Run("with "+auth, func(t *testing.T) {
				server, client, ref := setup(t, func(c *config.HTTPClientConfig) {
					switch auth {
					case "authorization":
						c.BasicAuth, c.Authorization = nil, &config.Authorization{Type: "Bearer", Credentials: "a.b.c"}
					case "no":
						c.BasicAuth = nil
					}
				})
				other, _ := newServer(t, lakefstest.Options{})
				server.Inject(lakefstest.Everything, redirect(other.URL+"/login?token=hidden"))
				_, err := client.ImportStatus(t.Context(), ref)
				e := wantError(t, err, lakefs.BadResponse)
				if want := "HTTP status 307: redirect to " + other.URL + ` was not followed; body begins ""`; e.Error() != want {
					t.Errorf("got  %s\nwant %s", e, want)
				}
				wantError(t, client.Healthcheck(t.Context()), lakefs.BadResponse)
				if got := other.Stats(); got.Requests != 0 || got.Connections != 0 {
					t.Errorf("the other host saw %d requests, %d connections", got.Requests, got.Connections)
				}
			})
		}
	})

	t.Run("to the same host", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Path("/other"), lakefstest.Fault{Body: good})
		server.Inject(lakefstest.Statuses, redirect("/other"))
		if got := wantStatus(t, client, ref); *got.IngestedObjects != 5 {
			t.Errorf("got %+v", got)
		}
		if got := server.Stats(); got.Requests != 2 || got.LastHeader.Get("Authorization") == "" {
			t.Errorf("got %+v", got)
		}
	})

	t.Run("in a circle", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, redirect("/other"))
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, lakefs.BadResponse)
		if got := server.Stats().Requests; got != 10 {
			t.Errorf("%d requests, want 10", got)
		}
	})

	t.Run("with follow_redirects off", func(t *testing.T) {
		server, client, ref := setup(t, func(c *config.HTTPClientConfig) { c.FollowRedirects = false })
		server.Inject(lakefstest.Statuses, redirect("/other"))
		_, err := client.ImportStatus(t.Context(), ref)
		wantError(t, err, lakefs.BadResponse)
		if got := server.Stats().Requests; got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
	})

	t.Run("to what is no URL", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Statuses, redirect("http://%zz/?token=hidden"))
		_, err := client.ImportStatus(t.Context(), ref)
		if e := wantError(t, err, lakefs.BadResponse); strings.Contains(e.Error(), "hidden") {
			t.Errorf("shows what may be a secret: %s", e)
		}
	})

	// Names and ports without a server behind them are seen by a proxy.
	for _, tc := range []struct {
		endpoint, location string
		want               []string // what the proxy is asked for
	}{
		{"http://example.com", "https://example.com/x", []string{"GET example.com", "CONNECT example.com:443"}},
		{"http://example.com", "https://example.com:443/x", []string{"GET example.com", "CONNECT example.com:443"}},
		{"http://example.com:80", "https://example.com/x", []string{"GET example.com:80", "CONNECT example.com:443"}},
		{"http://example.com", "https://example.com:8443/x", []string{"GET example.com"}},
		{"http://example.com:8000", "https://example.com/x", []string{"GET example.com:8000"}},
		{"http://example.com", "https://www.example.com/x", []string{"GET example.com"}},
		{"http://example.com", "http://example.com.evil.org/x", []string{"GET example.com"}},
		{"http://example.com", "http://example.com:8000/x", []string{"GET example.com"}},
		{"http://example.com", "ftp://example.com/x", []string{"GET example.com"}},
		{"https://example.com", "", []string{"CONNECT example.com:443"}},
	} {
		t.Run(tc.endpoint+" to "+tc.location, func(t *testing.T) {
			var asked []string
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.Host)
				if r.Method == http.MethodConnect {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				w.Header().Set("Location", tc.location)
				w.WriteHeader(http.StatusMovedPermanently)
			}))
			defer proxy.Close()
			client := newClient(t, tc.endpoint, func(c *config.HTTPClientConfig) {
				u, err := url.Parse(proxy.URL)
				if err != nil {
					t.Fatal(err)
				}
				c.ProxyURL = config.URL{URL: u}
			})
			_, err := client.ImportStatus(t.Context(), lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "1"})
			want := lakefs.BadResponse
			if strings.HasPrefix(tc.want[len(tc.want)-1], "CONNECT ") {
				want = lakefs.Connection // the proxy refuses to
			}
			wantError(t, err, want)
			if got := strings.Join(asked, ", "); got != strings.Join(tc.want, ", ") {
				t.Errorf("asked for %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	date := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	for _, tc := range []struct {
		value string
		want  time.Duration
	}{
		{"", 0},
		{"120", 2 * time.Minute},
		{" 7 ", 7 * time.Second},
		{"1", time.Second},
		{"0", time.Second},
		{"-5", time.Second},
		{"86400", 24 * time.Hour},
		{"2147483647", 2147483647 * time.Second},
		{"soon", 0},
		{"1.5", 0},
		{"99999999999999999999", 0},
		{date(90 * time.Second), 90 * time.Second}, // by the server's clock
		{date(0), time.Second},
		{date(-time.Hour), time.Second},
	} {
		t.Run(tc.value, func(t *testing.T) {
			server, client, ref := setup(t)
			fault := lakefstest.Fault{Status: http.StatusTooManyRequests}
			if tc.value != "" {
				fault.Header = http.Header{"Retry-After": {tc.value}}
			}
			server.Inject(lakefstest.Everything, fault)
			_, err := client.ImportStatus(t.Context(), ref)
			if got := wantError(t, err, lakefs.RateLimited).RetryAfter; got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}

	t.Run("date of a server without a clock", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, lakefstest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{
			"Date":        {"now"},
			"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)},
		}})
		_, err := client.ImportStatus(t.Context(), ref)
		if got := wantError(t, err, lakefs.RateLimited).RetryAfter; got < 59*time.Minute || got > time.Hour {
			t.Errorf("got %s, want about an hour", got)
		}
	})
}

// What a request carries to prove itself does not come back in an error or in a
// status, whoever echoes it.
func TestRedaction(t *testing.T) {
	const (
		header = "Basic QUtJQUlPU0ZPTFFVSUNLU1RBUlQ6d0phbHJYVXRuRkVNSS9LN01ERU5HL2JQeFJmaUNZRVhBTVBMRUtFWQ=="
		status = `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49Z",`
	)
	token := func(c *config.HTTPClientConfig) {
		c.BasicAuth, c.Authorization = nil, &config.Authorization{Type: "Bearer", Credentials: "a-secret-token"}
	}
	for _, tc := range []struct {
		name   string
		change func(*config.HTTPClientConfig)
		fault  lakefstest.Fault
		hidden string
	}{
		{"header in HTML", nil, lakefstest.Fault{Body: "<html>Authorization: " + header}, header[6:]},
		{"credentials in HTML", nil, lakefstest.Fault{Body: "<html>" + header[6:]}, header[6:]},
		{"password in HTML", nil, lakefstest.Fault{Body: "<html>" + lakefstest.SecretAccessKey}, lakefstest.SecretAccessKey},
		{"password over the end of what is shown", nil, lakefstest.Fault{Body: strings.Repeat("-", 100) + lakefstest.SecretAccessKey}, lakefstest.SecretAccessKey[:8]},
		{"header in a message", nil, lakefstest.Fault{Status: 401, Body: lakefstest.Message("bad header " + header)}, header[6:]},
		{"password in a message", nil, lakefstest.Fault{Status: 503, Body: lakefstest.Message("bad key " + lakefstest.SecretAccessKey)}, lakefstest.SecretAccessKey},
		{"password in the place of a time", nil, lakefstest.Fault{Body: `{"completed":false,"update_time":"` + lakefstest.SecretAccessKey + `"}`}, lakefstest.SecretAccessKey},
		{"token in HTML", token, lakefstest.Fault{Body: "<html>a-secret-token"}, "a-secret-token"},
		{"token in a message", token, lakefstest.Fault{Status: 400, Body: lakefstest.Message("a-secret-token")}, "a-secret-token"},
		{"own header in a message", func(c *config.HTTPClientConfig) {
			c.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{"X-Key": {Secrets: []config.Secret{"my-own-key"}}}}
		}, lakefstest.Fault{Status: 400, Body: lakefstest.Message("bad X-Key: my-own-key")}, "my-own-key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			change := tc.change
			if change == nil {
				change = func(*config.HTTPClientConfig) {}
			}
			server, client, ref := setup(t, change)
			server.Inject(lakefstest.Everything, tc.fault)
			_, err := client.ImportStatus(t.Context(), ref)
			var e *lakefs.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if shown := fmt.Sprintf("%s %s %v", e, e.Message, e.Err); strings.Contains(shown, tc.hidden) {
				t.Errorf("shows a secret: %s", shown)
			} else if !strings.Contains(shown, "<sec") {
				t.Errorf("does not show that there was one: %s", shown)
			}
		})
	}

	t.Run("in the error of an import", func(t *testing.T) {
		server, client, ref := setup(t)
		server.Inject(lakefstest.Everything, lakefstest.Fault{Body: status + `"error":{"message":"import error: ` + lakefstest.SecretAccessKey + `"}}`})
		if got := wantStatus(t, client, ref); got.Error.Message != "import error: <secret>" {
			t.Errorf("got %q", got.Error.Message)
		}
	})

	// What is sent may be words that JSON is made of.
	t.Run("leaves a status whole", func(t *testing.T) {
		_, client, ref := setup(t, func(c *config.HTTPClientConfig) {
			c.HTTPHeaders = &config.Headers{Headers: map[string]config.Header{
				"X-Debug":  {Values: []string{"false"}},
				"X-Tenant": {Values: []string{"completed"}},
				"X-Year":   {Values: []string{"2026"}},
			}}
		})
		if got := wantStatus(t, client, ref); !got.UpdateTime.Equal(start) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestContext(t *testing.T) {
	why := errors.New("because")
	deadline := func(t *testing.T, cause error) context.Context {
		t.Helper()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, cause)
		t.Cleanup(cancel)
		return ctx
	}
	for _, tc := range []struct {
		name string
		// begin returns a context, and what is done when lakeFS has the request.
		begin func(t *testing.T) (context.Context, func())
		want  lakefs.Kind // 0: context.Canceled
	}{
		{"cancelled", func(t *testing.T) (context.Context, func()) {
			return context.WithCancel(t.Context())
		}, 0},
		{"cancelled for a reason", func(t *testing.T) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			return ctx, func() { cancel(why) }
		}, 0},
		{"cancelled because of a deadline", func(t *testing.T) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			return ctx, func() { cancel(context.DeadlineExceeded) }
		}, lakefs.Timeout},
		{"deadline", func(t *testing.T) (context.Context, func()) {
			return deadline(t, nil), func() {}
		}, lakefs.Timeout},
		{"deadline with a reason", func(t *testing.T) (context.Context, func()) {
			return deadline(t, why), func() {}
		}, lakefs.Timeout},
	} {
		check := func(t *testing.T, ctx context.Context, err error) {
			t.Helper()
			if tc.want != 0 {
				if e := wantError(t, err, tc.want); e.StatusCode != 0 || e.FromLakeFS() || e.Error() == "" {
					t.Errorf("got %+v", e)
				}
				return
			}
			var e *lakefs.Error
			if errors.As(err, &e) || !errors.Is(err, context.Canceled) || !errors.Is(err, context.Cause(ctx)) {
				t.Errorf("got %T %v, want an error that wraps context.Canceled and its cause", err, err)
			}
		}
		t.Run(tc.name+" before the answer", func(t *testing.T) {
			server, client, ref := setup(t)
			ctx, end := tc.begin(t)
			defer end()
			server.Inject(func(*http.Request) bool { end(); return true }, lakefstest.Fault{Break: lakefstest.BlackHole})
			_, err := client.ImportStatus(ctx, ref)
			check(t, ctx, err)
			check(t, ctx, client.Healthcheck(ctx))
		})
		t.Run(tc.name+" within the body", func(t *testing.T) {
			ctx, end := tc.begin(t)
			defer end()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write([]byte(`{"completed":`))
				_ = http.NewResponseController(w).Flush()
				end()
				<-r.Context().Done()
			}))
			defer server.Close()
			_, err := newClient(t, server.URL).ImportStatus(ctx, lakefs.Ref{Repository: "my-repo", Branch: "main", ID: "1"})
			check(t, ctx, err)
		})
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"https://lakefs.example.com", "https://lakefs.example.com"},
		{"https://lakefs.example.com/", "https://lakefs.example.com"},
		{"https://lakefs.example.com//", "https://lakefs.example.com"},
		{"https://lakefs.example.com/api/v1", "https://lakefs.example.com"},
		{"https://lakefs.example.com/api/v1/", "https://lakefs.example.com"},
		{"https://lakefs.example.com//api/v1", "https://lakefs.example.com"},
		{"http://localhost:8000/api/v1", "http://localhost:8000"},
		{"http://127.0.0.1:8000", "http://127.0.0.1:8000"},
		{"http://[::1]:8000/api/v1", "http://[::1]:8000"},
		{"https://example.com/lakefs/api/v1", "https://example.com/lakefs"},
		{"https://example.com/lakefs/", "https://example.com/lakefs"},
		{"https://example.com/a%2Fb", "https://example.com/a%2Fb"},
		{"https://example.com/xapi/v1", "https://example.com/xapi/v1"},
		{"https://example.com/api/v2", "https://example.com/api/v2"},
		{"HTTPS://example.com", "https://example.com"},
	} {
		got, err := lakefs.ParseEndpoint(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		if got.String() != tc.want {
			t.Errorf("%s: got %s, want %s", tc.in, got, tc.want)
		}
		if client := newClient(t, tc.in); client.EndpointURL() != tc.want {
			t.Errorf("%s: EndpointURL is %s, want %s", tc.in, client.EndpointURL(), tc.want)
		}
	}

	const scheme, userinfo = "must begin with http:// or https://", "must not hold credentials: use basic_auth"
	for _, tc := range []struct{ in, want string }{
		{"", scheme},
		{"lakefs.example.com", scheme},
		{"lakefs.example.com:8000", scheme},
		{"ftp://lakefs.example.com", scheme},
		{"http:", "has no host"},
		{"http:lakefs.example.com", "has no host"},
		{"https:///api/v1", "has no host"},
		{"http://:8000", "has no host"},
		{"http://key@example.com", userinfo},
		{"http://key:hidden@example.com", userinfo},
		{"http://example.com?hidden=x", "must not have a query or a fragment"},
		{"http://example.com?", "must not have a query or a fragment"},
		{"http://example.com#hidden", "must not have a query or a fragment"},
		{"http://example.com/%zz", "not a URL"},
		{"http://key:hid/den@example.com", "not a URL"}, // secrets of AWS and lakeFS hold slashes
		{"http://key:%hidden@example.com", "not a URL"},
		{"http://key:hid den@example.com", "not a URL"},
		{"http://exa mple.com", "not a URL"},
		{"http://[::1", "not a URL"},
		{" http://example.com", "not a URL"},
		{"http://example.com\n", "not a URL"},
	} {
		u, err := lakefs.ParseEndpoint(tc.in)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) || u != nil {
			t.Errorf("%q: got %v, %v, want %q", tc.in, u, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), "hi") {
			t.Errorf("%q: the error shows a secret: %v", tc.in, err)
		}
		if _, cerr := lakefs.NewClient(lakefs.ClientConfig{EndpointURL: tc.in}); cerr == nil || cerr.Error() != err.Error() {
			t.Errorf("%q: NewClient: got %v, want %v", tc.in, cerr, err)
		}
	}
}

func TestNewClientErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	_, err := lakefs.NewClient(lakefs.ClientConfig{
		EndpointURL: "https://example.com",
		HTTP:        config.HTTPClientConfig{TLSConfig: config.TLSConfig{CAFile: missing}},
	})
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
}

func TestCommitURL(t *testing.T) {
	for _, tc := range []struct{ endpoint, repository, commit, want string }{
		{"https://example.com", "my-repo", "6ff0", "https://example.com/repositories/my-repo/commits/6ff0"},
		{"https://example.com/lakefs/api/v1/", "my-repo", "6ff0", "https://example.com/lakefs/repositories/my-repo/commits/6ff0"},
		{"https://example.com", "a/b", "c?d#e%f g", "https://example.com/repositories/a%2Fb/commits/c%3Fd%23e%25f%20g"},
	} {
		if got := newClient(t, tc.endpoint).CommitURL(tc.repository, tc.commit); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}
