package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every endpoint, over TCP: status, headers, and the whole body.
func TestEndpoints(t *testing.T) {
	lifecycle := func(err error) func(settings) {
		return func(s settings) {
			s.EnableLifecycle = true
			s.Reload = func(context.Context) error { return err }
		}
	}
	telemetryPath := func(path string) func(settings) { return func(s settings) { s.TelemetryPath = path } }
	const (
		plain    = "text/plain; charset=utf-8"
		jsonType = "application/json"
		notFound = "404 page not found\n"
	)
	for _, tc := range []struct {
		name        string
		change      func(settings)
		method      string // GET if empty
		path        string
		status      int    // 200 if 0
		contentType string // not checked if empty
		body        string
		golden      string // in place of body
	}{
		{name: "metrics", path: "/metrics", contentType: "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", golden: "metrics.prom"},
		{name: "metrics elsewhere", change: telemetryPath("/a/b"), path: "/a/b", golden: "metrics.prom"},
		{name: "metrics in a folder", change: telemetryPath("/m/"), path: "/m/", golden: "metrics.prom"},
		{name: "not below metrics", change: telemetryPath("/m/"), path: "/m/x", status: 404, body: notFound},
		{name: "metrics at the root", change: telemetryPath("/"), path: "/", golden: "metrics.prom"},
		{name: "HEAD metrics", method: http.MethodHead, path: "/metrics"},

		{name: "imports", path: "/api/v1/imports", contentType: jsonType, golden: "imports.json"},
		{name: "import not watched", path: apiPath + "x?server=prod", status: 404, contentType: jsonType, body: `{"message":"import my-repo/main/x of server \"prod\" is not watched"}` + "\n"},

		{name: "healthy", path: "/-/healthy", contentType: plain, body: "OK\n"},
		{
			name: "reload, not enabled", method: http.MethodPost, path: "/-/reload", status: 403, contentType: plain,
			body: "The reload API is off: start the exporter with --web.enable-lifecycle.\n",
		},
		{name: "reload", change: lifecycle(nil), method: http.MethodPost, path: "/-/reload", contentType: plain, body: "Configuration reloaded.\n"},
		{
			name: "reload that fails", change: lifecycle(errors.New("config.yml: line 3: <b>unknown</b> key")), method: http.MethodPost, path: "/-/reload",
			status: 500, contentType: plain, body: "Failed to reload configuration; keeping the previous one: config.yml: line 3: <b>unknown</b> key\n",
		},
		{
			name: "import API, not enabled", method: http.MethodPut, path: registeredPath, status: 403, contentType: jsonType,
			body: `{"message":"the import API is off: start the exporter with --web.enable-import-api"}` + "\n",
		},
		{name: "unknown path", path: "/nosuch", status: 404, contentType: plain, body: notFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			if tc.change != nil {
				w = newWorld(t, tc.change)
			}
			w.twoServers()
			resp, body := w.send(t.Context(), tc.method, tc.path, "")
			if want := cmp.Or(tc.status, http.StatusOK); resp.StatusCode != want {
				t.Errorf("status %d, want %d", resp.StatusCode, want)
			}
			if got := resp.Header.Get("Content-Type"); tc.contentType != "" && got != tc.contentType {
				t.Errorf("content type %q, want %q", got, tc.contentType)
			}
			if got := resp.Header.Get("Cache-Control"); tc.contentType == jsonType && got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options is %q", got)
			}
			if w.reloads > 0 {
				t.Error("reloaded")
			}
			switch {
			case strings.HasSuffix(tc.golden, ".json"):
				golden(t, tc.golden, indented(t, body))
			case tc.golden != "":
				golden(t, tc.golden, body)
			case body != tc.body:
				t.Errorf("got body %q, want %q", body, tc.body)
			}
		})
	}
}

// Before anything is watched there are no servers, repositories and imports, but
// no null either.
func TestNothingWatched(t *testing.T) {
	w := newWorld(t)
	if status, body := w.get("/api/v1/imports"); status != http.StatusOK || body != `{"servers":[],"repositories":[],"imports":[],"import_files":[]}`+"\n" {
		t.Errorf("imports: got %d %s", status, body)
	}
	status, body := w.get("/metrics")
	if status != http.StatusOK || !strings.Contains(body, "\nlakefs_import_exporter_imports{source=\"config\"} 0\n") {
		t.Errorf("metrics: got %d %s", status, body)
	}
}

// Whoever comes to the root is sent to the status page, also behind a path prefix.
func TestRoutePrefix(t *testing.T) {
	for _, tc := range []struct{ prefix, path, location string }{
		{"", "/", "imports"},
		{"/a/b", "/", "a/b/"},
		{"/a/b", "/a/b", "/a/b/"},
		{"/a/b", "/a/b/", "imports"},
		{"/a/b", "/a/b/imports/", "../imports"},
		{"/a/b", "/a/b/metrics", ""},
		{"/a/b", "/a/b/-/ready", ""},
	} {
		w := newWorld(t, func(s settings) { s.RoutePrefix = tc.prefix })
		resp, _ := w.send(t.Context(), http.MethodGet, tc.path, "")
		if got := resp.Header.Get("Location"); got != tc.location || (got == "") != (resp.StatusCode == http.StatusOK) {
			t.Errorf("%+v: status %d, to %q", tc, resp.StatusCode, got)
		}
		if status, _ := w.get("/metrics"); (status == http.StatusOK) != (tc.prefix == "") {
			t.Errorf("%s: without the prefix: status %d", tc.prefix, status)
		}
	}
}

func TestTelemetryPath(t *testing.T) {
	for path, valid := range map[string]bool{
		"/metrics": true, "/": true, "/a/b-c_d.e~f/": true, "/apis/x": true, "/importsx": true, "/probes": true,
		"": false, "metrics": false, "/a b": false, "/{x}": false, "/a?b": false, "/a#b": false, "/ä": false, "/a\n": false, "/a%20b": false,
		"/-/": false, "/-/healthy": false, "/api/": false, "/api/v1/imports": false, "/imports": false, "/imports/": false, "/probe": false, "/probe/x": false,
		"//": false, "//metrics": false, "/a//b": false, "/a/./b": false, "/x/../-/healthy": false, "/a/..": false,
	} {
		err := ValidateTelemetryPath(path)
		if (err == nil) != valid {
			t.Errorf("%q: %v", path, err)
		}
		// What is valid must be good for the mux as well.
		if valid {
			newWorld(t, func(s settings) { s.TelemetryPath = path })
		}
	}
}

// readOnly are paths that only GET and HEAD are for.
var readOnly = []string{
	"/", "/metrics", "/probe?server=prod&target=my-repo/main/x", "/imports", "/imports/page.css",
	"/api/v1/imports", "/-/healthy", "/-/ready",
}

const registeredPath = apiPath + "x?server=prod"

// Every path takes the methods that it is for, and no script of another origin
// can read the answer.
func TestMethods(t *testing.T) {
	w, _ := newAPIWorld(t, memoryStore{})
	allowed := map[string]string{registeredPath: "DELETE, GET, HEAD, PUT", "/-/reload": "POST"}
	for _, path := range readOnly {
		allowed[path] = "GET, HEAD"
	}
	for path, allow := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			resp, _ := w.send(t.Context(), method, path, "")
			if slices.Contains(strings.Split(allow, ", "), method) {
				if resp.StatusCode == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: not allowed", method, path)
				}
			} else if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != allow {
				t.Errorf("%s %s: status %d, Allow: %q", method, path, resp.StatusCode, resp.Header.Get("Allow"))
			}
		}
		resp, _ := w.send(t.Context(), http.MethodGet, path, "", "Origin", "https://evil.example.com")
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s can be read by pages of %s", path, got)
		}
	}
}

// A browser on the page of another origin can change nothing.
func TestCrossOriginWrites(t *testing.T) {
	w, _ := newAPIWorld(t, memoryStore{})
	for _, write := range []string{"PUT " + registeredPath, "DELETE " + registeredPath, "POST /-/reload"} {
		method, path, _ := strings.Cut(write, " ")
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example.com"}} {
			if status, body := w.ask(method, path, "", header...); status != http.StatusForbidden {
				t.Errorf("%s with %s: %d %s", write, header, status, body)
			}
		}
		if w.reloads > 0 {
			t.Error("reloaded all the same")
		}
		if status, body := w.ask(method, path, "", "Origin", w.url); status >= 300 {
			t.Errorf("%s of its own page: %d %s", write, status, body)
		}
	}
}

// Whatever a GET brings along, it changes nothing.
func TestReadsChangeNothing(t *testing.T) {
	w, _ := newAPIWorld(t, memoryStore{})
	_, before := w.get("/api/v1/imports")
	for _, path := range append([]string{"/-/reload", registeredPath}, readOnly...) {
		for _, other := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
			w.ask(http.MethodGet, path, `{"labels": {"team": "other"}}`, "X-HTTP-Method-Override", other)
		}
	}
	if _, after := w.get("/api/v1/imports"); after != before || w.reloads > 0 {
		t.Errorf("reloaded %d times; before:\n%safter:\n%s", w.reloads, before, after)
	}
}

// No request has the exporter send one to a host that its config does not name.
func TestNobodyAimsTheExporter(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked for %s", r.URL)
	}))
	defer other.Close()
	host := other.Listener.Addr().String()
	w, _ := newAPIWorld(t, memoryStore{})
	for _, tc := range []struct {
		path, body string
		status     int
	}{
		{path: "/probe?target=my-repo/main/x&server=" + other.URL, status: 400},
		{path: "/probe?server=prod&target=lakefs://" + host + "/my-repo/main/x", status: 400},
		{path: "/probe?server=prod&target=" + host + "/main/x", status: 400},
		{path: "/probe?server=prod&target=my-repo/main/x&endpoint_url=" + other.URL + "&proxy_url=" + other.URL, status: 200},
		{path: apiPath + "x?server=" + other.URL, body: "{}", status: 400},
		{path: registeredPath, body: `{"endpoint_url": "` + other.URL + `"}`, status: 400},
		{path: registeredPath, body: `{"labels": {"endpoint_url": "` + other.URL + `"}}`, status: 201},
	} {
		method := http.MethodGet
		if tc.body != "" {
			method = http.MethodPut
		}
		if status, body := w.ask(method, tc.path, tc.body, "X-Forwarded-Host", host); status != tc.status {
			t.Errorf("%s %s: %d %s", method, tc.path, status, body)
		}
		w.get("/metrics") // What was registered is polled.
	}
}

// While the configuration changes, every reader sees every import, and the race
// detector has nothing to say.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	var all sync.WaitGroup
	for _, path := range []string{"/metrics", "/api/v1/imports", "/imports", importPath + "?server=prod", importPath + "?server=dev"} {
		for range 3 {
			all.Go(func() {
				for range 10 {
					answer := httptest.NewRecorder()
					w.handler.ServeHTTP(answer, newRequest(t.Context(), path))
					if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), importID) {
						t.Errorf("%s: got %d %.200s", path, answer.Code, answer.Body)
					}
				}
			})
		}
	}
	for range 10 {
		w.Clock.Advance(time.Second)
		w.Apply()
	}
	all.Wait()
}

func TestAuthenticates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yml")
	for content, want := range map[string]bool{
		"":                                    false,
		"tls_server_config: {cert_file: x}":   false,
		"basic_auth_users: {prometheus: $2y}": true,
		"tls_server_config: {client_auth_type: RequireAndVerifyClientCert}": true,
		"tls_server_config: {client_auth_type: VerifyClientCertIfGiven}":    false,
		"[": false,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Authenticates(path); got != want {
			t.Errorf("%s: got %v", content, got)
		}
	}
	if Authenticates(filepath.Join(t.TempDir(), "missing.yml")) || Authenticates("") {
		t.Error("a missing file authenticates")
	}
}
