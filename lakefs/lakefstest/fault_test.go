package lakefstest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestFaults(t *testing.T) {
	const (
		running = `{"completed":false,"ingested_objects":0,"update_time":"2026-11-22T10:50:49.297120488Z"}` + "\n"
		html    = "<html><body>Bad Gateway</body></html>"
	)
	jsonHeader := http.Header{"Content-Type": {"application/json"}}
	for _, tc := range []struct {
		name       string
		fault      lakefstest.Fault
		wantStatus int
		wantBody   string
		wantHeader http.Header
	}{
		{"none", lakefstest.Fault{}, 200, running, jsonHeader},
		{"header", lakefstest.Fault{Header: http.Header{"x-proxy": {"a", "b"}, "Date": {"x"}}}, 200, running, http.Header{"X-Proxy": {"a", "b"}, "Date": {"x"}}},
		{"status", lakefstest.Fault{Status: 502}, 502, "", http.Header{"Content-Type": nil}},
		{"status and body", lakefstest.Fault{Status: 502, Body: html}, 502, html, http.Header{"Content-Type": {"text/html; charset=utf-8"}}},
		{"body", lakefstest.Fault{Body: html}, 200, html, http.Header{"Content-Type": {"text/html; charset=utf-8"}}},
		{"JSON body", lakefstest.Fault{Body: `{"a":1}`}, 200, `{"a":1}`, jsonHeader},
		{"bytes that are no text", lakefstest.Fault{Body: "\xff\x00"}, 200, "\xff\x00", nil},
		{"message", lakefstest.Fault{Status: 401, Body: lakefstest.Message("no <b>")}, 401, `{"message":"no \u003cb\u003e"}` + "\n", jsonHeader},
		{"content type", lakefstest.Fault{Body: `{}`, Header: http.Header{"Content-Type": {"text/plain"}}}, 200, `{}`, http.Header{"Content-Type": {"text/plain"}}},
		{"redirect", lakefstest.Fault{Status: 307, Header: http.Header{"Location": {"http://example.com/"}}}, 307, "", http.Header{"Location": {"http://example.com/"}}},
		{"padding", lakefstest.Fault{Padding: 200_000}, 200, running + strings.Repeat(" ", 200_000), jsonHeader},
		{"padding of a body", lakefstest.Fault{Body: "x", Padding: 3}, 200, "x   ", nil},
		{"delay", lakefstest.Fault{Delay: time.Nanosecond}, 200, running, jsonHeader},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, _ := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 1})
			remove := server.Inject(lakefstest.Everything, tc.fault)
			req := newRequest(t, server, "GET "+importPath(ref), "")
			status, header, body := send(t, req)
			if status != tc.wantStatus || body != tc.wantBody {
				t.Errorf("got %d %.200q, want %d %.200q", status, body, tc.wantStatus, tc.wantBody)
			}
			for name, want := range tc.wantHeader {
				if got := header[http.CanonicalHeaderKey(name)]; !reflect.DeepEqual(got, want) {
					t.Errorf("header %s: got %q, want %q", name, got, want)
				}
			}
			remove()
			if got := statusOf(t, server, ref); got != running {
				t.Errorf("after remove: got %s", got)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	const delay = 20 * time.Millisecond
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	server.Inject(lakefstest.Everything, lakefstest.Fault{Delay: delay})
	begin := time.Now()
	statusOf(t, server, ref)
	if took := time.Since(begin); took < delay {
		t.Errorf("answered after %s", took)
	}
}

func TestMatches(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	a := server.Start("my-repo", "main", lakefstest.Script{})
	b := server.Start("my-repo", "main", lakefstest.Script{})
	targets := map[string]string{
		"a":               "GET " + importPath(a),
		"a on a branch":   "GET " + strings.Replace(importPath(a), "/main/", "/other/", 1),
		"cancel of a":     "DELETE " + strings.Replace(importPath(a), a.ID, "nosuch", 1),
		"a elsewhere":     "GET " + strings.Replace(importPath(a), "/my-repo/", "/other/", 1),
		"b":               "GET " + importPath(b),
		"health":          "GET /api/v1/healthcheck",
		"metadata":        "GET /api/v1/repositories/my-repo/metadata",
		"unknown":         "GET /api/v1/nosuch",
		"page":            "GET /",
		"page with query": "GET /?a=b",
	}
	for _, tc := range []struct {
		name  string
		match lakefstest.Match
		want  []string
	}{
		{"Everything", lakefstest.Everything, []string{"a", "a on a branch", "cancel of a", "a elsewhere", "b", "health", "metadata", "unknown", "page", "page with query"}},
		{"Statuses", lakefstest.Statuses, []string{"a", "a on a branch", "a elsewhere", "b"}},
		{"Healthchecks", lakefstest.Healthchecks, []string{"health"}},
		{"StatusOf", lakefstest.StatusOf(a), []string{"a", "a on a branch"}},
		{"Path", lakefstest.Path("/"), []string{"page", "page with query"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer server.Inject(tc.match, lakefstest.Fault{Status: 599})()
			want := map[string]bool{}
			for _, name := range tc.want {
				want[name] = true
			}
			for name, target := range targets {
				status, _ := do(t, server, target, "")
				if got := status == 599; got != want[name] {
					t.Errorf("%s: matched %t, want %t", name, got, want[name])
				}
			}
		})
	}
}

func TestTheNewestFaultHappens(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	check := func(want int) {
		t.Helper()
		if got, _ := do(t, server, "GET "+importPath(ref), ""); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	header := http.Header{"X-Proxy": {"a"}}
	removeOld := server.Inject(lakefstest.Everything, lakefstest.Fault{Status: 501, Header: header})
	header["X-Proxy"][0] = "changed"
	if _, got, _ := send(t, newRequest(t, server, "GET /", "")); got.Get("X-Proxy") != "a" {
		t.Errorf("the header is shared: %s", got)
	}
	removeNew := server.Inject(lakefstest.StatusOf(ref), lakefstest.Fault{Status: 502})
	check(502)
	removeNew()
	removeNew()
	check(501)
	removeOld()
	check(200)
}

// newCertificate returns a certificate for 127.0.0.1 and what trusts it.
func newCertificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, pool
}

func TestBreaks(t *testing.T) {
	serverTLS, pool := newCertificate(t)
	for _, tc := range []struct {
		name  string
		fault lakefstest.Fault
		// answered is whether there is a status, and how much of the body.
		answered int
		want     func(error) bool
	}{
		{"cut", lakefstest.Fault{Break: lakefstest.Cut, Status: 200, Body: "abc"}, 0, is(io.EOF)},
		{"truncated", lakefstest.Fault{Break: lakefstest.Truncate, Body: "abc"}, 3, is(io.ErrUnexpectedEOF)},
		{"truncated without a body", lakefstest.Fault{Break: lakefstest.Truncate, Status: 500}, 0, is(io.ErrUnexpectedEOF)},
		{"truncated and padded", lakefstest.Fault{Break: lakefstest.Truncate, Body: "abc", Padding: 100_000}, 100_003, is(io.ErrUnexpectedEOF)},
		{"reset", lakefstest.Fault{Break: lakefstest.Reset, Body: "abc"}, 3, is(syscall.ECONNRESET)},
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(tc.name+" "+scheme, func(t *testing.T) {
				opts := lakefstest.Options{}
				if scheme == "https" {
					opts.TLS = serverTLS
				}
				server, _ := newServer(t, opts)
				if !strings.HasPrefix(server.URL, scheme+"://") {
					t.Errorf("URL is %s", server.URL)
				}
				server.Inject(lakefstest.Everything, tc.fault)
				transport := newTransport(t)
				transport.TLSClientConfig = &tls.Config{RootCAs: pool}
				body := []byte{}
				resp, err := transport.RoundTrip(newRequest(t, server, "GET /", ""))
				if err == nil {
					defer resp.Body.Close()
					if resp.ContentLength != int64(tc.answered+1) {
						t.Errorf("Content-Length is %d, want %d", resp.ContentLength, tc.answered+1)
					}
					body, err = io.ReadAll(resp.Body)
				}
				if !tc.want(err) {
					t.Errorf("got error %v", err)
				}
				if len(body) > tc.answered {
					t.Errorf("got %d bytes, want at most %d", len(body), tc.answered)
				}
			})
		}
	}
}

func is(want error) func(error) bool {
	return func(err error) bool { return errors.Is(err, want) }
}

func TestBodyLargerThanMemory(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	server.Inject(lakefstest.Everything, lakefstest.Fault{Body: "{}", Padding: 1 << 50})
	resp, err := newTransport(t).RoundTrip(newRequest(t, server, "GET /", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const some = 4 << 20
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, some))
	if n != some || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	server.Close() // breaks it off
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("no error from a closed server")
	}
}

// What keeps a request waiting ends when the client leaves, and when the server
// closes.
func TestWaitingEnds(t *testing.T) {
	for name, fault := range map[string]lakefstest.Fault{
		"black hole": {Break: lakefstest.BlackHole},
		"delay":      {Delay: 1000 * time.Hour},
		"hold":       {Hold: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", lakefstest.Script{})
			arrived := make(chan struct{}, 1)
			server.Inject(func(*http.Request) bool {
				arrived <- struct{}{}
				return true
			}, fault)
			ask := func(ctx context.Context) <-chan error {
				result := make(chan error, 1)
				req := newRequest(t, server, "GET "+importPath(ref), "").WithContext(ctx)
				transport := newTransport(t)
				go func() {
					resp, err := transport.RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					result <- err
				}()
				<-arrived
				return result
			}

			ctx, leave := context.WithCancel(t.Context())
			result := ask(ctx)
			leave()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			result = ask(t.Context())
			server.Close()
			if err := <-result; err == nil {
				t.Error("answered")
			}
			if got := server.Stats(); got.StatusRequests != 2 || got.InFlight != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What is cut or never answered does not reach lakeFS; what is answered does.
func TestFaultsAndWhatLakeFSSees(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault lakefstest.Fault
		want  bool // canceled
	}{
		{"cut", lakefstest.Fault{Break: lakefstest.Cut}, false},
		{"other answer", lakefstest.Fault{Status: 502}, false},
		{"truncated", lakefstest.Fault{Break: lakefstest.Truncate}, true},
		{"header", lakefstest.Fault{Header: http.Header{"X": {"y"}}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, _ := newServer(t, lakefstest.Options{})
			ref := server.Start("my-repo", "main", lakefstest.Script{Objects: 1, Rate: 1})
			remove := server.Inject(lakefstest.Everything, tc.fault)
			if resp, err := newTransport(t).RoundTrip(newRequest(t, server, "DELETE "+importPath(ref), "")); err == nil {
				resp.Body.Close()
			}
			remove()
			if got := strings.Contains(statusOf(t, server, ref), "Canceled"); got != tc.want {
				t.Errorf("cancelled: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestCutIsSentAnewOnAUsedConnection(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	ref := server.Start("my-repo", "main", lakefstest.Script{})
	transport := newTransport(t)
	ask := func(ref lakefs.Ref) error {
		resp, err := transport.RoundTrip(newRequest(t, server, "GET "+importPath(ref), ""))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := ask(ref); err != nil {
		t.Fatal(err)
	}
	server.Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.Cut})
	if err := ask(ref); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	if got := server.StatusRequests(ref); got != 3 {
		t.Errorf("asked %d times, want 1 and 2", got)
	}
}
