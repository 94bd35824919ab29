//go:build e2e

package discovery_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"lakefs_import_exporter/internal/discovery"
)

// The size that costs are told for.
const benchRepositories, benchImports, benchOthers = 1000, 10_000, 1_000_000

// BenchmarkPostgres reads 10,000 imports in 1,000 repositories, beside a million
// other rows. pages/op are read by PostgreSQL, whose own time is in ns/op.
func BenchmarkPostgres(b *testing.B) {
	c := postgresCluster(b)
	c.exec(b, "lakefs", "TRUNCATE kv", filler(benchRepositories, benchImports, benchOthers), "ANALYZE kv")
	_, pages := c.plan(b)
	benchmark(b, newPostgres(b, c.exporterDSN()))
	b.ReportMetric(float64(pages), "pages/op")
}

// BenchmarkDynamoDB reads as many from dynalite.
func BenchmarkDynamoDB(b *testing.B) {
	var rows []row
	for n := range benchRepositories {
		var ids []string
		for m := range benchImports / benchRepositories {
			ids = append(ids, newID(time.Unix(int64(n), 0), byte(m)))
		}
		rows = append(rows, repositoryRow{name: fmt.Sprintf("repo-%d", n), uid: uid}.rows(ids...)...)
	}
	benchmark(b, newDynamoDB(b, "http://"+startDynalite(b, rows)))
}

func benchmark(b *testing.B, source discovery.Source) {
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		set, err := refresh(b, source, discovery.Options{MaxImports: benchImports})
		if err != nil || len(set.Imports) != benchImports {
			b.Fatalf("found %d imports, error %v", len(set.Imports), err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// cpu returns this process' own CPU time.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
