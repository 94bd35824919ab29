//go:build e2e

package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Behind a reverse proxy that serves the exporter below a path, every link leads
// to an answer: with --web.external-url where the proxy keeps the path, and
// without where it strips it.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	need(t, "nginx")
	lakeFS := newLakeFS(t, lakefstest.Options{})
	ref := lakeFS.Start("my-repo", "main", import1k)
	stripped, dir := watching(t, lakeFS, []lakefs.Ref{ref})
	proxy := "http://127.0.0.1:" + freePort(t)
	kept := start(t, dir, nil, "--web.external-url="+proxy+"/lakefs/kept/")
	write(t, dir, "nginx.conf", fmt.Sprintf(`daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  server {
    listen %s;
    location /lakefs/kept/ { proxy_pass %s; }
    location /stripped/ { proxy_pass %s/; }
  }
}
`, strings.TrimPrefix(proxy, "http://"), kept.url, stripped.url))
	nginx := exec.CommandContext(t.Context(), "nginx", "-p", dir, "-c", "nginx.conf", "-e", "stderr")
	nginx.Cancel = func() error { return nginx.Process.Signal(syscall.SIGTERM) }
	must(t, nginx.Start())
	t.Cleanup(func() { _ = nginx.Wait() })
	for _, prefix := range []string{"/lakefs/kept/", "/stripped/"} {
		e := &exporter{t: t, url: proxy, client: &http.Client{}}
		t.Cleanup(e.client.CloseIdleConnections)
		eventually(t, "nginx listens", func() bool { return e.do(http.MethodGet, prefix+"-/ready") == http.StatusOK })
		resp, page := e.send(http.MethodGet, prefix)
		if got := resp.Request.URL.Path; got != prefix+"imports" {
			t.Errorf("%s leads to %s", prefix, got)
		}
		var links []string
		for _, m := range regexp.MustCompile(` (?:href|src|action)="([^"#]+)"`).FindAllStringSubmatch(page, -1) {
			link, err := resp.Request.URL.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
			must(t, err)
			if link.Host == resp.Request.URL.Host {
				links = append(links, link.RequestURI())
			}
		}
		if len(links) < 8 {
			t.Errorf("links: %q", links)
		}
		for _, path := range append(links, prefix+"probe?target="+url.QueryEscape(ref.String()), prefix+"api/v1/imports/"+ref.String()) {
			if status := e.do(http.MethodGet, path); status != http.StatusOK || !strings.HasPrefix(path, prefix) {
				t.Errorf("%s: status %d", path, status)
			}
		}
	}
}

// need skips a test if a program is missing, and fails it in CI.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		skip(t, "%s is missing", program)
	}
}
