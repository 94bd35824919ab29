package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// finished is a Store with n imports that have succeeded.
type finished struct {
	collector.Store
	n  int
	at time.Time
}

func (f finished) Load() (collector.Stored, error) {
	var stored collector.Stored
	for i := range f.n {
		key := collector.Key{Server: "prod", Repository: fmt.Sprintf("repository-%03d", i%100), ID: fmt.Sprintf("dc1chj1ksduerd%05d0", i)}
		stored.Registrations = append(stored.Registrations, collector.Registration{At: f.at, Import: collector.Import{
			Key: key, Branch: "main", NoProgressAfter: time.Hour, ExpectedObjects: 1000, Labels: map[string]string{"team": "ingest"},
		}})
		stored.Observations = append(stored.Observations, collector.Observed{Key: key, Observation: collector.Observation{
			StatusAt: f.at, Date: f.at, UpdateTime: f.at.Add(-time.Duration(i) * time.Millisecond), ProgressAt: f.at, IngestedObjects: int64(1000 + i),
			Outcome: lakefs.Succeeded, CommitID: fmt.Sprintf("%064x", i), MetarangeID: fmt.Sprintf("%064x", 7*i), Confirmed: true, Counted: true,
		}})
	}
	return stored, nil
}

func (finished) Update(collector.Changes) error { return nil }

// newFinished returns the handler of an exporter of n imports that have
// succeeded.
func newFinished(b testing.TB, n int) http.Handler {
	b.Helper()
	clock := lakefstest.NewClock(time.Unix(1795344655, 374205733))
	registry := prometheus.NewRegistry()
	c, err := collector.New(collector.Options{
		Now: clock.Now, Logger: log.NewNopLogger(), Registerer: registry,
		Store: finished{n: n, at: clock.Now()}, Retention: time.Hour, MaxRegistered: n, FinishedFor: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	handler, err := New(Options{Collector: c, Registry: registry, Logger: log.NewNopLogger(), TelemetryPath: "/metrics"})
	if err != nil {
		b.Fatal(err)
	}
	return handler
}

// constMetrics collects the same families as const metrics, as an exporter does
// that is written the usual way.
type constMetrics []*dto.MetricFamily

func (constMetrics) Describe(chan<- *prometheus.Desc) {}

func (c constMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, family := range c {
		var names []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		desc := prometheus.NewDesc(family.GetName(), family.GetHelp(), names, nil)
		for _, m := range family.GetMetric() {
			values := make([]string, len(names))
			for i, l := range m.GetLabel() {
				values[i] = l.GetValue()
			}
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, m.GetGauge().GetValue(), values...)
		}
	}
}

// discarded is a response that nobody reads.
type discarded struct {
	io.Writer
	header http.Header
}

func (d discarded) Header() http.Header { return d.header }

func (discarded) WriteHeader(int) {}

// The metrics of 10,000 imports that have succeeded beside the same series as
// const metrics of client_golang, in turns. of-const is the part of their time.
func BenchmarkExposition(b *testing.B) {
	ours := newFinished(b, 10_000)
	registry := prometheus.NewRegistry()
	if err := registry.Register(constMetrics(gatheredImports(b, ours))); err != nil {
		b.Fatal(err)
	}
	theirs := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	for name, header := range map[string]http.Header{
		"text": {"Accept": {"text/plain;version=0.0.4"}},
		"gzip": {"Accept": {"application/openmetrics-text;version=1.0.0"}, "Accept-Encoding": {"gzip"}},
	} {
		serve := func(handler http.Handler) time.Duration {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header = header
			<-time.After(100 * time.Millisecond) // Prometheus does not come back at once
			begin := time.Now()
			handler.ServeHTTP(discarded{io.Discard, http.Header{}}, r)
			return time.Since(begin)
		}
		b.Run(name, func(b *testing.B) {
			var our, their time.Duration
			for b.Loop() {
				our += serve(ours)
				their += serve(theirs)
			}
			b.ReportMetric(float64(our.Microseconds())/1000/float64(b.N), "ms/scrape")
			b.ReportMetric(float64(our)/float64(their), "of-const")
		})
	}
}

// gatheredImports returns the families of imports that handler serves.
func gatheredImports(b testing.TB, handler http.Handler) []*dto.MetricFamily {
	b.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	var imports []*dto.MetricFamily
	for name, family := range families {
		if strings.HasPrefix(name, "lakefs_import_") && len(family.GetMetric()) == 10_000 {
			imports = append(imports, family)
		}
	}
	if len(imports) < 12 {
		b.Fatalf("%d families of imports", len(imports))
	}
	return imports
}
