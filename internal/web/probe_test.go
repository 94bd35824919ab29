package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs/lakefstest"
)

func TestProbeEndpoint(t *testing.T) {
	w := newWorld(t)
	prod := w.AddLakeFS("prod", 0)
	ref := prod.Start(repo, branch, import50k)
	w.Watch("prod", ref, func(i *collector.Import) { i.Labels = map[string]string{"team": "ingest"} })
	w.Clock.Advance(30 * time.Second)
	for _, target := range []string{"lakefs://" + ref.String(), ref.String()} {
		status, body := w.get("/probe?server=prod&target=" + target)
		if status != 200 {
			t.Errorf("status %d", status)
		}
		golden(t, "probe.prom", body)
	}
	if got := prod.StatusRequests(ref); got != 1 {
		t.Errorf("%d requests for two probes within a second", got)
	}
	if status, body := w.get("/probe?target="+ref.String(), "Accept", "application/openmetrics-text"); status != 200 || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("OpenMetrics, without a server where there is one: %d %s", status, body)
	}

	// A target that fails is an answer too, without last values.
	prod.Inject(lakefstest.Everything, lakefstest.Fault{Status: 500})
	w.Clock.Advance(time.Second)
	status, body := w.get("/probe?target=" + ref.String())
	if status != 200 || !strings.Contains(body, "\nlakefs_import_poll_success{") || !strings.Contains(body, "\nlakefs_up{server=\"prod\"} 0\n") || strings.Contains(body, "ingested") {
		t.Errorf("a failed poll: %d %s", status, body)
	}
}

func TestProbeErrors(t *testing.T) {
	w := newWorld(t)
	w.AddLakeFS("prod", 0)
	w.AddLakeFS("dev", 0)
	for _, tc := range []struct{ query, timeout, want string }{
		{query: "", want: "target is missing: must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID"},
		{query: "server=prod&target=my-repo/main", want: `target "my-repo/main": must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=my-repo/a/b/x", want: `target "my-repo/a/b/x": must be [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=My/main/x", want: `target: repository "My": must match ^[a-z0-9][a-z0-9-]{2,62}$`},
		{query: "target=my-repo/main/x", want: `server is missing: must be one of dev, prod`},
		{query: "server=https://evil&target=my-repo/main/x", want: `server "https://evil" is not configured: must be one of dev, prod`},
		{query: "server=prod&target=my-repo/main/x&target=my-repo/main/y", want: `target is given 2 times: must be one [lakefs://]REPOSITORY/BRANCH/IMPORT_ID`},
		{query: "server=prod&target=my-repo/" + strings.Repeat("x", 1025) + "/x", want: "target: branch is longer than 1024 bytes"},
		{query: "server=prod&target=my-repo/main/x", timeout: "soon", want: `header X-Prometheus-Scrape-Timeout-Seconds: must be a positive number of seconds, not "soon"`},
	} {
		status, body := w.get("/probe?"+tc.query, scrapeTimeoutHeader, tc.timeout)
		if status != http.StatusBadRequest || body != tc.want+"\n" {
			t.Errorf("%.100s: got %d %s, want %s", tc.query, status, body, tc.want)
		}
	}
}

// Whatever parses is valid, and is the same when it is written and parsed again.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"", "my-repo/main/x", "lakefs://my-repo/-/x", "lakefs://lakefs://a/b/c", "a/b", "my-repo/main/x/", "my-repo/\x00/x", "my-repo/main/ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		ref, err := parseTarget([]string{target})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q: the error has several lines: %v", target, err)
			}
			return
		}
		if err := ref.Validate(); err != nil {
			t.Errorf("%q: %v", target, err)
		}
		if again, err := parseTarget([]string{"lakefs://" + ref.String()}); err != nil || again != ref {
			t.Errorf("%q: got %v, %v", target, again, err)
		}
	})
}
