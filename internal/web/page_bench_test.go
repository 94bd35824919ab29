package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// The status page of 10,000 imports beside their metrics. of-metrics is the
// page's time as a part of that of /metrics, both uncompressed.
func BenchmarkPage(b *testing.B) {
	w := newPageWorld(b)
	lakeFS := w.addServer("prod")
	for i := range 10_000 {
		ref := lakeFS.StartAt(lakefs.Ref{Repository: fmt.Sprintf("repo-%d", i%100), Branch: "main", ID: fmt.Sprintf("import-%d", i)},
			lakefstest.Script{}, w.clock.Now().Add(-time.Minute))
		w.cfg.Imports = append(w.cfg.Imports, collector.Import{
			Key: collector.Key{Server: "prod", Ref: ref}, NoProgressAfter: time.Hour, Labels: map[string]string{"team": "ingest"},
		})
	}
	w.collector.Apply(w.cfg)
	get := func(path string) {
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusOK {
			b.Fatal(path, answer.Code)
		}
	}
	get("/metrics") // polls
	for _, path := range []string{"/imports", "/imports?sort=repository&q=import-77"} {
		b.Run(path, func(b *testing.B) {
			var page, metrics time.Duration
			for b.Loop() {
				begin := time.Now()
				get(path)
				middle := time.Now()
				get("/metrics")
				page += middle.Sub(begin)
				metrics += time.Since(middle)
			}
			b.ReportMetric(float64(page.Milliseconds())/float64(b.N), "page-ms/op")
			b.ReportMetric(float64(page)/float64(metrics), "of-metrics")
		})
	}
}
