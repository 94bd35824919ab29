package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"lakefs_import_exporter/collector"
	"lakefs_import_exporter/internal/config"
	"lakefs_import_exporter/lakefs"
	"lakefs_import_exporter/lakefs/lakefstest"
)

// timed is a collector.Source that tells how long the looks at it took.
type timed struct {
	collector.Source
	took time.Duration
}

func (t *timed) Load() collector.FileSet {
	begin := time.Now()
	defer func() { t.took += time.Since(begin) }()
	return t.Source.Load()
}

// A scrape of 10,000 finished imports from 100 files of which none has changed:
// nothing is polled, so what is left is the look at the files and the
// exposition. look-% is the part of the look.
func BenchmarkScrapeOfUnchangedFiles(b *testing.B) {
	const files, each = 100, 100
	lakeFS, err := lakefstest.New(lakefstest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(lakeFS.Close)
	dir := b.TempDir()
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	put("config.yml", "servers: [{name: prod, endpoint_url: '"+lakeFS.URL+"', basic_auth: {username: "+lakefstest.AccessKeyID+", password: "+lakefstest.SecretAccessKey+"}}]\nimport_files: ['*.imports.yml']\n")
	long := time.Now().Add(-time.Hour)
	for f := range files {
		var entries strings.Builder
		for i := range each {
			ref := lakeFS.StartAt(lakefs.Ref{Repository: fmt.Sprintf("repo-%d", f), Branch: "main", ID: fmt.Sprintf("import-%d", i)}, lakefstest.Script{}, long)
			entries.WriteString(importYAML("prod", ref))
		}
		name := fmt.Sprintf("%03d.imports.yml", f)
		put(name, entries.String())
		// Old enough not to be read again in case it is still being written.
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			b.Fatal(err)
		}
	}
	cfg, err := config.NewLoader(filepath.Join(dir, "config.yml"), "test", log.NewNopLogger()).Load()
	if err != nil {
		b.Fatal(err)
	}
	looks := &timed{Source: cfg.Files}
	cfg.Files = looks
	c, err := collector.New(collector.Options{Now: time.Now, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	c.Apply(cfg)
	c.Scrape(context.Background())
	looks.took = 0
	for b.Loop() {
		snapshot := c.Scrape(context.Background())
		if len(snapshot.Imports) != files*each || !snapshot.Imports[0].Finished() {
			b.Fatal("the imports are not all there, or not finished")
		}
		families, err := snapshot.Gather()
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range families {
			if _, err := expfmt.MetricFamilyToText(io.Discard, f); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(100*float64(looks.took)/float64(b.Elapsed()), "look-%")
}
