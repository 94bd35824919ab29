package config

import (
	"path/filepath"
	"testing"
	"time"

	"lakefs_import_exporter/collector"
)

// The first rule whose repository matches as a whole says how a discovered
// import is watched.
func TestDiscoveryRules(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "dsn", "postgres://exporter:hunter2@db.example.com/lakefs", "config.yml", `
servers:
  - name: prod
    endpoint_url: https://lakefs.example.com
    discovery:
      postgres: {dsn_file: dsn}
      rules:
        - {repository: "sandbox-.*|tmp", ignore: true}
        - {repository: "billing-.*", labels: {team: finance}, no_progress_after: 2h, max_duration: 6h}
        - {repository: ".*", labels: {team: data}}
  - name: dynamodb
    endpoint_url: https://lakefs.example.com
    discovery:
      dynamodb: {table_name: kvstore, region: eu-west-1, endpoint: "http://127.0.0.1:8000", aws_access_key_id: a, aws_secret_access_key: hunter2}
      refresh_interval: 1m
      max_imports: 5
`)
	cfg := mustLoad(t, newLoader(filepath.Join(dir, "config.yml")))
	for _, tc := range []struct {
		server      int
		repository  string
		ignored     bool
		team        string
		maxDuration time.Duration
	}{
		{repository: "sandbox-a", ignored: true},
		{repository: "tmp", ignored: true},
		{repository: "tmp-2", team: "data"},
		{repository: "billing-eu", team: "finance", maxDuration: 6 * time.Hour},
		{repository: "not-billing-eu", team: "data"},
		{server: 1, repository: "sandbox-a"},
	} {
		imp, ok := cfg.Servers[tc.server].Discovery.Describe(tc.repository, "dc1chj1ksduerdki88b0")
		if ok == tc.ignored {
			t.Errorf("%s: watched: %v", tc.repository, ok)
		}
		want := collector.Key{Server: cfg.Servers[tc.server].Name, Repository: tc.repository, ID: "dc1chj1ksduerdki88b0"}
		if ok && (imp.Key != want || imp.Branch != "-" || imp.Labels["team"] != tc.team || imp.MaxDuration != tc.maxDuration) {
			t.Errorf("%s: %+v", tc.repository, imp)
		}
	}
	if d := cfg.Servers[1].Discovery.(*discoverer); d.opts.Interval != time.Minute || d.opts.MaxImports != 5 {
		t.Errorf("options: %+v", d.opts)
	}
}
