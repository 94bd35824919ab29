package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"lakefs_import_exporter/lakefs/lakefstest"
)

// What those who are not meant to can have the exporter do: browsers on pages of
// others, and whoever reaches its port.

// newOpenWorld returns a world with all that can be enabled, and how often its
// configuration was reloaded.
func newOpenWorld(t *testing.T) (w *world, prod *lakefstest.Server, reloads *int) {
	t.Helper()
	reloads = new(int)
	w, prod = newAPIWorld(t, nil, func(o *Options) {
		o.EnableLifecycle = true
		o.Reload = func(context.Context) error { *reloads++; return nil }
	})
	return w, prod, reloads
}

// readOnly are paths that only GET and HEAD are for.
var readOnly = []string{
	"/", "/metrics", "/probe?server=prod&target=my-repo/main/x", "/imports", "/imports/page.css",
	"/api/v1/imports", "/-/healthy", "/-/ready",
}

const registeredPath = apiPath + "x?server=prod"

// Every path takes the methods that it is for, says which when it is asked for
// another, and lets no script of another origin read the answer.
func TestMethods(t *testing.T) {
	w, _, _ := newOpenWorld(t)
	allowed := map[string]string{registeredPath: "DELETE, GET, HEAD, PUT", "/-/reload": "POST"}
	for _, path := range readOnly {
		allowed[path] = "GET, HEAD"
	}
	for path, allow := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			resp, _ := w.send(t.Context(), method, path, nil)
			if slices.Contains(strings.Split(allow, ", "), method) {
				if resp.StatusCode == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: not allowed", method, path)
				}
			} else if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != allow {
				t.Errorf("%s %s: status %d, Allow: %q", method, path, resp.StatusCode, resp.Header.Get("Allow"))
			}
		}
		for _, header := range []http.Header{
			{"Origin": {"https://evil.example.com"}},
			{"Origin": {"https://evil.example.com"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"content-type"}},
		} {
			for _, method := range []string{"GET", "PUT", "POST", "OPTIONS"} {
				resp, _ := w.send(t.Context(), method, path, header)
				for name := range resp.Header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s of another origin: %s", method, path, name)
					}
				}
			}
		}
	}
}

// A browser on the page of another origin can change nothing.
func TestCrossOriginWrites(t *testing.T) {
	w, _, reloads := newOpenWorld(t)
	writes := []string{"PUT " + registeredPath, "DELETE " + registeredPath, "POST /-/reload"}
	for name, tc := range map[string]struct {
		header  http.Header
		refused bool
	}{
		"cross-site":      {http.Header{"Sec-Fetch-Site": {"cross-site"}}, true},
		"same-site":       {http.Header{"Sec-Fetch-Site": {"same-site"}}, true},
		"another origin":  {http.Header{"Origin": {"https://evil.example.com"}}, true},
		"another port":    {http.Header{"Origin": {"http://127.0.0.1:1"}}, true},
		"no origin":       {http.Header{"Origin": {"null"}}, true},
		"its own page":    {http.Header{"Sec-Fetch-Site": {"same-origin"}}, false},
		"its own origin":  {http.Header{"Origin": {w.url}}, false},
		"typed in":        {http.Header{"Sec-Fetch-Site": {"none"}}, false},
		"not of browsers": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := *reloads
			for _, write := range writes {
				method, path, _ := strings.Cut(write, " ")
				resp, body := w.send(t.Context(), method, path, tc.header)
				if refused := resp.StatusCode == http.StatusForbidden; refused != tc.refused || !refused && resp.StatusCode >= 300 {
					t.Errorf("%s: %d %s", write, resp.StatusCode, body)
				}
			}
			if reloaded := *reloads > before; reloaded == tc.refused {
				t.Errorf("reloaded: %t", reloaded)
			}
		})
	}
}

// Whatever a GET brings along, it changes nothing.
func TestReadsChangeNothing(t *testing.T) {
	w, _, reloads := newOpenWorld(t)
	if status, body := w.ask(http.MethodPut, apiPath+"kept?server=prod", `{"labels": {"team": "ingest"}}`); status != http.StatusCreated {
		t.Fatal(status, body)
	}
	_, before := w.ask(http.MethodGet, "/api/v1/imports", "")
	for _, path := range append([]string{"/-/reload", registeredPath, apiPath + "kept?server=prod"}, readOnly...) {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, other := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
				query := "?"
				if strings.Contains(path, "?") {
					query = "&"
				}
				w.ask(method, path+query+"_method="+other, `{"labels": {"team": "other"}}`,
					"X-HTTP-Method-Override", other, "X-HTTP-Method", other, "X-Method-Override", other)
			}
		}
	}
	if _, after := w.ask(http.MethodGet, "/api/v1/imports", ""); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
	if *reloads > 0 {
		t.Errorf("reloaded %d times", *reloads)
	}
}

// No request has the exporter send one to a host that its config does not name.
func TestNobodyAimsTheExporter(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked for %s", r.URL)
	}))
	defer other.Close()
	host := other.Listener.Addr().String()
	w, prod, _ := newOpenWorld(t)
	ref := prod.Start(repo, branch, import50k)
	probe := "/probe?server=prod&target=" + ref.String()
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{name: "as its server", path: "/probe?server=" + other.URL + "&target=" + ref.String(), status: 400},
		{name: "in its target", path: "/probe?server=prod&target=" + other.URL, status: 400},
		{name: "in its target, with an import", path: "/probe?server=prod&target=lakefs://" + host + "/" + ref.String(), status: 400},
		{name: "as the repository", path: "/probe?server=prod&target=" + host + "/main/x", status: 400},
		{name: "in the ID", path: "/probe?server=prod&target=my-repo/main/x@" + host, status: 400},
		{name: "in other parameters", path: probe + "&endpoint_url=" + other.URL + "&endpoint=" + other.URL + "&url=" + other.URL + "&proxy_url=" + other.URL, status: 200},
		{name: "in headers", path: probe, header: []string{"X-Forwarded-Host", host, "Forwarded", "host=" + host, "Referer", other.URL, "X-Original-Url", other.URL}, status: 200},
		{name: "by the API, as its server", method: http.MethodGet, path: apiPath + "x?server=" + other.URL, status: 400},
		{name: "by the API, registered", method: http.MethodPut, path: apiPath + "x?server=" + other.URL, status: 400},
		{name: "by the API, in the body", method: http.MethodPut, path: registeredPath, body: `{"endpoint_url": "` + other.URL + `"}`, status: 400},
		{name: "by the API, in a label", method: http.MethodPut, path: registeredPath, body: `{"labels": {"endpoint_url": "` + other.URL + `"}}`, status: 201},
	} {
		t.Run(tc.name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = http.MethodGet
			}
			if status, body := w.ask(method, tc.path, tc.body, tc.header...); status != tc.status {
				t.Errorf("%d %s", status, body)
			}
			w.ask(http.MethodGet, "/metrics", "") // What was registered is polled.
		})
	}

	t.Run("as of a proxy", func(t *testing.T) {
		for _, first := range []string{"GET " + other.URL + probe, "CONNECT " + host} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", first, host)
			if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
				t.Errorf("%s: %q, %v", first, answer, err)
			}
		}
	})
	if prod.Stats().Requests == 0 {
		t.Error("the server of the config was not asked either")
	}
}
