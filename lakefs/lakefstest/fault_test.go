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
		{"status and body", lakefstest.Fault{Status: 502, Body: html}, 502, html, http.Header{"Content-Type": {"text/html; charset=utf-8"}}},
		{"JSON body", lakefstest.Fault{Body: `{"a":1}`}, 200, `{"a":1}`, jsonHeader},
		{"message", lakefstest.Fault{Status: 401, Body: lakefstest.Message("no <b>")}, 401, `{"message":"no \u003cb\u003e"}` + "\n", jsonHeader},
		{"padding", lakefstest.Fault{Padding: 200_000}, 200, running + strings.Repeat(" ", 200_000), jsonHeader},
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

func TestMatches(t *testing.T) {
	server, _ := newServer(t, lakefstest.Options{})
	a := server.Start("my-repo", "main", lakefstest.Script{})
	b := server.Start("my-repo", "main", lakefstest.Script{})
	targets := []string{
		"GET " + importPath(a),
		"GET " + strings.Replace(importPath(a), "/main/", "/other/", 1),
		"GET " + importPath(b),
		"DELETE " + importPath(a),
		"GET /api/v1/healthcheck",
		"GET /",
	}
	for _, tc := range []struct {
		name  string
		match lakefstest.Match
		want  string // by target
	}{
		{"Everything", lakefstest.Everything, "111111"},
		{"Statuses", lakefstest.Statuses, "111000"},
		{"StatusOf", lakefstest.StatusOf(a), "110000"},
		{"Healthchecks", lakefstest.Healthchecks, "000010"},
	} {
		remove, got := server.Inject(tc.match, lakefstest.Fault{Status: 599}), ""
		for _, target := range targets {
			if status, _ := do(t, server, target, ""); status == 599 {
				got += "1"
			} else {
				got += "0"
			}
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
		remove()
	}
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
