package collector_test

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/lakefs"
)

// The exposition of 10,000 running imports as text.
func BenchmarkExposition(b *testing.B) {
	now := time.Unix(1795344655, 374205733)
	store := newFakeStore()
	for i := range 10_000 {
		imp := newImport(lakefs.Ref{Repository: fmt.Sprintf("repo-%03d", i%100), Branch: branch, ID: fmt.Sprintf("import-%05d", i)})
		imp.Labels = map[string]string{"team": "ingest"}
		store.imports[imp.Key] = collector.Registration{Import: imp, At: now}
		store.observations[imp.Key] = collector.Observation{StatusAt: now, UpdateTime: now, IngestedObjects: int64(i)}
	}
	c, err := collector.New(collector.Options{
		Now: func() time.Time { return now }, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(),
		Store: store, Retention: time.Hour,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	w := bufio.NewWriter(io.Discard)
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range c.Snapshot().Families() {
			if err := f.WriteText(w); err != nil {
				b.Fatal(err)
			}
		}
	}
}
