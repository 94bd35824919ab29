package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// Prometheus gets the format and the compression that it asks for.
func TestNegotiation(t *testing.T) {
	const (
		text        = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
		openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
		prometheus  = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	)
	for _, tc := range []struct{ name, accept, acceptEncoding, contentType, contentEncoding string }{
		{"text, compressed", "*/*", "gzip", text, "gzip"},
		{"OpenMetrics", "application/openmetrics-text;version=1.0.0", "", openMetrics + "underscores", ""},
		{"what Prometheus sends", prometheus, "gzip", openMetrics + "allow-utf-8", "gzip"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.twoServers()
			resp, body := w.send(t.Context(), http.MethodGet, "/metrics", "", "Accept", tc.accept, "Accept-Encoding", tc.acceptEncoding)
			if got := resp.Header.Get("Content-Type"); got != tc.contentType {
				t.Errorf("content type %q, want %q", got, tc.contentType)
			}
			if got := resp.Header.Get("Content-Encoding"); got != tc.contentEncoding {
				t.Errorf("content encoding %q, want %q", got, tc.contentEncoding)
			}
			if tc.contentEncoding == "gzip" {
				body = gunzip(t, body)
			}
			if tc.contentType == text {
				golden(t, "metrics.prom", body)
				return
			}
			// The others are by client_golang.
			_, plain := w.get("/metrics")
			ours, _, _ := strings.Cut(plain, "# HELP lakefs_import_exporter_poll_duration_seconds")
			if !strings.HasPrefix(body, ours) || !strings.HasSuffix(body, "_requests_total{code=\"503\"} 0.0\n# EOF\n") {
				t.Errorf("got %s", body)
			}
		})
	}
}

// JSON, page and probe are compressed too, and say the same.
func TestCompression(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	for _, path := range []string{"/api/v1/imports", importPath + "?server=prod", "/imports", "/probe?server=prod&target=my-repo/main/" + importID} {
		_, plain := w.get(path)
		resp, body := w.send(t.Context(), http.MethodGet, path, "", "Accept-Encoding", "gzip")
		if resp.Header.Get("Content-Encoding") != "gzip" || !slices.Contains(resp.Header.Values("Vary"), "Accept-Encoding") || gunzip(t, body) != plain {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
}

// Prometheus gets the native histogram if it asks for the format that has it,
// and every other metric as well.
func TestProtobuf(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	resp, body := w.send(t.Context(), http.MethodGet, "/metrics", "",
		"Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	dec := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(resp.Header))
	var names []string
	for {
		var f dto.MetricFamily
		err := dec.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.GetName())
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h.GetSampleCount() > 0 && (len(h.GetPositiveSpan())+int(h.GetZeroCount()) == 0 || len(h.GetBucket()) == 0) {
				t.Errorf("not in both kinds of buckets: %v", h)
			}
		}
	}
	_, text := w.get("/metrics")
	var want []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			want = append(want, strings.Fields(name)[0])
		}
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("families (-text +protobuf):\n%s", diff)
	}
}

// A scrape can ask for some metrics only. A bad timeout costs it nothing.
func TestNames(t *testing.T) {
	w := newWorld(t)
	w.twoServers()
	want := "# HELP lakefs_import_completed Whether the import has finished, with success or with an error: 1 if so, else 0.\n" +
		"# TYPE lakefs_import_completed gauge\n" +
		`lakefs_import_completed{branch="main",import_id="dc1chsrcddimcso0000g",repository="my-repo",server="dev"} 1` + "\n" +
		`lakefs_import_completed{branch="main",import_id="dc1chsrcddimcso0000g",repository="my-repo",server="prod",team="ingest & <friends>"} 0` + "\n" +
		"# HELP promhttp_metric_handler_requests_in_flight Current number of scrapes being served.\n" +
		"# TYPE promhttp_metric_handler_requests_in_flight gauge\n" +
		"promhttp_metric_handler_requests_in_flight 1\n"
	_, got := w.get("/metrics?name[]=promhttp_metric_handler_requests_in_flight&name[]=lakefs_import_completed&name[]=nosuch", scrapeTimeoutHeader, "soon")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScrapeTimeout(t *testing.T) {
	const half = 500 * time.Millisecond
	for _, tc := range []struct {
		header string
		offset time.Duration
		want   time.Duration // 0: an error
	}{
		{"", half, 10 * time.Second},
		{"10", half, 9500 * time.Millisecond},
		{"1.5", 0, 1500 * time.Millisecond},
		{"0.5", half, 250 * time.Millisecond}, // the offset would eat it
		{"0.3", half, 150 * time.Millisecond},
		{"1e9", half, time.Hour - half},
		{"Inf", half, time.Hour - half},
		{"0", half, 0},
		{"NaN", half, 0},
		{"10s", half, 0},
	} {
		t.Run(tc.header, func(t *testing.T) {
			got, err := scrapeTimeout(http.Header{scrapeTimeoutHeader: {tc.header}}, tc.offset)
			if got != tc.want || (err == nil) != (tc.want > 0) {
				t.Errorf("got %s, %v, want %s", got, err, tc.want)
			}
		})
	}
}

// A scrape that has no time to poll says nothing about polls, and does not count
// as one.
func TestTimeoutOfANanosecond(t *testing.T) {
	w := newWorld(t)
	lakeFS := w.AddLakeFS("prod", 0)
	ref := lakeFS.Start(repo, branch, import50k)
	w.Watch("prod", ref)
	if status, body := w.get("/metrics", scrapeTimeoutHeader, "1e-9"); status != http.StatusOK || !strings.Contains(body, "\nlakefs_import_poll_success{") {
		t.Errorf("%d %s", status, body)
	}
	if v, _ := w.Collector.Watched(w.Config.Imports[0].Key); v.Poll != (collector.Poll{}) {
		t.Errorf("polled: %+v", v.Poll)
	}
	if got := getJSON[list](w, "/api/v1/imports").Imports[0].Poll; !got.Success {
		t.Errorf("a list right after it: %+v", got)
	}
}

// A scrape whose client hung up at once does not count for those who read next.
func TestScrapeOfAClientThatHungUp(t *testing.T) {
	for _, path := range []string{"/api/v1/imports", "/imports"} {
		w := newWorld(t)
		lakeFS := w.AddLakeFS("prod", 0)
		ref := lakeFS.Start(repo, branch, import50k)
		w.Watch("prod", ref)
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp()
		w.handler.ServeHTTP(httptest.NewRecorder(), newRequest(ctx, "/metrics"))
		if _, body := w.get(path); !strings.Contains(body, "running") {
			t.Errorf("%s shows nothing new: %s", path, body)
		}
	}
}

// A scrape is answered at its own deadline, not at that of polls that hang, with
// every import.
func TestScrapeWhileLakeFSHangs(t *testing.T) {
	const imports = 1000
	w := newWorld(t)
	w.AddLakeFS("prod", 0).Inject(lakefstest.Everything, lakefstest.Fault{Break: lakefstest.BlackHole})
	w.watchMany("prod", imports)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resp, body := w.send(ctx, http.MethodGet, "/metrics", "", scrapeTimeoutHeader, "1")
	if got := strings.Count(body, "\nlakefs_import_poll_success{"); resp.StatusCode != http.StatusOK || got != imports {
		t.Errorf("status %d, %d imports", resp.StatusCode, got)
	}
}

// A scrape keeps time to render its imports, half of what it has at most.
func TestPollTime(t *testing.T) {
	for imports, want := range map[int64]time.Duration{0: 10 * time.Second, 10_000: 9500 * time.Millisecond, 1_000_000: 5 * time.Second} {
		if got := pollTime(10*time.Second, imports); got != want {
			t.Errorf("%s for %d imports, want %s", got, imports, want)
		}
	}
}

// BenchmarkRendering shows whether renderingTime is enough for an import.
func BenchmarkRendering(b *testing.B) {
	const imports = 10_000
	w := newWorld(b)
	w.AddLakeFS("prod", 0)
	w.watchMany("prod", imports)
	for b.Loop() {
		r := newRequest(b.Context(), "/metrics")
		r.Header.Set(scrapeTimeoutHeader, "1e-9") // without polls
		r.Header.Set("Accept-Encoding", "gzip")
		w.handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/imports, "µs/import")
}
