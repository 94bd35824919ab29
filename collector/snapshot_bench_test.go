package collector

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/lakefs"
)

// benchSnapshot is a snapshot of n running imports.
func benchSnapshot(n int) *Snapshot {
	now := time.Unix(1795344655, 374205733)
	w := newWatchlist()
	imports := make([]Import, n)
	for i := range imports {
		imports[i] = Import{
			Key:             Key{"prod", lakefs.Ref{Repository: fmt.Sprintf("repo-%03d", i%100), Branch: "main", ID: fmt.Sprintf("import-%05d", i)}},
			NoProgressAfter: DefaultNoProgressAfter,
			Labels:          map[string]string{"team": "ingest"},
		}
	}
	w.set(map[Origin][]Import{FromConfig: imports})
	for i, imp := range imports {
		objects := int64(i)
		w.record(imp.Key, now, &lakefs.ImportStatus{UpdateTime: now, IngestedObjects: &objects}, nil)
	}
	return &Snapshot{At: now, Imports: w.views(now, nil)}
}

func encode(b *testing.B, g prometheus.Gatherer) {
	families, err := g.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(io.Discard, f); err != nil {
			b.Fatal(err)
		}
	}
}

// The exposition of 10,000 imports, and what a registry's checks would cost on top.
func BenchmarkExposition(b *testing.B) {
	s := benchSnapshot(10_000)
	b.Run("snapshot", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(b, s)
		}
	})
	b.Run("gatherers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(b, prometheus.Gatherers{s})
		}
	})
}
